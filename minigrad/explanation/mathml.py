"""Formulas as MathML, which browsers set by themselves, without a script or a font of their own."""

from __future__ import annotations

from functools import lru_cache
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from minigrad.errors import require

__all__ = ["mathml"]

_SPACE = "http://www.w3.org/1998/Math/MathML"
_ROWS = ("math", "mrow", "mtd")


@lru_cache(maxsize=1024)
def mathml(latex: str, *, block: bool = False) -> str:
    """A <math> element, in a line of text or, with ``block``, on a line of its own.

    Raises :class:`MissingExtra` without the extra ``explain``.
    Three things that the converter leaves to fonts or to old attributes are made plain: a bar over
    several letters, which few fonts stretch, is a <mrow class="bar"> whose border a style draws;
    names of functions are identifiers, with a thin space before an argument that has no brackets.
    """
    display = "block" if block else "inline"
    text = require("latex2mathml.converter", "explain").convert(latex, display=display)
    root = ElementTree.fromstring(text.replace(f' xmlns="{_SPACE}"', ""))
    for element in root.iter():
        _bar(element)
        if element.tag in _ROWS:
            _functions(element)
    root.set("xmlns", _SPACE)
    return ElementTree.tostring(root, encoding="unicode")


def _bar(element: Element) -> None:
    if element.tag == "mover" and element[1].text == "―":
        element.tag = "mrow"
        element.set("class", "bar")
        element.remove(element[1])


def _functions(row: Element) -> None:
    for i, part in reversed(list(enumerate(row))):
        text = part.text or ""
        if part.tag in ("mi", "mo") and len(text) > 1 and text.isalpha():
            part.tag = "mi"
            if i + 1 < len(row) and row[i + 1].text != "(" and row[i + 1].tag != "mspace":
                row.insert(i + 1, Element("mspace", width="0.167em"))
