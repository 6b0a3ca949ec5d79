"""Measures that need only counts: accuracy, precision, recall, F1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from minigrad.backend import Array
from minigrad.errors import InputError, unknown
from minigrad.labels import class_numbers
from minigrad.metrics._checks import check_classes, check_lengths, no_samples

if TYPE_CHECKING:
    from minigrad.distributed.communicator import Communicator

__all__ = [
    "Average",
    "ConfusionMatrix",
    "accuracy",
    "confusion_matrix",
    "f1",
    "precision",
    "recall",
]

Average: TypeAlias = Literal["binary", "macro", "micro", "weighted"]
"""``binary``: class 1 of two. ``macro``: mean over the classes that occur among labels or
predictions. ``micro``: from the counts of all classes together. ``weighted``: mean weighted by
each class's number of labels. ``None`` in its place: no average, one value a class."""

_MOST_CLASSES = 2**15  # classes² counts of 8 bytes: 8 GiB


class ConfusionMatrix:
    """Counts of (true class, predicted class) pairs, over any number of batches and ranks.

    ``matrix``: int64, shape (classes, classes); rows are true classes, columns predicted ones.
    Every measure lies in [0, 1] and raises :class:`InputError` while nothing has been counted.
    Formulas: D3 §3.3. An average over several classes is as in scikit-learn, with 0 for 0/0.

    >>> counts = metrics.ConfusionMatrix(2)
    >>> counts.update([0, 0, 1], [0, 1, 1])
    >>> counts.update([1], [1])
    >>> counts.matrix
    array([[1, 1],
           [0, 2]])
    """

    def __init__(self, classes: int) -> None:
        self.classes = check_classes(classes)
        if classes > _MOST_CLASSES:
            raise InputError(
                f"the table of {classes} x {classes} counts would not fit in memory (at most "
                f"{_MOST_CLASSES} classes); number the classes 0, 1, 2, … without gaps"
            )
        self.matrix = np.zeros((classes, classes), np.int64)

    def update(self, labels: Array, predictions: Array) -> None:
        """Count a batch: class numbers of shape (n,) each, in [0, classes); n may be 0."""
        labels = class_numbers("labels", labels, self.classes)
        predictions = class_numbers("predictions", predictions, self.classes)
        check_lengths(labels, "predictions", predictions)
        np.add.at(self.matrix, (labels, predictions), 1)

    def merge(self, comm: Communicator) -> ConfusionMatrix:
        """A new accumulator with the sum over all ranks; every rank has to call this."""
        merged = ConfusionMatrix(self.classes)
        merged.matrix += self.matrix
        comm.all_reduce(merged.matrix)
        return merged

    def accuracy(self) -> float:
        """The share of samples whose prediction is their label."""
        return float(self._measure(self._right, self._actual, "micro"))

    def precision(self, average: Average | None = "binary") -> float | Array:
        """The share of a class's predictions that are right; 0.0 for a class never predicted."""
        return self._measure(self._right, self._predicted, average)

    def recall(self, average: Average | None = "binary") -> float | Array:
        """The share of a class's samples that were found; 0.0 for a class without samples."""
        return self._measure(self._right, self._actual, average)

    def f1(self, average: Average | None = "binary") -> float | Array:
        """The harmonic mean 2PR / (P + R) of precision and recall; 0.0 where both are 0."""
        # with P = right/predicted and R = right/actual this is 2 right / (predicted + actual)
        return self._measure(2 * self._right, self._predicted + self._actual, average)

    @property
    def _right(self) -> Array:
        return self.matrix.diagonal()

    @property
    def _predicted(self) -> Array:
        return self.matrix.sum(axis=0)

    @property
    def _actual(self) -> Array:
        return self.matrix.sum(axis=1)

    def _measure(self, part: Array, whole: Array, average: Average | None) -> float | Array:
        actual = self._actual
        if not actual.any():
            raise no_samples()
        ratio = part / np.maximum(whole, 1)  # where whole is 0, part is 0 too
        if average is None:
            return ratio
        if average == "micro":
            return float(part.sum() / whole.sum())
        if average == "macro":
            return float(ratio[(self._predicted + actual) > 0].mean())
        if average == "weighted":
            return float(ratio @ actual / actual.sum())
        if average != "binary":
            raise unknown("average", average, ("binary", "macro", "micro", "weighted"))
        if self.classes != 2:
            raise InputError(
                f"average 'binary' is for 2 classes, and there are {self.classes}; "
                "choose 'macro', 'micro', 'weighted', or None for one value a class"
            )
        return float(ratio[1])


def accuracy(labels: Array, predictions: Array) -> float:
    """The share of samples whose prediction is their label, in [0, 1] (D3 §3.3).

    ``labels`` and ``predictions`` are class numbers, (n,) each. Raises :class:`InputError` for
    other shapes, negative numbers and no samples. Over batches: :meth:`ConfusionMatrix.accuracy`.

    >>> metrics.accuracy([0, 0, 1, 1], [0, 1, 1, 1])
    0.75
    """
    return _count(labels, predictions, None).accuracy()


def confusion_matrix(labels: Array, predictions: Array, classes: int) -> Array:
    """int64 (classes, classes): at [i, j], how many samples of class i were predicted as j.

    >>> metrics.confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1], classes=2)
    array([[1, 1],
           [0, 2]])
    """
    return _count(labels, predictions, classes).matrix


def precision(
    labels: Array,
    predictions: Array,
    average: Average | None = "binary",
    classes: int | None = None,
) -> float | Array:
    """Of the samples that were predicted to be of a class, the share that is (D3 §3.3).

    Class numbers (n,) each; ``average`` is an :data:`Average`; ``classes`` is the largest number
    seen + 1, or given. In [0, 1]. Errors are those of :meth:`ConfusionMatrix.precision`, for
    batches.

    >>> metrics.precision([1, 1, 0, 0], [1, 0, 1, 0])
    0.5
    """
    return _count(labels, predictions, classes).precision(average)


def recall(
    labels: Array,
    predictions: Array,
    average: Average | None = "binary",
    classes: int | None = None,
) -> float | Array:
    """Of a class's samples, the share that was found (D3 §3.3).

    Class numbers (n,) each; ``average`` is an :data:`Average`; ``classes`` is the largest number
    seen + 1, or given. In [0, 1]. Errors are those of :meth:`ConfusionMatrix.recall`, for batches.

    >>> metrics.recall([1, 1, 1, 1], [1, 0, 0, 0])
    0.25
    """
    return _count(labels, predictions, classes).recall(average)


def f1(
    labels: Array,
    predictions: Array,
    average: Average | None = "binary",
    classes: int | None = None,
) -> float | Array:
    """2PR / (P + R), the harmonic mean of precision P and recall R (D3 §3.3).

    Class numbers (n,) each; ``average`` is an :data:`Average`; ``classes`` is the largest number
    seen + 1, or given. In [0, 1]. Errors are those of :meth:`ConfusionMatrix.f1`, for batches.

    >>> metrics.f1([1, 1, 1, 1], [1, 0, 0, 0])
    0.4
    """
    return _count(labels, predictions, classes).f1(average)


def _count(labels: Array, predictions: Array, classes: int | None) -> ConfusionMatrix:
    if classes is None:
        both = class_numbers("labels", labels), class_numbers("predictions", predictions)
        classes = max(2, 1 + max(int(numbers.max(initial=0)) for numbers in both))
    counts = ConfusionMatrix(classes)
    counts.update(labels, predictions)
    if not counts.matrix.any():
        raise no_samples()
    return counts
