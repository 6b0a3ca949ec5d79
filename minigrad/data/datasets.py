"""Small real data sets, split and scaled: preparation as D1 §2.3 describes it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minigrad.backend import Array
from minigrad.errors import InputError, require, unknown
from minigrad.labels import class_numbers

__all__ = ["NAMES", "Dataset", "from_arrays", "load"]

NAMES = ("breast_cancer", "diabetes", "digits", "iris", "wine")
"""What :func:`load` knows; ``diabetes`` is a regression, the others have classes."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training part and a test part.

    ``x_train`` (n, features) and ``x_test`` (m, features) are floats; ``y_train`` (n,) and
    ``y_test`` (m,) are int64 labels in [0, classes). A regression has no ``class_names``, and its
    targets are floats of shape (n, 1), which meet a layer of one output without broadcasting.
    """

    name: str
    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...]

    @property
    def classes(self) -> int:
        """The number of classes; 0 for a regression."""
        return len(self.class_names)

    @property
    def features(self) -> int:
        """The number of columns of ``x_train``."""
        return len(self.feature_names)


def load(name: str, *, test_size: float = 0.2, seed: int = 0, dtype: str = "float32") -> Dataset:
    """A data set that scikit-learn brings along, split and scaled by :func:`from_arrays`.

    The pixels of ``digits`` (8x8, 0 to 16) are divided by 16 into [0, 1]; the tables are
    standardised by the training part's mean and deviation.

    Raises :class:`InputError` for a name that is not in :data:`NAMES`, :class:`MissingExtra`
    without scikit-learn.

    >>> iris = data.load("iris")
    >>> iris.x_train.shape, iris.x_test.shape, iris.class_names
    ((120, 4), (30, 4), ('setosa', 'versicolor', 'virginica'))
    >>> bool(abs(iris.x_train.mean(axis=0)).max() < 1e-6)
    True
    """
    if name not in NAMES:
        raise unknown("data set", name, NAMES)
    bunch = getattr(require("sklearn.datasets", "data"), f"load_{name}")()
    return from_arrays(
        bunch.data,
        bunch.target,
        name=name,
        feature_names=bunch.feature_names,
        class_names=None if name == "diabetes" else bunch.target_names,
        divide_by=16.0 if name == "digits" else None,
        test_size=test_size,
        seed=seed,
        dtype=dtype,
    )


def from_arrays(
    x: Array,
    y: Array,
    *,
    name: str,
    feature_names: Sequence[str],
    class_names: Sequence[str] | None,
    divide_by: float | None = None,
    test_size: float = 0.2,
    seed: int = 0,
    dtype: str = "float32",
    where: str | None = None,
) -> Dataset:
    """Split the rows of ``x`` (n, features) and ``y`` (n,) in two, then clean and scale ``x``.

    With ``class_names`` the labels are checked, and the split is stratified: both parts hold the
    classes in the same proportions, as nearly as whole rows allow, so that a class of few rows may
    be absent from the smaller part. Missing values (NaN) become their column's mean and columns get
    mean 0 and variance 1 (a constant one becomes 0), or ``x`` is divided by ``divide_by``. Means
    and variances are those of the training part alone: nothing of the test part leaks into it.
    ``where`` is what error sentences call the data; ``name`` unless given.

    Raises :class:`InputError` for shapes that do not fit, labels out of range, fewer than two
    classes, a class of one row, a ``test_size`` that leaves a part without rows for every class.

    >>> x, y = np.arange(10.0).reshape(10, 1), np.arange(10) % 2
    >>> parts = data.from_arrays(x, y, name="odd", feature_names=["n"], class_names=["even", "odd"])
    >>> len(parts.y_train), len(parts.y_test), parts.classes
    (8, 2, 2)
    """
    where = where or name
    x, y = np.asarray(x, np.float64), np.asarray(y)
    names = None if class_names is None else tuple(map(str, class_names))
    _check_options(test_size, seed, dtype)
    if x.shape != (len(y), len(feature_names)) or y.ndim != 1:
        raise InputError(
            f"{where}: x has shape {x.shape} and y {y.shape}, but (n, {len(feature_names)}) and "
            f"(n,) are expected with {len(feature_names)} feature names"
        )
    if names is not None:
        y = class_numbers("labels", y, len(names))
        _check_classes(y, names, where)
    rows, tested = len(x), math.ceil(test_size * len(x))
    least = max(1, len(names or ()))
    if min(tested, rows - tested) < least:
        raise InputError(
            f"{where}: test_size {test_size} splits {rows} rows into {rows - tested} for training "
            f"and {tested} for testing, but each part needs at least {least}, one for every class; "
            "change test_size or bring more rows"
        )
    split = require("sklearn.model_selection", "data").train_test_split
    x_train, x_test, y_train, y_test = split(
        x, y, test_size=test_size, random_state=seed, stratify=None if names is None else y
    )
    if divide_by is None:
        x_train, x_test = _standardise(x_train, x_test, feature_names, where)
    else:
        x_train, x_test = x_train / divide_by, x_test / divide_by
    if names is None:
        y_train, y_test = y_train.reshape(-1, 1).astype(dtype), y_test.reshape(-1, 1).astype(dtype)
    return Dataset(
        name=name,
        x_train=np.ascontiguousarray(x_train, dtype),
        y_train=y_train,
        x_test=np.ascontiguousarray(x_test, dtype),
        y_test=y_test,
        feature_names=tuple(map(str, feature_names)),
        class_names=names or (),
    )


def _check_options(test_size: float, seed: int, dtype: str) -> None:
    if not 0 < test_size < 1:
        raise InputError(
            f"test_size is {test_size}, but it is the share of rows kept for testing: "
            "give a number between 0 and 1, such as 0.2"
        )
    if not 0 <= seed < 2**32:
        raise InputError(f"seed is {seed}: give a whole number from 0 to {2**32 - 1}")
    if dtype not in ("float32", "float64"):
        raise unknown("dtype", str(dtype), ("float32", "float64"))


def _check_classes(y: Array, class_names: Sequence[str], where: str) -> None:
    counts = np.bincount(y, minlength=len(class_names))
    if np.count_nonzero(counts) < 2:
        raise InputError(
            f"{where}: every row is of class '{class_names[int(counts.argmax())]}', but telling "
            "classes apart needs at least two; bring rows of another class"
        )
    few = [str(name) for name, count in zip(class_names, counts) if count < 2]
    if few:
        raise InputError(
            f"{where}: fewer than two rows in class {_listed(few)}, so that the class cannot be "
            "in both the training and the test part; remove such rows, merge the class with "
            "another or bring more rows. A quantity to predict (a price, a length) is no class"
        )


def _listed(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _standardise(
    x_train: Array, x_test: Array, feature_names: Sequence[str], where: str
) -> tuple[Array, Array]:
    empty = np.isnan(x_train).all(axis=0)
    if empty.any():
        raise InputError(
            f"{where}: feature '{feature_names[int(empty.argmax())]}' has no value in any row of "
            "the training part, so there is no mean to fill in; remove the column"
        )
    scale = require("sklearn.pipeline", "data").make_pipeline(
        require("sklearn.impute", "data").SimpleImputer(),
        require("sklearn.preprocessing", "data").StandardScaler(),
    )
    _check_range(x_train, feature_names, where)
    _check_range(x_test, feature_names, where)
    x_train, x_test = scale.fit_transform(x_train), scale.transform(x_test)
    _check_range(x_test, feature_names, where)
    return x_train, x_test


def _check_range(x: Array, feature_names: Sequence[str], where: str) -> None:
    wild = (np.abs(x) > np.finfo(np.float32).max).any(axis=0)
    if wild.any():
        raise InputError(
            f"{where}: feature '{feature_names[int(wild.argmax())]}' holds values too large for "
            "float32; remove the column or give it another unit"
        )
