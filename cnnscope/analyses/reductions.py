"""How many threads of oneDNN share the sum of one weight gradient: each but the first holds a copy of its own.

The threads are divided over batch (and rows), output and input channels so that least memory is moved; oneDNN tries
the divisions and compares their cost (``balance`` in its convolution kernels). The same search is made here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from .kernels import Convolution, Kernel

_ROWS = 9  # result rows that a thread takes at least when it shares the sum over rows


def sharers(c: Convolution, kernel: Kernel, threads: int) -> int:
    """How many threads hold a gradient of the whole weight, the one that becomes the result included."""
    if kernel.name == "depthwise":
        return _depthwise(c, kernel.block, threads)
    if threads < c.groups:
        return 1
    if kernel.name == "pointwise":
        return _pointwise(c, kernel.block, threads)
    return _direct(c, kernel, threads)


def _divisions(threads: int, most: int, outputs: int, inputs: int) -> Iterator[tuple[int, int, int]]:
    """Threads over (batch and rows, blocks of outputs, blocks of inputs)."""
    for shared in range(1, min(threads, most) + 1):
        rest = threads // shared
        for out in range(1, min(rest, outputs) + 1):
            yield shared, out, min(rest // out, inputs)


def _parts(size: int, threads: int) -> int:
    return -(-size // threads)


def _pointwise(c: Convolution, block: int, threads: int) -> int:
    pixels = math.prod(c.result)
    step = _divider(pixels, 7, 16) or 1
    work, inputs, outputs = c.batch * (pixels // step), _parts(c.inputs, block), _parts(c.outputs, block)

    def moved(shared: int, out: int, into: int) -> int:
        share = _parts(work, shared) * block * step
        read = _parts(inputs, into) * share // math.prod(c.stride) + _parts(outputs, out) * share
        return read + 12 * _parts(outputs, out) * _parts(inputs, into) * block * block

    best = min(_divisions(threads, work, outputs, inputs), key=lambda each: (moved(*each), -each[0], -each[1]))[0]
    return min(c.batch, threads) if threads // 2 < best < threads else best


def _divider(value: int, low: int, high: int) -> int:
    """The largest divisor between two bounds, 0 if there is none."""
    return next((each for each in range(min(high, value), low - 1, -1) if value % each == 0), 0)


def _direct(c: Convolution, kernel: Kernel, threads: int) -> int:
    groups = c.groups
    into, out = c.per_group
    block = kernel.block
    inputs, outputs = (1 if kernel.name == "first" else _parts(into, block)), _parts(out, block)
    depth = into if kernel.name == "first" else block
    rows = len(c.kernel) == 2 and c.dilation[0] == 1 and c.result[0] > _ROWS
    reduced_in, reduced_out = (c.source[0], c.result[0]) if rows else (1, 1)
    source, result = math.prod(c.source) // reduced_in, math.prod(c.result) // reduced_out
    stride = math.prod(c.stride)

    def moved(shared: int, outs: int, ins: int) -> int:
        read = _parts(c.batch * reduced_in, shared) * _parts(inputs, ins) * depth * source // stride
        read += _parts(c.batch * reduced_out, shared) * _parts(outputs, outs) * block * result
        return read + 8 * _parts(outputs, outs) * _parts(inputs, ins) * math.prod(c.kernel) * depth * block

    def computed(shared: int, outs: int, ins: int) -> int:
        return _parts(c.batch * reduced_out, shared) * _parts(outputs, outs) * _parts(inputs, ins)

    most = c.batch * max(1, reduced_out // _ROWS) * (c.result[0] if len(c.kernel) == 3 else 1)
    divisions = list(_divisions(threads // groups, most, outputs, inputs))
    best = min(divisions, key=lambda each: (moved(*each), -each[0], -each[1]))
    least, cost = moved(*best), computed(*best)
    for each in divisions:
        if (computed(*each) <= cost and moved(*each) < 1.1 * least) or 4 * computed(*each) <= 3 * cost:
            best, cost = each, computed(*each)
    return min(most, threads) if threads // 2 < best[0] < threads else best[0]


def _depthwise(c: Convolution, block: int, threads: int) -> int:
    """Threads go over blocks of channels first; what is left of them shares the batch."""
    return min(c.batch, max(1, threads // _parts(c.groups, block)))
