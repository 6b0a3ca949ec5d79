"""Measures that need every sample's score: top-k accuracy, ROC, AUC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from minigrad.backend import Array, to_numpy
from minigrad.errors import InputError, unknown
from minigrad.labels import class_numbers
from minigrad.metrics._checks import check_classes, check_lengths, no_samples

if TYPE_CHECKING:
    from minigrad.distributed.communicator import Communicator

__all__ = ["Scores", "auc", "one_vs_rest_auc", "roc_curve", "top_k_accuracy"]


class Scores:
    """Labels and scores of all samples seen, over any number of batches and ranks.

    Scores have shape (n, classes), or for two classes (n,), the score of class 1. Only order
    counts: within a column for ROC and AUC, so give probabilities there, not logits, if there are
    several columns; within a row for top-k. Infinities have an order, NaN is refused. Kept as
    float64, which holds every narrower float exactly.
    Every measure lies in [0, 1] and raises :class:`InputError` while there are no samples.

    >>> scores = metrics.Scores(2)
    >>> scores.update([0, 1], [0.1, 0.7])
    >>> scores.update([0, 1], [0.4, 0.3])
    >>> scores.auc()
    0.75
    """

    def __init__(self, classes: int) -> None:
        self.classes = check_classes(classes)
        self._batches: list[tuple[Array, Array]] = []

    def update(self, labels: Array, scores: Array) -> None:
        """Keep a batch: class numbers (n,) in [0, classes), scores as above; n may be 0."""
        labels = class_numbers("labels", labels, self.classes)
        scores = np.array(to_numpy(scores), np.float64)  # a copy: callers reuse their buffers
        binary = self.classes == 2
        if scores.shape[1:] != (self.classes,) and not (binary and scores.ndim == 1):
            raise InputError(
                f"scores have shape {scores.shape}, and {self.classes} classes need shape "
                f"(n, {self.classes})" + (" or (n,), the score of class 1" if binary else "")
            )
        check_lengths(labels, "scores", scores)
        if np.isnan(scores).any():
            raise InputError(
                f"the score of sample {np.argwhere(np.isnan(scores))[0, 0]} in this batch is NaN, "
                "which has no rank; find the step at which the model's output became NaN"
            )
        if self._batches and self._batches[0][1].ndim != scores.ndim:
            raise InputError(
                f"scores have shape {scores.shape}, and earlier ones {self._batches[0][1].shape}; "
                "keep to either (n,) or (n, 2)"
            )
        if len(labels):
            self._batches.append((labels, scores))

    def merge(self, comm: Communicator) -> Scores:
        """A new accumulator with the samples of all ranks, in rank order; every rank calls it.

        A rank that has seen nothing does not know whether scores are (n,) or (n, classes), so
        they travel flat, and the shape follows from each rank's number of labels.
        """
        labels = np.concatenate([np.empty(0, np.int64), *(b[0] for b in self._batches)])
        scores = np.concatenate([np.empty(0), *(b[1].ravel() for b in self._batches)])
        merged = Scores(self.classes)
        for its_labels, its_scores in zip(comm.all_gather(labels), comm.all_gather(scores)):
            if len(its_labels):
                flat = len(its_labels) == len(its_scores)
                merged.update(
                    its_labels, its_scores if flat else its_scores.reshape(-1, self.classes)
                )
        return merged

    def top_k_accuracy(self, k: int) -> float:
        """The share of samples whose label has one of the ``k`` highest scores (n, classes).

        Of equal scores the lower class comes first, as in argmax, so that k = 1 is the accuracy.
        """
        if not 1 <= k <= self.classes:
            raise InputError(f"k is {k}; with {self.classes} classes choose 1 to {self.classes}")
        labels, scores = self._by_class()
        labels = labels[:, None]
        own = np.take_along_axis(scores, labels, axis=1)
        ahead = (scores > own) | ((scores == own) & (np.arange(self.classes) < labels))
        return float(np.mean(ahead.sum(axis=1) < k))

    def roc_curve(self) -> tuple[Array, Array, Array]:
        """``(fpr, tpr, thresholds)`` from scores (n,): float64, a point for each distinct score.

        Point i is the shares of negatives and of positives with a score >= thresholds[i]; the
        first stands above all scores, at infinity. Both rates rise from 0 to 1. Raises
        :class:`InputError` unless both classes occur.
        """
        false, true, thresholds = _counts_above(*self._binary())
        return false / false[-1], true / true[-1], thresholds

    def auc(self) -> float:
        """The area under :meth:`roc_curve`, from scores (n,).

        It is the probability that a positive's score exceeds a negative's, ties counting one
        half: the rank statistic of Mann and Whitney (Hanley and McNeil 1982). O(n log n), in
        whole numbers, hence exact and free of the order of samples.
        """
        return _area(*self._binary())

    def one_vs_rest_auc(
        self, average: Literal["macro", "weighted"] | None = "macro"
    ) -> float | Array:
        """AUC of each class against all others, by its column of the scores (n, classes).

        ``macro``: plain mean; ``weighted``: by the classes' numbers of labels; None: one value a
        class. Raises :class:`InputError` if a class has no sample.
        """
        labels, scores = self._by_class()
        counts = np.bincount(labels, minlength=self.classes)
        if not counts.all():
            raise InputError(
                f"no sample has label {counts.argmin()}, so that class cannot be ranked against "
                f"the rest; one-vs-rest AUC needs samples of all {self.classes} classes"
            )
        areas = np.array([_area(labels == c, scores[:, c]) for c in range(self.classes)])
        if average is None:
            return areas
        if average == "macro":
            return float(areas.mean())
        if average == "weighted":
            return float(areas @ counts / counts.sum())
        raise unknown("average", average, ("macro", "weighted"))

    def _all(self) -> tuple[Array, Array]:
        if not self._batches:
            raise no_samples()
        labels, scores = zip(*self._batches)
        return np.concatenate(labels), np.concatenate(scores)

    def _by_class(self) -> tuple[Array, Array]:
        labels, scores = self._all()
        if scores.ndim == 1:
            raise InputError(
                f"this needs one score for each class, shape (n, {self.classes}); "
                f"the scores have shape {scores.shape}"
            )
        return labels, scores

    def _binary(self) -> tuple[Array, Array]:
        labels, scores = self._all()
        if scores.ndim == 2:
            raise InputError(
                f"ROC and AUC rank samples by one score, and these have shape {scores.shape}; "
                "use one_vs_rest_auc, or for two classes give the probability [:, 1] "
                "or the difference of the logits, [:, 1] - [:, 0]"
            )
        if labels.min() == labels.max():
            raise InputError(
                f"all labels are {labels[0]}, and ROC and AUC compare two classes: "
                f"samples of class {1 - labels[0]} are needed as well"
            )
        return labels == 1, scores


def top_k_accuracy(labels: Array, scores: Array, k: int) -> float:
    """The share of samples whose label has one of the k highest scores, in [0, 1].

    Class numbers (n,) and scores (n, classes). Raises :class:`InputError` for k outside 1 …
    classes, other shapes and NaN. Over batches: :meth:`Scores.top_k_accuracy`.

    >>> scores = [[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]
    >>> metrics.top_k_accuracy([1, 2], scores, k=1), metrics.top_k_accuracy([1, 2], scores, k=2)
    (0.5, 1.0)
    """
    return _keep(labels, scores).top_k_accuracy(k)


def roc_curve(labels: Array, scores: Array) -> tuple[Array, Array, Array]:
    """``(fpr, tpr, thresholds)``: at each threshold, the shares of negatives and of positives with
    a score at or above it (D3 §3.3).

    Labels 0 and 1, and scores, (n,) each. Raises :class:`InputError` unless both classes occur.
    Over batches: :meth:`Scores.roc_curve`.

    >>> fpr, tpr, thresholds = metrics.roc_curve([0, 0, 1, 1], [0.1, 0.4, 0.3, 0.7])
    >>> fpr, tpr
    (array([0. , 0. , 0.5, 0.5, 1. ]), array([0. , 0.5, 0.5, 1. , 1. ]))
    >>> thresholds
    array([inf, 0.7, 0.4, 0.3, 0.1])
    """
    return _keep(labels, scores).roc_curve()


def auc(labels: Array, scores: Array) -> float:
    """The area under the ROC curve: how often a positive's score exceeds a negative's (D3 §3.3).

    Labels 0 and 1, and scores, (n,) each; in [0, 1], and 0.5 for guessing. Raises
    :class:`InputError` unless both classes occur. Over batches: :meth:`Scores.auc`.

    >>> metrics.auc([0, 0, 1, 1], [0.1, 0.4, 0.3, 0.7])
    0.75
    """
    return _keep(labels, scores).auc()


def one_vs_rest_auc(
    labels: Array, scores: Array, average: Literal["macro", "weighted"] | None = "macro"
) -> float | Array:
    """AUC of each class against all others, averaged as ``"macro"`` or ``"weighted"`` says.

    Class numbers (n,) and scores (n, classes). ``None``: one value a class. Raises
    :class:`InputError` for a class without samples. Over batches: :meth:`Scores.one_vs_rest_auc`.

    >>> scores = [[0.8, 0.1, 0.1], [0.1, 0.6, 0.3], [0.2, 0.7, 0.1]]
    >>> metrics.one_vs_rest_auc([0, 1, 2], scores, average=None)
    array([1.  , 0.5 , 0.25])
    """
    return _keep(labels, scores).one_vs_rest_auc(average)


def _keep(labels: Array, scores: Array) -> Scores:
    scores = to_numpy(scores)
    kept = Scores(max(2, scores.shape[1]) if scores.ndim == 2 else 2)
    kept.update(labels, scores)
    return kept


def _counts_above(positive: Array, scores: Array) -> tuple[Array, Array, Array]:
    """Counts of negatives and positives at or above each threshold, and the thresholds."""
    order = np.argsort(scores)[::-1]
    scores = scores[order]
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))  # ends of runs of ties
    true = np.append(0, np.cumsum(positive[order])[last])
    false = np.append(0, last + 1) - true
    return false, true, np.append(np.inf, scores[last])


def _area(positive: Array, scores: Array) -> float:
    false, true, _ = _counts_above(positive, scores)
    twice = int(np.diff(false) @ (true[1:] + true[:-1]))
    return twice / (2 * int(false[-1]) * int(true[-1]))
