"""``size``: bytes of the parameters on disk, at a bit width and density.

The layout is that of the compressed SqueezeNet which the authors of Deep Compression released (its ``decode.py``):
for each tensor of weights the codes of the weights that are not zero, for each code how far it is from the one before,
and a codebook of 2^bits floats; biases and parameters of normalisations stay as they are. A distance that does not fit
into the index takes a filler, a further code for a zero; how many depends on where the zeros are. Counted is what is
to be expected where they lie at random.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from fnmatch import fnmatchcase

from ..errors import UnusableInput
from ..graph import ModelGraph, Parameter
from ..table import Table, column, table
from ..units import binary, decimal

INDEX_BITS = 4
Density = float | Mapping[str, float]


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """The parameters of one layer on disk.

    kept: weights that are not pruned; fillers: codes for zeros between them; codes, indices, codebook, rest: the parts
    of ``bytes``; rest is what is stored as it is.
    """

    name: str = column("layer")
    module: str = column("module", hidden=True, default="")
    params: int = column("params", "count", fold="sum", default=0)
    density: float | None = column("density", "ratio", default=None)
    kept: int = column("kept", "count", fold="sum", default=0)
    fillers: int = column("fillers", "count", fold="sum", hidden=True, default=0)
    codes: int = column("codes", "byte", fold="sum", hidden=True, default=0)
    indices: int = column("indices", "byte", fold="sum", hidden=True, default=0)
    codebook: int = column("codebook", "byte", fold="sum", hidden=True, default=0)
    rest: int = column("as it is", "byte", fold="sum", hidden=True, default=0)
    bytes: int = column("size", "byte", fold="sum", default=0)
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


def size(
    graph: ModelGraph, bits: int = 32, density: Density = 1.0, index_bits: int | None = None, *, codebook: bool = True
) -> Table[Stored]:
    """Bytes on disk of every layer's parameters; buffers are not among them.

    Args:
        bits: for each weight; with fewer than the weights have, they are codes into a codebook.
        density: the part of the weights that is not zero; or parts by patterns of layer names (``fire*.squeeze*``),
            the last that fits; what none fits is whole.
        index_bits: for the distance between two weights that are kept, in every tensor, as in the release; by default
            4, and none in tensors of which all is kept.
        codebook: whether 2^bits floats are stored for each tensor. Without, codes are numbers (``int8``).

    Raises:
        UnusableInput: a bit width or density that cannot be, or a pattern that no layer fits.
    """
    _checked(bits, density, index_bits)
    if isinstance(density, Mapping):
        _fitting(graph, density)
    rows: dict[str, Stored] = {}
    for each in graph.parameters:
        if each.role != "buffer":
            row = _stored(each, bits, density, index_bits, codebook)
            rows[row.name] = _together(rows[row.name], row) if row.name in rows else row
    found = table("size on disk", rows.values(), Stored, model=graph.name, input=graph.input_text)
    return dataclasses.replace(found, notes=_notes(graph, found.total, bits, index_bits, codebook))


def _stored(each: Parameter, bits: int, density: Density, index_bits: int | None, codebook: bool) -> Stored:
    layer = each.module or each.name
    whole = each.bytes * 8 // max(each.numel, 1)
    if each.role != "weight":
        return Stored(layer, each.module, each.numel, None, each.numel, rest=each.bytes, bytes=each.bytes)
    part = density_of(layer, density)
    kept = round(part * each.numel)
    width = index_bits if index_bits is not None else INDEX_BITS if part < 1 else 0
    fillers = _fillers(kept, part, width)
    book = 4 * 2**bits if codebook and bits < min(whole, 17) else 0
    codes = -(-(kept + fillers) * min(bits, whole) // 8)
    indices = -(-(kept + fillers) * width // 8)
    return Stored(
        layer, each.module, each.numel, part, kept, fillers, codes, indices, book, bytes=codes + indices + book
    )


def _fillers(kept: int, density: float, width: int) -> int:
    """Codes for zeros, where a gap is longer than the index can say, if each weight is kept by the same chance."""
    if not width or not 0 < density < 1:
        return 0
    longer = math.pow(1 - density, 2**width)  # the chance that a gap is
    return round(kept * longer / (1 - longer))


def _together(a: Stored, b: Stored) -> Stored:
    sums = {
        name: getattr(a, name) + getattr(b, name)
        for name in ("params", "kept", "fillers", "codes", "indices", "codebook", "rest", "bytes")
    }
    return dataclasses.replace(a, density=b.density if a.density is None else a.density, **sums)


def density_of(layer: str, density: Density) -> float:
    """The density of a layer's weights."""
    if not isinstance(density, Mapping):
        return density
    return [1.0, *[part for pattern, part in density.items() if fnmatchcase(layer, pattern)]][-1]


def _checked(bits: int, density: Density, index_bits: int | None) -> None:
    if not 1 <= bits <= 64:
        raise UnusableInput(f"{bits} bits for a weight; give 1 to 64, 8 for instance")
    if index_bits is not None and not 1 <= index_bits <= 32:
        raise UnusableInput(f"{index_bits} bits for an index; give 1 to 32, 4 for instance")
    for part in density.values() if isinstance(density, Mapping) else (density,):
        if not 0 < part <= 1:
            raise UnusableInput(f"the density {part:g} is not a part of the weights; give more than 0 and at most 1")


def _fitting(graph: ModelGraph, density: Mapping[str, float]) -> None:
    layers = {each.module or each.name for each in graph.parameters if each.role == "weight"}
    for pattern in density:
        if not any(fnmatchcase(layer, pattern) for layer in layers):
            some = ", ".join(sorted(layers)[:3])
            raise UnusableInput(f"no layer with weights is called {pattern!r} in {graph.name}; there are {some} ...")


def _notes(graph: ModelGraph, total: Stored, bits: int, index_bits: int | None, codebook: bool) -> tuple[str, ...]:
    whole = sum(each.bytes for each in graph.parameters if each.role != "buffer")
    notes = [f"{total.bytes:,} bytes = {decimal(total.bytes)} (10^6) = {binary(total.bytes)} (2^20)"]
    if total.bytes != whole:
        notes.append(f"{whole / total.bytes:.1f}x smaller than as they are ({decimal(whole)})")
        width = INDEX_BITS if index_bits is None else index_bits
        assumed = [f"{bits} bits a weight"]
        if total.indices:
            where = "in pruned tensors" if index_bits is None else "in every tensor"
            assumed.append(f"{width} bits for the distance to the one before {where}, fillers as for random zeros")
        assumed += ["a codebook of floats for each tensor"] * bool(total.codebook) + ["no entropy coding"]
        notes.append(f"assumed: {', '.join(assumed)}; biases and normalisations as they are")
    buffers = sum(each.numel for each in graph.parameters if each.role == "buffer")
    return (*notes, *([f"without {buffers:,} values of buffers"] if buffers else []))
