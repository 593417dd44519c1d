"""Numbers as people read them."""

from __future__ import annotations

_SI = ((10**15, "P"), (10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))
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
