"""What a sweep is asked for: the settings of each model, and what all of them have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from ..errors import UnusableInput

MOST = 10_000  # numbers in a list: beyond that it is a slip


class Setting(NamedTuple):
    """One batch size and one resolution; None is the model's own."""

    batch: int | None = None
    resolution: int | None = None

    def named(self, target: str) -> str:
        """What the row is called: ``vgg16 b8 r192``."""
        sizes = zip("br", self, strict=True)
        return " ".join([target, *(f"{letter}{size}" for letter, size in sizes if size is not None)])


class Request(NamedTuple):
    """What all rows have in common.

    inputs: as ``--input`` has them; run: options of ``trace``; device: whose memory and time to predict; where: that
    models run: ``auto``, ``meta`` or ``cpu``; cache: use the traces on disk; timeout: seconds that making a model, and
    each of its rows, may take.
    """

    inputs: tuple[str, ...] = ()
    run: Mapping[str, Any] = {}
    device: str | None = None
    where: str = "auto"
    cache: bool = True
    timeout: float | None = None


class Item(NamedTuple):
    """One row to be."""

    target: str
    setting: Setting

    @property
    def name(self) -> str:
        return self.setting.named(self.target)


def items(targets: Iterable[str], batches: Sequence[int], resolutions: Sequence[int]) -> list[Item]:
    """Every combination once, in the order of the request."""
    settings = [Setting(*pair) for pair in product(batches or (None,), resolutions or (None,))]
    return list(dict.fromkeys(Item(target, setting) for target in targets for setting in settings))


def by_target(left: Iterable[Item], most: int) -> Iterator[tuple[str, list[Item]]]:
    """The items in portions of at most so many, those of one target together: it is made once for each portion."""
    groups: dict[str, list[Item]] = {}
    for item in left:
        groups.setdefault(item.target, []).append(item)
    for target, group in groups.items():
        for start in range(0, len(group), most):
            yield target, group[start : start + most]


_PART = re.compile(r"(\d+)(?::(\d+)(?::(\d+))?)?")


def numbers(text: str) -> tuple[int, ...]:
    """``1,8,32`` or ``160:320:32`` (with 320 where the step leads there), or both, each number once.

    Raises:
        UnusableInput: it is no such list, has a zero, or more than ``MOST`` numbers.
    """
    found: dict[int, None] = {}
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        start, stop, step = (int(each) if each else None for each in match.groups()) if match else (0, 0, 0)
        if not start or stop == 0 or step == 0 or (stop is not None and stop < start):
            raise UnusableInput(f"cannot read the numbers {text!r}; write 1,8,32 or 160:320:32, each at least 1")
        span = range(start, (start if stop is None else stop) + 1, step or 1)
        if len(span) + len(found) > MOST:
            raise UnusableInput(f"{text!r} are more than {MOST:,} numbers; take a larger step: 160:320:32")
        found |= dict.fromkeys(span)
    return tuple(found)
