"""Quantities with units, as people write them: 7B, 80GB, 80GiB, 50GB/s, 400Gbit/s, 5us, 400T."""

from __future__ import annotations

import math
import re

from minigrad.errors import InputError

__all__ = ["amount", "quantity", "seconds", "size"]

_NUMBER = re.compile(r"([+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*)")
_DECIMAL = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_BINARY = {f"{letter}i": 1024.0**n for n, letter in enumerate("KMGTP", 1)} | {"ki": 1024.0}
_COUNTS = _DECIMAL | {"m": 1e6, "b": 1e9, "B": 1e9, "bn": 1e9, "t": 1e12}
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_BYTES = {
    spelling: factor
    for prefix, factor in (_DECIMAL | _BINARY).items()
    for spelling in {f"{prefix}B", f"{prefix}B".lower()}
}
_RATES = {f"{prefix}B/s": factor for prefix, factor in (_DECIMAL | _BINARY).items()} | {
    f"{prefix}{bits}": factor / 8
    for prefix, factor in _DECIMAL.items()
    for bits in ("bit/s", "bps", "b/s")
    if prefix != "k" or bits != "b/s"  # kb/s: see _DOUBTFUL
}
_FLOPS = {
    f"{prefix}{unit}": factor
    for prefix, factor in _DECIMAL.items()
    for unit in ("", "FLOPS", "FLOP/s", "flops", "flop/s")
}
_DOUBTFUL = re.compile(r"[kmgtp]b(/s|ps)")
_KINDS = {  # the units of each kind, and examples
    "number": (_COUNTS, "7e9, 7B or 350M"),
    "memory": (_BYTES, "80GB or 80GiB"),
    "bandwidth": (_RATES, "50GB/s or 400Gbit/s"),
    "time": (_SECONDS, "5us or 0.1ms"),
    "speed": (_FLOPS, "400T (operations a second)"),
}


def quantity(name: str, text: str, kind: str) -> float:
    """What ``text`` stands for, in bytes, bytes a second, seconds, or operations a second.

    ``kind`` is "number", "memory", "bandwidth", "time" or "speed"; ``name`` is what the error
    calls it. Prefixes of bytes count in thousands (GB) or in 1024s (GiB); GB/s are bytes, Gbit/s,
    Gbps and Gb/s bits. Raises :class:`InputError` for a unit of another kind, a missing one, and
    anything that is not above 0.
    """
    units, examples = _KINDS[kind]
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{name} {text}: give a {kind}, such as {examples}")
    number, unit = float(match[1]), match[2].strip()
    if kind == "bandwidth" and _DOUBTFUL.fullmatch(unit):
        letter = unit[0].upper()
        raise InputError(f"{name} {text}: bytes or bits? Write {letter}B/s or {letter}bit/s")
    if unit not in units:
        said = f"'{unit}' is no unit of {kind} here" if unit else "the unit is missing"
        raise InputError(f"{name} {text}: {said}; give a {kind}, such as {examples}")
    value = number * units[unit]
    if not 0 < value < math.inf:
        raise InputError(f"{name} {text}: give a {kind} above 0, such as {examples}")
    return value


def amount(value: float) -> str:
    """A count to three significant digits: "7B", "109k"."""
    return _shown(value, 3, _AMOUNTS, pad=False).replace(" ", "")


def size(value: float, *, pad: bool = False) -> str:
    """Bytes to three significant digits, in units of 1000; with ``pad`` zeros are written."""
    return _shown(value, 3, _SIZES, pad)


def seconds(value: float, *, pad: bool = False) -> str:
    """A time to two significant digits, which is more than a prediction is worth."""
    return _shown(value, 2, _TIMES, pad)


_AMOUNTS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_SIZES = ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))
_TIMES = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def _shown(value: float, digits: int, units: tuple[tuple[float, str], ...], pad: bool) -> str:
    rounded = float(f"{value:.{digits - 1}e}")
    factor, unit = next((one for one in units if rounded >= one[0]), units[-1])
    quotient = float(f"{value / factor:.{digits - 1}e}")
    form = f"#.{digits}g" if pad and quotient < 10 ** (digits - 1) else ",.15g"
    return f"{quotient:{form}} {unit}".rstrip()
