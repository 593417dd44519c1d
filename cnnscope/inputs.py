"""The grammar of ``--input``: ``[name=]SIZExSIZEx...[:dtype]``, in brackets for a list of tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .errors import UnusableInput

_FORM = re.compile(r"(?:(?P<name>[^\W\d]\w*)=)?(?P<list>\[)?(?P<shape>\d+(?:[xX×]\d+)*)(?::(?P<dtype>\w+))?(?(list)\])")
_EXAMPLE = "write it like 1x3x224x224, name=1x16, 1x128:int64 or [3x320x320] for a list, one --input for each"


class Input(NamedTuple):
    """One input tensor: its shape with batch, its type, and the keyword it is passed as, if it is.

    listed: instead of one tensor a list of so many; 0 for no list.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    name: str = ""
    listed: int = 0


def parse(text: str) -> Input:
    """``1x128:int64`` as an ``Input``.

    Raises:
        UnusableInput: the text is not of that form, or a size is zero.
    """
    match = _FORM.fullmatch(text.strip())
    if not match:
        raise UnusableInput(f"cannot read the input {text!r}; {_EXAMPLE}")
    shape = tuple(int(size) for size in re.split("[xX×]", match["shape"]))
    if 0 in shape:
        raise UnusableInput(f"the input {text!r} has a size of 0; every size is at least 1")
    return Input(shape, match["dtype"] or "float32", match["name"] or "", 1 if match["list"] else 0)


def chosen(
    texts: Iterable[str],
    default: tuple[Any, ...] | None,
    batch: int | None,
    target: str,
    dtypes: tuple[str, ...] = (),
    resolution: int | None = None,
) -> tuple[Input, ...]:
    """The inputs given, else the model's default ones of these types; ``batch`` replaces the first size of each, and
    of a list its length; ``resolution`` the height and the width of images and clips.

    Raises:
        UnusableInput: none is given and none is known, one cannot be read, or none has a height and a width.
    """
    shapes = default or ()
    types = (*dtypes, *["float32"] * (len(shapes) - len(dtypes)))
    given = tuple(parse(text) for text in texts) or tuple(map(_known, shapes, types))
    if not given:
        raise UnusableInput(f"no input shape is known for {target}; give one, for example --input 1x3x224x224")
    twice = [each.name for each in given if each.name and [other.name for other in given].count(each.name) > 1]
    if twice:
        raise UnusableInput(f"the input {twice[0]!r} is given twice; {_EXAMPLE}")
    if resolution is not None:
        given = _resized(given, resolution, target)
    return given if batch is None else tuple(_batched(each, batch) for each in given)


def _known(shape: Any, dtype: str) -> Input:
    return Input(shape[0], dtype, listed=len(shape)) if isinstance(shape, list) else Input(shape, dtype)


def _batched(each: Input, batch: int) -> Input:
    return each._replace(listed=batch) if each.listed else each._replace(shape=(batch, *each.shape[1:]))


def _resized(given: tuple[Input, ...], side: int, target: str) -> tuple[Input, ...]:
    """Images and clips, of one size too in a list, as squares of ``side``; other inputs stay as they are."""
    is_image = [len(each.shape) == 3 if each.listed else len(each.shape) in (4, 5) for each in given]
    if not any(is_image):
        raise UnusableInput(f"no input of {target} has a height and a width to be {side}; give it whole with --input")
    return tuple(
        each._replace(shape=(*each.shape[:-2], side, side)) if image else each
        for each, image in zip(given, is_image, strict=True)
    )


def arguments(inputs: tuple[Input, ...]) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Positional and keyword arguments of the forward, as tensors without data."""
    from .targets import tensor

    def made(each: Input) -> Any:
        if each.listed:
            return [tensor(each.shape, each.dtype) for _ in range(each.listed)]
        return tensor(each.shape, each.dtype)

    return tuple(made(each) for each in inputs if not each.name), {
        each.name: made(each) for each in inputs if each.name
    }
