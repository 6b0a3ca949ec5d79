"""C1, article D1 §4: a Keras Sequential of 100 inputs, 128, 128 and 10 units, compiled and fitted.

Articles: C1, E15

A comment that begins with ">" is a line of the article; all of them are here, in its order, and
below each stands what it is in minigrad. The article leaves ``x_train`` and ``y_train`` open. Here
they are 1,437 handwritten digits of 8x8 pixels in a border of zeros: 10x10 are the 100 inputs that
the network asks for, and the border tells it nothing.

    python tutorials/articles/c1.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

# > import tensorflow as tf
# > from tensorflow.keras import layers, models
import numpy as np

from minigrad import nn, no_grad, ops, optim
from minigrad.data import DataLoader, load
from minigrad.plot import curves


def build(rng: np.random.Generator) -> nn.Sequential:
    # > # 定义模型
    # > model = models.Sequential()
    return nn.Sequential(
        # > model.add(layers.Dense(128, activation='relu', input_shape=(100,)))
        nn.Dense(100, 128, activation="relu", rng=rng),
        # > model.add(layers.Dense(128, activation='relu'))
        nn.Dense(128, 128, activation="relu", rng=rng),
        # > model.add(layers.Dense(10, activation='softmax'))
        nn.Dense(128, 10, rng=rng),
        nn.Softmax(),
    )


def train(model: nn.Module, x_train, y_train, epochs: int = 10, report=None) -> list[float]:
    """The loss of every step, for images (n, 100) and one-hot labels (n, 10)."""
    # > # 编译模型
    # > model.compile(optimizer='adam', loss='categorical_crossentropy', metrics=['accuracy'])
    optimizer = optim.Adam(model, lr=0.001, epsilon=1e-7, epsilon_placement="hat")
    # > # 训练模型
    # > model.fit(x_train, y_train, epochs=10, batch_size=32)
    batches, losses = DataLoader(x_train, y_train, batch_size=32), []
    for epoch in range(epochs):
        for batch in batches.epoch(epoch):
            loss = ops.cross_entropy(model(batch.x), batch.y, from_logits=False)
            loss.backward()
            optimizer.step(zero_grad=True)
            losses.append(loss.item())
        if report:
            report(epoch + 1, float(np.mean(losses[-len(batches) :])))
    return losses


def data(part: str = "train"):
    """Images (n, 100) and one-hot labels (n, 10) of the ``"train"`` or the ``"test"`` part."""
    digits = load("digits")
    x, y = getattr(digits, f"x_{part}"), getattr(digits, f"y_{part}")
    framed = np.pad(x.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    return framed.reshape(-1, 100), np.eye(10, dtype="float32")[y]


def accuracy(model: nn.Module, x, y) -> float:
    with no_grad():
        return float((model(x).numpy().argmax(axis=1) == y.argmax(axis=1)).mean())


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--epochs", type=int, default=10)
    epochs = options.parse_args().epochs

    model, (x, y), (x_test, y_test) = build(np.random.default_rng(0)), data(), data("test")
    print(f"{sum(p.size for p in model.parameters()):,} parameters, {len(x):,} images")
    history = []

    def report(epoch: int, loss: float) -> None:
        found, tested = accuracy(model, x, y), accuracy(model, x_test, y_test)
        history.append({"epoch": epoch, "loss": loss, "accuracy": found, "val_accuracy": tested})
        print(
            f"epoch {epoch:2}: loss {loss:.4f}, accuracy {found:.4f}, on the test part {tested:.4f}"
        )

    train(model, x, y, epochs, report)

    print("E15: the article carries the input 'from the output layer forward'; the order of calls:")
    with nn.watch(model) as outputs, no_grad():
        model(x[:1])
    print("     " + ", then ".join(f"{layer}" for path, layer, _ in outputs if path))

    folder = Path("runs/articles")
    folder.mkdir(parents=True, exist_ok=True)
    curves(history, folder / "c1.png")
    print(f"the curve is in {folder / 'c1.png'}")


if __name__ == "__main__":
    main()
