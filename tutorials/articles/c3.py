"""C3, article D3 §4: BigModel, seven dense layers and a sigmoid, with training functions by hand.

Articles: C3, F6, F7, E6, E7, E8, E9

A comment that begins with ">" is a line of the article; all of them are here, in its order, and
below each stands what it is in minigrad. ``inputs`` and ``labels`` are left open there; here they
are 1,437 handwritten digits as images (8, 8, 1), and whether each is odd. The article makes one
step an epoch; here an epoch is all batches of 32. As printed the program fails twice, and

- E6: the loss is told that it gets logits, but the model ends in a sigmoid. As a formula that is a
  sigmoid twice: a sure, right answer costs 0.3133 or 0.6931, not 0. ``from_logits=True`` is that.
- E7: a dense layer acts on the last axis, so images must be flattened. ``flatten=False`` does not.
- E8: ``global_step`` is defined nowhere (``printed=True``), and ``num_classes`` is never used.
- E9: the rate η₀(1 − decay·step) is negative after 1/decay steps: the model climbs.

    python tutorials/articles/c3.py
"""

from __future__ import annotations

import argparse
from functools import partial
from math import prod
from pathlib import Path

# > import tensorflow as tf
# > from tensorflow.keras import layers
import numpy as np

from minigrad import nn, no_grad, ops, optim
from minigrad.data import DataLoader, load
from minigrad.errors import InputError
from minigrad.plot import lines


# > # 定义大模型
# > class BigModel(layers.Layer):
class BigModel(nn.Module):
    # > def __init__(self, input_shape, num_classes):
    def __init__(self, input_shape, num_classes, rng, flatten=True):
        # > super(BigModel, self).__init__()
        # > self.input_shape = input_shape
        self.input_shape = input_shape
        # > self.num_classes = num_classes
        self.num_classes = num_classes
        # > # 定义大模型的层
        inputs = prod(input_shape) if flatten else input_shape[-1]
        # > self.layers = [
        self.layers = [
            *([nn.Flatten()] if flatten else []),
            # > layers.Dense(units=256, activation='relu', input_shape=input_shape),
            nn.Dense(inputs, 256, activation="relu", rng=rng),
            # > layers.Dense(units=128, activation='relu'),
            nn.Dense(256, 128, activation="relu", rng=rng),
            # > layers.Dense(units=64, activation='relu'),
            nn.Dense(128, 64, activation="relu", rng=rng),
            # > layers.Dense(units=32, activation='relu'),
            nn.Dense(64, 32, activation="relu", rng=rng),
            # > layers.Dense(units=16, activation='relu'),
            nn.Dense(32, 16, activation="relu", rng=rng),
            # > layers.Dense(units=8, activation='relu'),
            nn.Dense(16, 8, activation="relu", rng=rng),
            # > layers.Dense(units=1, activation='sigmoid')
            nn.Dense(8, 1, rng=rng),
            nn.Sigmoid(),
            # > ]
        ]

    # > def call(self, inputs, training=None, **kwargs):
    def forward(self, inputs):
        # > # 定义大模型的前向传播过程
        # > x = inputs
        x = inputs
        # > for layer in self.layers:
        for layer in self.layers:
            # > x = layer(x)
            x = layer(x)
        # > return x
        return x


# > # 定义训练策略
# > def train_big_model(model, inputs, labels, optimizer, loss_function):
def train_big_model(model, inputs, labels, optimizer, loss_function):
    # > # 训练大模型
    # > with tf.GradientTape() as tape:
    # > # 计算损失
    # > loss = loss_function(labels, model(inputs))
    loss = loss_function(model(inputs), labels)
    # > # 计算梯度
    # > gradients = tape.gradient(loss, model.trainable_variables)
    loss.backward()
    # > # 更新参数
    # > optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    optimizer.step(zero_grad=True)
    return loss.item()


# > # 定义优化策略
# > def optimize_big_model(model, inputs, labels, optimizer, loss_function, learning_rate,
# > decay):
def optimize_big_model(
    model, inputs, labels, optimizer, loss_function, learning_rate, decay, printed=False
):
    # > # 优化大模型
    # > with tf.GradientTape() as tape:
    # > # 计算损失
    # > loss = loss_function(labels, model(inputs))
    loss = loss_function(model(inputs), labels)
    # > # 计算梯度
    # > gradients = tape.gradient(loss, model.trainable_variables)
    loss.backward()
    # > # 更新参数
    # > optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    optimizer.step(zero_grad=True)
    # > # 更新学习率
    # > optimizer.lr = learning_rate * (1 - decay * global_step)
    if printed:
        optimizer.lr = learning_rate * (1 - decay * global_step)  # noqa: F821
    else:
        rate = optim.Linear(learning_rate, decay)(optimizer.steps)
        if rate > 0:  # where it has come to 0, training is over
            optimizer.lr = rate
    return loss.item()


# > # 训练大模型
# > model = BigModel(input_shape=(28, 28, 1), num_classes=10)
def build(rng: np.random.Generator, flatten: bool = True) -> BigModel:
    return BigModel(input_shape=(8, 8, 1), num_classes=10, rng=rng, flatten=flatten)


def train(model, inputs, labels, epochs=10, from_logits=False, report=None) -> list[float]:
    """The loss of every step, for images (n, 8, 8, 1) and labels (n, 1), 0.0 or 1.0."""
    # > optimizer = tf.keras.optimizers.Adam(learning_rate=0.001, decay=0.0001)
    optimizer = optim.Adam(model, lr=0.001, epsilon=1e-7, epsilon_placement="hat")
    decayed = optim.InverseTime(lr=0.001, decay=0.0001)
    # > loss_function = tf.keras.losses.BinaryCrossentropy(from_logits=True)
    loss_function = partial(ops.binary_cross_entropy, from_logits=from_logits)

    # > for epoch in range(10):
    batches, losses = DataLoader(inputs, labels, batch_size=32), []
    for epoch in range(epochs):
        for batch in batches.epoch(epoch):
            optimizer.lr = decayed(optimizer.steps)
            # > # 训练大模型
            # > train_big_model(model, inputs, labels, optimizer, loss_function)
            losses.append(train_big_model(model, batch.x, batch.y, optimizer, loss_function))
        if report:
            report(epoch + 1, float(np.mean(losses[-len(batches) :])))

    # > # 优化大模型
    # > optimize_big_model(model, inputs, labels, optimizer, loss_function, learning_rate=0.001,
    # > decay=0.0001)
    optimizer.lr = decayed(optimizer.steps)
    rates = {"learning_rate": 0.001, "decay": 0.0001}
    last = optimize_big_model(model, inputs, labels, optimizer, loss_function, **rates)
    return [*losses, last]


def data(part: str = "train"):
    """Images (n, 8, 8, 1), and whether the digit is odd, (n, 1)."""
    digits = load("digits")
    x, y = getattr(digits, f"x_{part}"), getattr(digits, f"y_{part}")
    return x.reshape(-1, 8, 8, 1), (y[:, None] % 2).astype("float32")


def show_errata(x, y) -> None:
    """What E7, E8, E9 and E6 come to, in numbers."""
    unflattened = build(np.random.default_rng(0), flatten=False)
    try:
        train(unflattened, x[:8], y[:8], epochs=1)
    except InputError as error:
        print(f"E7: {error}")

    model = build(np.random.default_rng(0))
    optimizer = optim.Adam(model, lr=0.001, epsilon=1e-7, epsilon_placement="hat")
    given = (model, x, y, optimizer, ops.binary_cross_entropy)
    try:
        optimize_big_model(*given, learning_rate=0.001, decay=0.0001, printed=True)
    except NameError as error:
        print(f"E8: {error}; and nothing follows that would use the new rate")

    floored = optim.Linear(0.001, 0.0001)
    for step in (0, 9_000, 20_000):
        print(f"E9: step {step:6,}: rate {0.001 * (1 - 0.0001 * step):+.4f}", end=", ")
        print(f"held at 0 {floored(step):+.4f}")
    climbed = []
    for _ in range(20):  # Adam at the rate −η is Adam at η on −loss
        loss = ops.binary_cross_entropy(model(x), y, from_logits=False)
        (-loss).backward()
        optimizer.step(zero_grad=True)
        climbed.append(loss.item())
    first, last = climbed[0], climbed[-1]
    print(f"    20 steps at the rate −0.0010: the loss goes from {first:.4f} to {last:.4f}")

    sure = np.array([1.0, 0.0])
    losses = partial(ops.binary_cross_entropy, sure, sure, reduction="none")
    print(f"E6: the loss of sure, right answers 1 and 0: as printed {losses().numpy()},")
    print(f"    of probabilities {losses(from_logits=False).numpy().round(4)}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--epochs", type=int, default=10)
    epochs = options.parse_args().epochs

    (x, y), (x_test, y_test) = data(), data("test")
    show_errata(x, y)
    runs: dict[str, list[float]] = {}
    for name, from_logits in {"as printed, but flattened": True, "corrected": False}.items():
        model = build(np.random.default_rng(0))
        by_epoch = runs.setdefault(name, [])

        def report(epoch: int, loss: float, model=model, name=name, by_epoch=by_epoch) -> None:
            with no_grad():
                found = (model(x_test).numpy() > 0.5) == y_test
            by_epoch.append(loss)
            print(f"{name}, epoch {epoch:2}: loss {loss:.4f}, accuracy (test) {found.mean():.4f}")

        train(model, x, y, epochs, from_logits, report)

    folder = Path("runs/articles")
    folder.mkdir(parents=True, exist_ok=True)
    floor = float(y.mean() * np.log1p(np.exp(-1)) + (1 - y.mean()) * np.log(2))
    lines(runs, folder / "c3.png", floors={f"{floor:.4f}, the floor of the printed loss": floor})
    print(f"the curve is in {folder / 'c3.png'}")


if __name__ == "__main__":
    main()
