"""C4, article D4 §4: 128, 64 and 10 units with a softmax, and a train_step with a gradient tape.

Articles: C4, E14

A comment that begins with ">" is a line of the article; all of them are here, in its order, and
below each stands what it is in minigrad. ``train_dataset`` is left open there; here it is 1,437
handwritten digits of 64 pixels, in batches of 32.

E14: the loss is told that it gets logits, but the model ends in a softmax. Keras on TensorFlow
finds the logits behind it; the formula as written takes the softmax twice. Then the loss of a
sure, right answer is ln(e + 9) − 1 = 1.4612, not 0. ``printed=True`` is that formula; without it
the model gives logits.

    python tutorials/articles/c4.py
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

# > import tensorflow as tf
import numpy as np

from minigrad import nn, no_grad, ops, optim
from minigrad.data import DataLoader, load
from minigrad.plot import lines


def build(rng: np.random.Generator, printed: bool = False) -> nn.Sequential:
    # > # 定义模型
    # > model = tf.keras.Sequential([
    return nn.Sequential(
        # > tf.keras.layers.Dense(128, activation='relu'),
        nn.Dense(64, 128, activation="relu", rng=rng),
        # > tf.keras.layers.Dense(64, activation='relu'),
        nn.Dense(128, 64, activation="relu", rng=rng),
        # > tf.keras.layers.Dense(10, activation='softmax')
        nn.Dense(64, 10, rng=rng),
        *([nn.Softmax()] if printed else []),
        # > ])
    )


def train(model: nn.Module, x, y, epochs: int = 10, report=None) -> list[float]:
    """The loss of every step, for images (n, 64) and labels (n,)."""
    # > # 定义优化器
    # > optimizer = tf.keras.optimizers.Adam()
    optimizer = optim.Adam(model, lr=0.001, epsilon=1e-7, epsilon_placement="hat")
    # > # 定义损失函数
    # > loss_fn = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    loss_fn = partial(ops.cross_entropy, from_logits=True)

    # > # 定义训练步骤
    # > @tf.function
    # > def train_step(inputs, labels):
    def train_step(inputs, labels):
        # > with tf.GradientTape() as tape:
        # > predictions = model(inputs)
        predictions = model(inputs)
        # > loss = loss_fn(labels, predictions)
        loss = loss_fn(predictions, labels)
        # > grads = tape.gradient(loss, model.trainable_variables)
        loss.backward()
        # > optimizer.apply_gradients(zip(grads, model.trainable_variables))
        optimizer.step(zero_grad=True)
        return loss.item()

    # > # 训练模型
    # > for epoch in range(10):
    train_dataset, losses = DataLoader(x, y, batch_size=32), []
    for epoch in range(epochs):
        # > for inputs, labels in train_dataset:
        for batch in train_dataset.epoch(epoch):
            # > train_step(inputs, labels)
            losses.append(train_step(batch.x, batch.y))
        if report:
            report(epoch + 1, float(np.mean(losses[-len(train_dataset) :])))
    return losses


def data(part: str = "train"):
    """Images (n, 64) and labels (n,) of the ``"train"`` or the ``"test"`` part."""
    digits = load("digits")
    return getattr(digits, f"x_{part}"), getattr(digits, f"y_{part}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--epochs", type=int, default=10)
    epochs = options.parse_args().epochs

    (x, y), (x_test, y_test) = data(), data("test")
    sure = 1000 * np.eye(10, dtype="float32")[:1]
    right = ops.cross_entropy(ops.softmax(sure), [0], from_logits=True).item()
    print(f"E14: the loss of a sure, right answer: as printed {right:.4f}, of the logits", end=" ")
    print(f"{ops.cross_entropy(sure, [0]).item():.4f}; ln(e + 9) − 1 = {np.log(np.e + 9) - 1:.4f}")
    runs: dict[str, list[float]] = {}
    for name, printed in {"as printed": True, "corrected": False}.items():
        model = build(np.random.default_rng(0), printed)
        by_epoch = runs.setdefault(name, [])

        def report(epoch: int, loss: float, model=model, name=name, by_epoch=by_epoch) -> None:
            with no_grad():
                found = model(x_test).numpy().argmax(axis=1) == y_test
            by_epoch.append(loss)
            print(f"{name}, epoch {epoch:2}: loss {loss:.4f}, accuracy (test) {found.mean():.4f}")

        train(model, x, y, epochs, report)

    folder = Path("runs/articles")
    folder.mkdir(parents=True, exist_ok=True)
    lines(runs, folder / "c4.png", floors={"1.4612, the floor of the printed loss": right})
    print(f"the curve is in {folder / 'c4.png'}")


if __name__ == "__main__":
    main()
