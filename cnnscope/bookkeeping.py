"""What is known of a run so far: every tensor that it has met, every operator that it has called.

The knowledge of a tensor lies on the tensor itself, or under its ``id`` if it was declared before the run. No tensor is
kept alive by it.
"""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

import torch
from torch import nn
from torch._C._functorch import is_functorch_wrapped_tensor

from .deferring import Deferred
from .errors import UnusableInput
from .fastmeta import BYTES, METAS, meta_of
from .layouts import Meta
from .lifetimes import Memory, Record
from .lineages import Lineage
from .signatures import Signature, function_of, signature_of
from .standins import Originals

LIFT = torch.ops.aten.lift_fresh.default
_DOUBLE = "_cnnscope_double"
_runs = 0


class Known(NamedTuple):
    """What the recorder knows of a tensor, kept on the tensor itself.

    run: which recorder; value, meta, storage: numbers; param: of the parameter that it is or views, else -1;
    written: index of the first operator whose write to the storage this value does not show, -1 for an alias that
    no recorded operator made; real: the tensor has data.
    """

    run: int
    value: int
    meta: int
    storage: int
    param: int
    written: int
    real: bool = False


def storage_of(tensor: torch.Tensor, name: str) -> torch.UntypedStorage:
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError) as error:
        kind = str(tensor.layout).removeprefix("torch.") if tensor.layout is not torch.strided else "wrapped"
        raise UnusableInput(
            f"{name} is a {kind} tensor of shape {tuple(tensor.shape)}, which has no memory of its own to follow\n"
            "trace takes dense tensors: use to_dense() in a copy of the model, or trace the part without it"
        ) from error


class Ledger:
    """Tensors and operators of one run, by numbers; ``value_metas`` and ``value_storages`` by value."""

    def __init__(self, originals: Originals, training: bool) -> None:
        super().__init__()
        global _runs
        _runs += 1
        self.run = _runs
        self.records: list[Record] = []
        self.memory = Memory(self.records)
        self.value_metas: list[int] = []
        self.value_storages: list[int] = []
        self.value_names: dict[int, str] = {}
        self.params: list[torch.Tensor] = []
        self.param_names: list[list[str]] = []
        self.param_values: list[int] = []
        self.constants: list[torch.Tensor] = []
        self.call = 0
        self.lineage = Lineage(self.records, self.params) if training else None
        self.given: dict[int, Known] = {}
        self.writers: dict[int, int] = {}
        self.weights_written = False
        self._aliased = False
        self._on_meta = originals.device == "meta"
        self._originals = originals
        self._doubles = originals.memo
        self._waiting: dict[int, Known] = {}
        originals.noticed = self._copied
        self._copies: set[int] | None = None
        self._marked: list[weakref.ref[torch.Tensor]] = []
        self._data = {id(originals.memo[id(each)]): each for each in originals.with_data}
        self.data_of: dict[int, tuple[torch.Tensor, Meta]] = {}

    @property
    def ran(self) -> int:
        """How many operators have run."""
        return len(self.records)

    def stop(self) -> None:
        """The run has ended: nothing is followed any more, and no tensor of the program's bears a mark of it."""
        self.memory.stop()
        self._originals.noticed = None
        for reference in self._marked:
            if (tensor := reference()) is not None:
                tensor.__dict__.pop(_DOUBLE, None)
                tensor.__dict__.pop("_cnnscope", None)

    # -- tensors ------------------------------------------------------------------------------------------------------

    def give(self, tensor: torch.Tensor, name: str, kind: str) -> Known:
        """Declare a tensor that exists before the run; ``kind`` as in ``graph.Storage``."""
        known = self.given.get(id(tensor))
        if known is not None:
            if known.param >= 0:
                self.param_names[known.param].append(name)
            return known
        storage = storage_of(tensor, name)
        param = -1
        if kind in ("param", "buffer"):
            param = self._new_param(tensor, name)
        else:
            self.constants.append(tensor)  # keeps its id from being given to another tensor
        number = self.memory.at.get(storage._cdata)
        if number is None:
            number = self.memory.add(storage._cdata, storage.nbytes(), kind, -1)
        if self.on_host(tensor):
            self.memory.host.add(number)
        known = self.new_value(meta_of(tensor), number, param, not tensor.is_meta)
        self.given[id(tensor)] = known
        self.value_names[known.value] = name
        if id(tensor) in self._data:
            self.data_of[number] = self._data[id(tensor)], METAS[known.meta]
        return known

    def give_weights(self, module: nn.Module, path: str) -> list[Known | None]:
        """Declare the parameters and the buffers of a module, and say what is known of them, in this order."""
        found: list[Known | None] = []
        prefix = f"{path}." if path else ""
        for kind, tensors in (("param", module._parameters), ("buffer", module._buffers)):
            if type(tensors) is Deferred and tensors.waiting:
                found += self._wait(tensors.originals, prefix, kind)
            elif tensors:
                found += [t if t is None else self.give(t, prefix + name, kind) for name, t in tensors.items()]
        return found

    def _wait(self, tensors: list[tuple[str, torch.Tensor | None]], prefix: str, kind: str) -> list[Known | None]:
        """Declare tensors of the model that have not been copied yet."""
        run, waiting, doubles, metas = self.run, self._waiting, self._doubles, self.value_metas
        found: list[Known | None] = []
        for name, original in tensors:
            address = id(original)
            known = waiting.get(address)
            if original is None:
                pass
            elif known is not None:
                self.param_names[known.param].append(prefix + name)
            elif address in doubles:
                known = self.give(doubles[address], prefix + name, kind)
            else:
                meta, value = meta_of(original), len(metas)
                storage = self.memory.born_before(BYTES[meta], kind)
                param = self._new_param(original, prefix + name)
                known = waiting[address] = Known(run, value, meta, storage, param, 1)
                metas.append(meta)
                self.value_storages.append(storage)
                self.value_names[value] = prefix + name
                if not original.is_meta:
                    self.data_of[storage] = original, METAS[meta]
            found.append(known)
        return found

    def _new_param(self, tensor: torch.Tensor, name: str) -> int:
        """The number of a parameter or buffer whose first value comes next."""
        self.params.append(tensor)
        self.param_names.append([name])
        self.param_values.append(len(self.value_metas))
        return len(self.params) - 1

    def _copied(self, original: torch.Tensor, copy: torch.Tensor) -> None:
        """Such a tensor has been copied: its copy is what the program sees."""
        known = self._waiting.pop(id(original), None)
        if known is not None:
            self.given[id(copy)] = known
            self.params[known.param] = copy
            self.memory.at[copy.untyped_storage()._cdata] = known.storage

    def known(self, tensor: torch.Tensor) -> Known:
        """The value that a tensor holds now."""
        known = tensor.__dict__.get("_cnnscope") or self.given.get(id(tensor))
        if known is not None and known.run == self.run:
            return known
        double = self._double_of(tensor)
        if double is not None and double is not tensor:
            return self.known(double)
        # A tensor that no recorded operator returned: an alias made in C++, or one that was there before.
        storage = self.memory.at.get(storage_of(tensor, "a tensor")._cdata)
        if storage is None:
            if self._is_made(tensor):
                return self._lifted(tensor)
            kind = "param" if isinstance(tensor, nn.Parameter) else "constant"
            return self.give(tensor, f"{kind}{len(self.given)}", kind)
        meta = meta_of(tensor)
        known = self.lineage.values.get((storage, meta, int(tensor.storage_offset()))) if self.lineage else None
        if known is None:
            self._aliased = True
            known = self.new_value(meta, storage)._replace(written=-1, real=not tensor.is_meta)
        if not tensor.is_meta:
            self._marked.append(weakref.ref(tensor))
        tensor._cnnscope = known  # type: ignore[attr-defined]
        return known

    def _is_made(self, tensor: torch.Tensor) -> bool:
        """Whether ``torch.tensor(..., device=x.device)`` made it: on meta that calls no operator, elsewhere a lift."""
        if not (self._on_meta and tensor.is_meta) or isinstance(tensor, nn.Parameter):
            return False
        if self._copies is None:
            self._copies = {id(each) for each in self._doubles.values()}
        return id(tensor) not in self._copies

    def _lifted(self, tensor: torch.Tensor) -> Known:
        """The value of such a tensor, made where it is first met."""
        storage = tensor.untyped_storage()
        known = self.new_value(meta_of(tensor), self.memory.allocated(storage, storage.nbytes()))
        tensor._cnnscope = known  # type: ignore[attr-defined]
        self.record(signature_of(function_of(LIFT), (), {}), [], (known.value,))
        return known

    def on_host(self, tensor: torch.Tensor) -> bool:
        """Whether it is on the CPU wherever the model is. In a run on the CPU nobody can tell."""
        return self._on_meta and not tensor.is_meta

    def is_known(self, tensor: torch.Tensor) -> bool:
        known = tensor.__dict__.get("_cnnscope") or self.given.get(id(tensor))
        return known is not None and known.run == self.run

    def numbers(self, value: Any) -> tuple[int, ...]:
        """The numbers of the tensors in an argument or result, one container deep, but for those inside of vmap."""
        if isinstance(value, torch.Tensor):
            known = value.__dict__.get("_cnnscope")
            if known is not None and known.run == self.run:
                return (known.value,)
            return () if is_functorch_wrapped_tensor(value) else (self.known(value).value,)
        items = value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else ()
        if len(items) == 1:
            (item,) = items
            return self.numbers(item) if isinstance(item, torch.Tensor) else ()
        return tuple([number for item in items if isinstance(item, torch.Tensor) for number in self.numbers(item)])

    def adopt(self, tensor: torch.Tensor, name: str, kind: str) -> None:
        """Declare a tensor that exists before the run and may be freed in it."""
        storage = storage_of(tensor, name)
        number = self.memory.at.get(storage._cdata)
        if number is None:
            number = self.memory.allocated(storage, storage.nbytes(), kind, -1)
            if self.on_host(tensor):
                self.memory.host.add(number)
            tensor._cnnscope = self.new_value(meta_of(tensor), number, -1, not tensor.is_meta)  # type: ignore[attr-defined]
            self.value_names[tensor._cnnscope.value] = name  # type: ignore[attr-defined]

    def new_value(self, meta: int, storage: int, param: int = -1, real: bool = False, offset: int = 0) -> Known:
        number = len(self.value_metas)
        self.value_metas.append(meta)
        self.value_storages.append(storage)
        known = Known(self.run, number, meta, storage, param, len(self.records) + 1, real)
        if self.lineage is not None:
            self.lineage.values[storage, meta, offset] = known
        return known

    # -- tensors without data for those with data ---------------------------------------------------------------------

    def _double_of(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """The tensor without data that stands for one of the model, or in this run for one with data."""
        double: torch.Tensor | None = tensor.__dict__.get(_DOUBLE)
        if double is not None and self.is_known(double):
            return double
        if id(tensor) in self._waiting:
            self._originals.late_doubles({"": tensor})
        return self._doubles.get(id(tensor))

    def double(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor without data for one with data. It lives as long, and keeps the memory of the other alive."""
        if tensor.is_meta:
            return tensor
        double = self._double_of(tensor)
        if double is None:
            known = self.known(tensor)
            double = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
            double._cnnscope = known._replace(real=False)  # type: ignore[attr-defined]
            self.memory.shared(double.untyped_storage(), tensor.untyped_storage(), known.storage)
            setattr(tensor, _DOUBLE, double)
            self._marked.append(weakref.ref(tensor))
            tensor.__dict__.pop("_cnnscope", None)  # from now on the double knows
            self.given.pop(id(tensor), None)
        return double

    # -- operators ----------------------------------------------------------------------------------------------------

    def note_writes(self, signature: Signature, inputs: list[Known]) -> None:
        for role, known in zip(signature.roles, inputs, strict=True):
            if role in signature.function.written:
                self.writers[known.storage] = len(self.records) - 1
                self.weights_written = self.weights_written or known.param >= 0

    def record(self, signature: Signature, inputs: list[Known], outputs: tuple[int, ...]) -> None:
        after: tuple[int, ...] = ()
        if self.writers or self._aliased:
            writers = self.writers
            for known in inputs:
                if writers.get(known.storage, -1) >= known.written:
                    after = self._unseen_writes(inputs)
                    break
        params = tuple([known.param for known in inputs if known.param >= 0])
        values = tuple([known.value for known in inputs])
        call = self.call if self.lineage is None else self.lineage.call(self.call, params)
        self.records.append(Record(signature, values, outputs, params, call, after))

    def is_stale(self, known: Known, weights: list[Known | None]) -> bool:
        """Whether memory of these has been written through another tensor since their values were made."""
        writers = self.writers
        if not writers and not self._aliased:
            return False
        if writers.get(known.storage, -1) >= known.written:
            return True
        if not self.weights_written and not self._aliased:
            return False
        return any(writers.get(each.storage, -1) >= each.written for each in weights if each is not None)

    def _unseen_writes(self, inputs: list[Known]) -> tuple[int, ...]:
        """Operators that changed an input's memory through another tensor since the input's value was made."""
        found = set()
        for known in inputs:
            writer = self.writers.get(known.storage, -1)
            if known.written < 0:
                writer = max(writer, self.memory.born[known.storage])
            if writer >= max(known.written, 0):
                found.add(writer)
        return tuple(sorted(found))
