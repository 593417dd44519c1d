"""Numbers as people read them."""

from __future__ import annotations

import re

_SI = ((10**15, "P"), (10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))
_SECONDS = ((1, "s"), (1e-3, "ms"), (1e-6, "µs"))
_BINARY = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def grouped(number: int) -> str:
    """1234567 -> '1,234,567'."""
    return f"{number:,}"


def si(number: float, digits: int = 4) -> str:
    """Scaled by powers of 1000 to ``digits`` significant digits: 15470264320 -> '15.47 G'; below 1000 as it is."""
    for size, prefix in _SI:
        text = _significant(number / size, digits)
        # The rounded text decides, so that 999,999 is 1.000 M and not 1000.0 k.
        if abs(float(text)) >= 1:
            return f"{text} {prefix}"
    return str(number) if isinstance(number, int) else _significant(number, digits)


def binary(number: int, digits: int = 4) -> str:
    """Bytes by powers of 1024: 60950432 -> '58.13 MiB'."""
    for size, unit in _BINARY:
        if abs(number) >= size:
            return f"{_significant(number / size, digits)} {unit}"
    return f"{number} B"


def decimal(number: int, digits: int = 3) -> str:
    """Bytes by powers of 1000, as slides write them: 60950432 -> '61.0 MB'."""
    for size, prefix in _SI[2:]:
        if abs(number) >= size:
            return f"{_significant(number / size, digits)} {'KB' if prefix == 'k' else prefix + 'B'}"
    return f"{number} B"


def _significant(number: float, digits: int) -> str:
    whole = len(str(int(abs(number))))
    return f"{number:.{max(0, digits - whole)}f}"


_SUFFIXES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12} | {
    unit.lower(): size for size, unit in _BINARY
}


def parsed_bytes(text: str) -> int:
    """``24GiB``, ``1.5 GB`` or ``500000`` in bytes; GiB is 2^30, GB is 10^9.

    Raises:
        ValueError: it is no number with such a unit, or not above zero.
    """
    match = re.fullmatch(r"\s*(\d+(?:[.,_]\d+)*|\d*\.\d+)\s*([a-zA-Z]*)\s*", text)
    factor = _SUFFIXES.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise ValueError(f"{text!r} is no amount of memory; write 24GiB, 512MiB or 8GB")
    number = int(float(match[1].replace("_", "").replace(",", "")) * factor)
    if number <= 0:
        raise ValueError(f"{text!r} is no memory at all; write 24GiB, 512MiB or 8GB")
    return number


def duration(seconds: float, digits: int = 3) -> str:
    """Seconds with a unit of their own: 0.0381 -> '38.1 ms'."""
    size, unit = next(((size, unit) for size, unit in _SECONDS if abs(seconds) >= size), _SECONDS[-1])
    return f"{_significant(seconds / size, digits)} {unit}"


def scale(largest: float, unit: str) -> tuple[float, str]:
    """Factor and name of the scale in which a column reads well whose largest value is this one.

    The largest value is at least 4 in it, so that small ones do not all become 0.00.
    """
    if unit == "byte":
        steps: list[tuple[float, str]] = list(_BINARY)
    elif unit == "second":
        return next(((size, name) for size, name in _SECONDS if largest >= 4 * size), _SECONDS[-1])
    else:
        steps = list(_SI)
    return next(((size, name) for size, name in steps if largest >= 4 * size), (1, "B" if unit == "byte" else ""))


def scaled(number: float, factor: float) -> str:
    """The number in units of ``factor``, two places after the point; what is not zero never reads as zero."""
    if (factor == 1 and isinstance(number, int)) or not number:
        return f"{number:,}"
    text = f"{number / factor:,.2f}"
    return text if text.strip("-0.") else "<0.01"
