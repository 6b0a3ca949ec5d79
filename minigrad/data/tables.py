"""A person's own table: a CSV file, checked cell by cell (cleaning and conversion, D1 §2.3)."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.backend import Array
from minigrad.data.datasets import Dataset, from_arrays
from minigrad.errors import InputError, unknown

__all__ = ["from_csv"]

_MISSING = {"", "?", "na", "n/a", "nan", "null"}
_DELIMITERS = ",;\t|"
_MOST_FRACTIONS = 20  # a target of more distinct values with fractions is taken for a quantity


def from_csv(
    path: str | PathLike[str],
    target: str,
    *,
    missing: str = "error",
    delimiter: str | None = None,
    test_size: float = 0.2,
    seed: int = 0,
    dtype: str = "float32",
) -> Dataset:
    """The classes in column ``target`` and the numbers in all other columns of a CSV file.

    The file is UTF-8 (a byte order mark may stand first), its first line names the columns.
    Classes are words or numbers, counted in sorted order; their names are kept. A cell that is
    empty or holds ``?``, ``NA``, ``N/A``, ``NaN`` or ``null`` (in any case) is missing; ``missing``
    says what becomes of it: ``"error"``, ``"drop"`` (its row is left out) or ``"mean"`` (its
    column's mean over the training part; a missing class cannot be filled). The ``delimiter``, of
    ``, ; tab |``, is the one that cuts the first line into most columns, unless given. Splitting
    and scaling are those of :func:`from_arrays`.

    Raises :class:`InputError` with file, line and column for whatever else is in the file.

    >>> from pathlib import Path
    >>> rows = [f"{i},{'ripe' if i > 4 else 'green'}" for i in range(10)]
    >>> _ = Path("fruit.csv").write_text("\\n".join(["days,state", *rows]))
    >>> fruit = data.from_csv("fruit.csv", "state")
    >>> fruit.feature_names, fruit.class_names
    (('days',), ('green', 'ripe'))
    """
    if missing not in ("error", "drop", "mean"):
        raise unknown("way to treat missing values", missing, ("error", "drop", "mean"))
    header, lines, rows = _read(Path(path), delimiter)
    if not rows:
        raise InputError(f"{path}: there are no rows below the column names; add some")
    column = _find(target, header, path)
    table = _numbers(header, lines, rows, column, path)
    keep = _settle(np.isnan(table), missing, header, lines, column, path)
    if not keep.any():
        raise InputError(f"{path}: every row has a missing value, so dropping those leaves none")
    labels, class_names = _encode(
        [row[column] for row, kept in zip(rows, keep) if kept], f"{path}, column '{target}'"
    )
    return from_arrays(
        np.delete(table[keep], column, axis=1),
        labels,
        name=Path(path).stem,
        feature_names=header[:column] + header[column + 1 :],
        class_names=class_names,
        test_size=test_size,
        seed=seed,
        dtype=dtype,
        where=f"{path}, column '{target}'",
    )


def _read(path: Path, delimiter: str | None) -> tuple[list[str], list[int], list[list[str]]]:
    """Column names, and for each row the line it starts on and its stripped cells."""
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}, line {line}: byte 0x{raw[error.start]:02x} is not UTF-8 text; "
            "save the file as CSV in UTF-8"
        ) from error
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); give the path of a CSV file"
        ) from error
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '" \r\n'):
        raise InputError(f"delimiter {delimiter!r}: give a single character, such as ',' or ';'")
    lines, rows, line = [], [], 1
    try:
        delimiter = delimiter or _guess(text.strip())
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells) or len(cells) > 1:
                lines.append(line)
                rows.append(cells)
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}, line {line}: {error}; mend this row") from error
    if not rows:
        raise InputError(f"{path} is empty: its first line must name the columns")
    for line, row in zip(lines, rows):
        if len(row) != len(rows[0]):
            raise InputError(
                f"{path}, line {line}: {len(row)} cells, but line {lines[0]} names {len(rows[0])} "
                f"columns (cut at {delimiter!r}); mend this row, or give another delimiter"
            )
    return rows[0], lines[1:], rows[1:]


def _guess(text: str) -> str:
    """The delimiter that cuts the first line into most cells."""

    def cells(delimiter: str) -> int:
        return len(next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), []))

    return max(_DELIMITERS, key=cells)


def _find(target: str, header: list[str], path: str | PathLike[str]) -> int:
    """The position of the target column in a header that is fit for use."""
    if target not in header:
        if any(map(_is_number, header)):
            raise InputError(
                f"{path}, line 1: no column is called '{target}', and '{', '.join(header[:5])}' "
                "looks like data; the first line must name the columns"
            )
        raise InputError(f"{path}, line 1: {unknown('target column', target, header)}")
    for position, name in enumerate(header):
        if not name:
            raise InputError(
                f"{path}, line 1: column {position + 1} has no name (a saved row number?); "
                "remove the column or name it"
            )
        if name in header[:position]:
            raise InputError(f"{path}, line 1: two columns are called '{name}'; rename one")
    if len(header) == 1:
        raise InputError(
            f"{path}, line 1: '{target}' is the only column, there is none to learn from; "
            "add columns of numbers, or give the delimiter"
        )
    return header.index(target)


def _numbers(
    header: list[str],
    lines: list[int],
    rows: list[list[str]],
    target: int,
    path: str | PathLike[str],
) -> Array:
    """All cells as float64 (rows, columns): NaN where missing, 0 for the target's classes."""
    table = np.zeros((len(rows), len(header)))
    for index, row in enumerate(rows):
        for position, cell in enumerate(row):
            try:
                if cell.lower() in _MISSING:
                    table[index, position] = math.nan
                elif position != target:
                    table[index, position] = _number(cell)
            except ValueError as error:
                raise InputError(
                    f"{path}, line {lines[index]}, column '{header[position]}': {cell!r} is not a "
                    "finite number; only the target column may hold words, so write it as a "
                    "number, leave the cell empty, or remove the column"
                ) from error
    return table


def _settle(
    blank: Array,
    missing: str,
    header: list[str],
    lines: list[int],
    target: int,
    path: str | PathLike[str],
) -> Array:
    """Which rows stay, (rows,) booleans, after ``missing`` is applied to the ``blank`` cells."""
    if missing == "drop":
        return ~blank.any(axis=1)
    refused = blank if missing == "error" else blank[:, target : target + 1]
    if refused.any():
        row, position = (int(where[0]) for where in np.nonzero(refused))
        name = header[position if missing == "error" else target]
        cure = "'drop' to leave out their rows"
        if not blank[:, target].any():
            cure += ", or 'mean' to fill in the column's mean"
        raise InputError(
            f"{path}: {np.count_nonzero(refused)} missing value(s), the first on line "
            f"{lines[row]} in column '{name}'; fill them in, or set missing (--missing) to {cure}"
        )
    return np.ones(len(blank), bool)


def _encode(texts: Sequence[str], where: str) -> tuple[Array, list[str]]:
    """int64 labels (n,) and the classes' names in sorted order."""
    values: list[Any]
    try:
        values = [_class(text) for text in texts]
    except ValueError:
        values = list(texts)
    classes = sorted(set(values))
    if len(classes) > _MOST_FRACTIONS and any(isinstance(value, float) for value in values):
        raise InputError(
            f"{where}: {len(classes)} different numbers with fractions look like a quantity, not "
            "like classes; choose another target, or group the values into classes"
        )
    position = {value: index for index, value in enumerate(classes)}
    return np.array([position[value] for value in values], np.int64), list(map(str, classes))


def _class(text: str) -> float:
    """A class that is a number: 1, 01 and 1.0 are the same one."""
    try:
        return int(text.replace("_", "?"))
    except ValueError:
        value = _number(text)
        return int(value) if value.is_integer() else value


def _number(text: str) -> float:
    value = float(text.replace("_", "?"))  # Python would read 2020_01 as 202001
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _is_number(text: str) -> bool:
    try:
        _number(text)
    except ValueError:
        return False
    return True
