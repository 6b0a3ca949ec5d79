"""Split and scaling, against scikit-learn used by hand and against the definitions."""

import sys

import numpy as np
import pytest

from minigrad.data import NAMES, from_arrays, load
from minigrad.errors import InputError, MissingExtra

SHAPES = {
    "breast_cancer": (569, 30, 2),
    "diabetes": (442, 10, 0),
    "digits": (1797, 64, 10),
    "iris": (150, 4, 3),
    "wine": (178, 13, 3),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_dtypes(name, dtype):
    data = load(name, dtype=dtype)
    rows, features, classes = SHAPES[name]
    tested = -(-rows // 5)
    assert (data.features, data.classes, data.name) == (features, classes, name)
    assert len(data.feature_names) == features
    assert data.x_train.shape == (rows - tested, features)
    assert data.x_test.shape == (tested, features)
    assert data.x_train.dtype == data.x_test.dtype == dtype
    assert data.x_train.flags.c_contiguous
    column = () if classes else (1,)
    assert data.y_train.shape == (rows - tested, *column)
    assert data.y_test.shape == (tested, *column)
    assert data.y_train.dtype == data.y_test.dtype == ("int64" if classes else dtype)


@pytest.mark.parametrize("name", [name for name in NAMES if SHAPES[name][2]])
def test_both_parts_hold_the_classes_in_the_same_proportions(name):
    data = load(name, seed=3)
    both = np.bincount(data.y_train) + np.bincount(data.y_test)
    np.testing.assert_allclose(np.bincount(data.y_test), both * 0.2, atol=1)


@pytest.mark.parametrize("name", ["breast_cancer", "iris", "wine", "diabetes"])
def test_tables_are_standardised_by_the_training_part(name):
    data = load(name, dtype="float64")
    np.testing.assert_allclose(data.x_train.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(data.x_train.std(axis=0), 1, atol=1e-12)
    assert np.abs(data.x_test.mean(axis=0)).max() > 1e-3


def test_digits_are_divided_by_sixteen():
    data = load("digits", dtype="float64")
    pixels = np.concatenate([data.x_train, data.x_test]) * 16
    assert (pixels.min(), pixels.max()) == (0, 16)
    np.testing.assert_array_equal(pixels, np.round(pixels))


def test_a_row_keeps_its_label():
    from sklearn.datasets import load_digits

    rows, labels = load_digits(return_X_y=True)
    label_of = {row.tobytes(): label for row, label in zip(rows, labels)}
    data = load("digits", dtype="float64", seed=5)
    for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
        assert [label_of[row.tobytes()] for row in x * 16] == y.tolist()


def test_the_seed_decides_the_split():
    first, again, other = load("wine", seed=1), load("wine", seed=1), load("wine", seed=2)
    np.testing.assert_array_equal(first.x_test, again.x_test)
    assert not np.array_equal(first.x_test, other.x_test)


def table(**changes):
    rng = np.random.default_rng(0)
    given = {
        "x": rng.normal(size=(20, 2)),
        "y": np.arange(20) % 2,
        "name": "toy",
        "feature_names": ("a", "b"),
        "class_names": ("no", "yes"),
        "dtype": "float64",
    }
    return given | changes


def test_a_constant_column_becomes_zero():
    x = np.stack([np.full(20, 0.1), np.arange(20.0)], axis=1)
    data = from_arrays(**table(x=x))
    np.testing.assert_allclose(data.x_train[:, 0], 0, atol=1e-15)
    np.testing.assert_allclose(data.x_test[:, 0], 0, atol=1e-15)


def test_missing_values_become_the_mean_of_the_training_part():
    x = np.stack([np.arange(20.0), np.arange(20.0)], axis=1)
    x[::3, 0] = np.nan
    data = from_arrays(**table(x=x))
    blank_train = np.isclose(data.x_train[:, 0], 0, atol=1e-12)
    blank_test = np.isclose(data.x_test[:, 0], 0, atol=1e-12)
    assert blank_train.sum() + blank_test.sum() == 7
    filled = data.x_train[~blank_train, 0]
    np.testing.assert_allclose(filled.mean(), 0, atol=1e-12)


def test_nothing_of_the_test_part_reaches_the_training_part():
    given = table(x=np.stack([np.arange(20.0), np.arange(20.0) ** 2], axis=1))
    data = from_arrays(**given)
    order = np.argsort(np.concatenate([data.x_train[:, 0], data.x_test[:, 0]])).argsort()
    tested = order[len(data.x_train) :]
    given["x"][tested] += 1000
    changed = from_arrays(**given)
    np.testing.assert_array_equal(changed.x_train, data.x_train)
    assert (changed.x_test[:, 1] > data.x_test[:, 1]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.zeros(20, int)}, "toy: every row is of class 'no'"),
        ({"y": np.arange(20) // 19}, "toy: fewer than two rows in class 'yes'"),
        ({"y": np.arange(20)}, "labels contain 2 at index 2, and the 2 classes are"),
        ({"y": np.arange(20) % 2 / 2}, "labels are float64, and whole class numbers"),
        ({"y": np.arange(19) % 2}, r"x has shape \(20, 2\) and y \(19,\)"),
        ({"feature_names": ("a",)}, "with 1 feature names"),
        ({"test_size": 0.05}, "19 for training and 1 for testing, but each part needs at least 2"),
        ({"test_size": 0.99}, "0 for training and 20 for testing"),
        ({"test_size": 20}, "test_size is 20, but it is the share of rows"),
        ({"test_size": float("nan")}, "test_size is nan"),
        ({"seed": -1}, "seed is -1: give a whole number from 0"),
        ({"dtype": "float23"}, "unknown dtype 'float23': did you mean 'float32'"),
        ({"x": np.full((20, 2), 1e39)}, "toy: feature 'a' holds values too large"),
        ({"x": np.full((20, 2), np.inf)}, "toy: feature 'a' holds values too large"),
        ({"x": np.full((20, 2), np.nan)}, "feature 'a' has no value in any row of the training"),
    ],
)
def test_what_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        from_arrays(**table(**changes))


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="unknown data set 'digit': did you mean 'digits'"):
        load("digit")


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtra, match=r"needs sklearn.*\[data\]"):
        load("digits")
