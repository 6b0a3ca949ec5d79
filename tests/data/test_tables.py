"""A CSV file: what is read from a good one, and the sentence each bad one gets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.data import from_csv
from minigrad.errors import InputError

GOOD = "size,kind,weight\n" + "".join(
    f"{row},{'cat' if row % 2 else 'ant'},{row * row}\n" for row in range(12)
)


@pytest.fixture
def read(tmp_path):
    def read(text, target="kind", **options):
        path = tmp_path / "pets.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return from_csv(path, target, dtype="float64", **options)

    return read


def same(one, other):
    assert one.class_names == other.class_names
    assert one.feature_names == other.feature_names
    for part in ("x_train", "y_train", "x_test", "y_test"):
        np.testing.assert_array_equal(getattr(one, part), getattr(other, part))


def test_a_good_file(read):
    data = read(GOOD)
    assert data.name == "pets"
    assert data.feature_names == ("size", "weight")
    assert data.class_names == ("ant", "cat")
    assert data.x_train.shape == (9, 2)
    assert data.y_test.dtype == np.int64
    order = np.concatenate([data.x_train[:, 0], data.x_test[:, 0]]).argsort()
    labels = np.concatenate([data.y_train, data.y_test])[order]
    np.testing.assert_array_equal(labels, np.arange(12) % 2)
    np.testing.assert_allclose(data.x_train.mean(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace(",", ";"),
        GOOD.replace(",", "\t"),
        GOOD.replace(",", "|"),
        GOOD.replace(",", " , "),
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("\n", "\r"),
        GOOD.replace("\n", "\n\n"),
        "\n" + GOOD + "  \n",
        "\ufeff" + GOOD,
        GOOD.replace("cat", '"cat"'),
        GOOD.rstrip("\n"),
    ],
)
def test_the_same_table_written_differently(read, text):
    same(read(text), read(GOOD))


def test_quoted_names_may_hold_delimiters_and_line_breaks(read):
    data = read(GOOD.replace("size", '"size, cm;\nround"'))
    assert data.feature_names == ("size, cm;\nround", "weight")


def test_a_delimiter_can_be_given(read):
    same(read(GOOD.replace(",", ":"), delimiter=":"), read(GOOD))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("10", "9"), ("9", "10")),
        (("1.0", "-1"), ("-1", "1")),
        (("2", "02.0", "7"), ("2", "7")),
        (("0.5", "0.25"), ("0.25", "0.5")),
        (("True", "False"), ("False", "True")),
        (("b", "10", "9"), ("10", "9", "b")),
        (("1_0", "2"), ("1_0", "2")),
        (("inf", "2"), ("2", "inf")),
        (("Größe", "été"), ("Größe", "été")),
    ],
)
def test_classes_are_sorted_and_keep_their_names(read, names, expected):
    rows = "".join(f"{row},{names[row % len(names)]}\n" for row in range(12))
    assert read("a,kind\n" + rows).class_names == expected


def test_dropping_rows_is_leaving_them_out_of_the_file(read):
    torn = GOOD + "?,ant,4\n5,,5\n6,cat,nan\n"
    same(read(torn, missing="drop"), read(GOOD))


def test_filling_uses_the_mean_of_the_training_part(read):
    data = read(GOOD.replace("\n3,", "\nNA,"), missing="mean")
    whole = read(GOOD)
    in_train = ~np.isclose(whole.x_train[:, 1], data.x_train[:, 1])
    assert not in_train.any()
    filled = np.isclose(data.x_train[:, 0], 0, atol=1e-12)
    assert filled.sum() == 1
    np.testing.assert_allclose(data.x_train[~filled, 0].sum(), 0, atol=1e-12)


def lines(*rows):
    return "size,kind\n" + "\n".join(rows) + "\n"


ROWS = [f"{row},{'ant' if row % 2 else 'cat'}" for row in range(8)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "pets.csv is empty: its first line must name the columns"),
        ("\n \n", "pets.csv is empty"),
        ("size,kind\n", "no rows below the column names"),
        ("size,knid\n1,a\n", "line 1: unknown target column 'kind': did you mean 'knid'"),
        ("5.1,3.5,cat\n4,3,ant\n", "line 1: no column is called 'kind', and '5.1, 3.5, cat' looks"),
        ("kind\na\nb\n", "'kind' is the only column"),
        (",size,kind\n0,1,a\n", "line 1: column 1 has no name"),
        ("size,size,kind\n0,1,a\n", "line 1: two columns are called 'size'"),
        (lines("1,cat", "", "2,ant,3"), "line 4: 3 cells, but line 1 names 2 columns"),
        (lines("1,cat", "2"), "line 3: 1 cells, but line 1 names 2 columns"),
        (lines("1,cat", "two,ant"), "line 3, column 'size': 'two' is not a finite number"),
        (lines("1,cat", "True,ant"), "line 3, column 'size': 'True' is not"),
        (lines("1,cat", "-inf,ant"), "line 3, column 'size': '-inf' is not a finite number"),
        (lines("1,cat", "1e999,ant"), "line 3, column 'size': '1e999' is not a finite number"),
        (lines("1,cat", "1_0,ant"), "line 3, column 'size': '1_0' is not"),
        (lines('1,"c\nat"', "x,ant"), "line 4, column 'size': 'x' is not"),
        (lines(*ROWS, ",cat", "nan,"), r"3 missing value\(s\), the first on line 10 in column 'si"),
        (lines("1,cat", '2,"ant'), "line 3: unexpected end of data; mend this row"),
        (lines("1," + "x" * 140_000), r"line 2: field larger than field limit"),
        ("x" * 140_000, r"line 1: field larger than field limit"),
        (lines(*(f"{row},cat" for row in range(8))), "column 'kind': every row is of class 'cat'"),
        (lines(*ROWS, "1,dog"), "column 'kind': fewer than two rows in class 'dog'"),
        (lines(*(f"{row},{row}" for row in range(9))), "class '0', '1', .* and 4 more"),
        (lines(*(f"{row},{row / 7}" for row in range(30))), "30 different numbers .* a quantity"),
        (lines(*ROWS[:4]), "3 for training and 1 for testing, but each part needs at least 2"),
        (lines("1,cat").encode() + b"2,\xe9t\xe9\n", "line 3: byte 0xe9 is not UTF-8 text"),
        (GOOD.encode("utf-16"), "line 1: byte 0xff is not UTF-8"),
        (lines("1e200,cat", *ROWS), "feature 'size' holds values too large"),
    ],
)
def test_what_is_refused(read, text, message):
    with pytest.raises(InputError, match=message) as caught:
        read(text)
    assert "pets.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (GOOD, {"missing": "fill"}, "unknown way to treat missing values 'fill'"),
        (GOOD, {"delimiter": ",,"}, "delimiter ',,': give a single character"),
        (GOOD, {"delimiter": '"'}, "give a single character"),
        (GOOD, {"delimiter": ";"}, "unknown target column 'kind'"),
        (lines("1,", ",cat"), {"missing": "drop"}, "every row has a missing value"),
        (lines(*ROWS, "1,"), {"missing": "mean"}, "on line 10 in column 'kind'; .*'drop' to leave"),
        (lines(*(f"?,{row % 2}" for row in range(9))), {"missing": "mean"}, "'size' has no value"),
    ],
)
def test_what_is_refused_with_options(read, text, options, message):
    with pytest.raises(InputError, match=message):
        read(text, **options)


def test_the_way_to_clean_is_named(read):
    with pytest.raises(InputError, match=r"set missing \(--missing\) to 'drop' .* or 'mean'"):
        read(lines(*ROWS, ",cat"))
    with pytest.raises(InputError) as caught:
        read(lines(*ROWS, "1,"))
    assert "mean" not in str(caught.value)


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(InputError, match=r"gone.csv cannot be read \(No such file"):
        from_csv(tmp_path / "gone.csv", "kind")
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory"):
        from_csv(tmp_path, "kind")


@given(st.binary(max_size=80) | st.text('",;\n\r a1.\0', max_size=60).map(str.encode))
def test_whatever_a_file_holds_the_answer_is_a_sentence(tmp_path_factory, raw):
    path = tmp_path_factory.mktemp("any") / "any.csv"
    path.write_bytes(b"a,b\n" + raw)
    with pytest.raises(InputError, match=r"any\.csv"):
        from_csv(path, "b")
