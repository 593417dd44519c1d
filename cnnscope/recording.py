"""The dispatch mode that writes down every operator of a run on the meta device.

``Recorder`` sits below autograd: it sees the ATen operators that really run, after composite functions have been
taken apart. It keeps no tensor alive; a weak reference on each storage tells when the program frees it.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from .bookkeeping import LIFT, Known, Ledger, storage_of
from .casting import AUTOCAST
from .device_rules import DEVICE_RULES
from .fastmeta import METAS, meta_of
from .layouts import Holding, Meta
from .refusals import refusal
from .signatures import (
    Function,
    Signature,
    forget_other_default,
    function_of,
    remember,
    signature_of,
    signatures_for,
    with_results,
)
from .standins import Originals

_META = torch.device("meta")
_READ_NUMBER = torch.ops.aten._local_scalar_dense.default
_COPY_TO = torch.ops.aten._to_copy.default
_SPECIAL = frozenset((_READ_NUMBER, _COPY_TO, LIFT))
_PLAIN = frozenset((int, float, bool, type(None), str, torch.dtype, torch.device, torch.layout, torch.memory_format))


def _holding(tensor: torch.Tensor) -> Holding:
    return Holding(METAS[meta_of(tensor)], tensor.untyped_storage().nbytes())


def _metas(args: Any, inputs: Iterator[Known]) -> list[Any]:
    """Arguments as the closed-form rules take them; ``inputs``: what is known of the tensors in them, in order."""
    found: list[Any] = []
    for value in args:
        if isinstance(value, torch.Tensor):
            found.append(METAS[next(inputs).meta])
        elif isinstance(value, (list, tuple)) and value and type(value[0]) is not int:
            found.append(_metas(value, inputs))
        else:
            found.append(value)
    return found


class Recorder(Ledger, TorchDispatchMode):
    """Writes down while it is entered."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the wrapper would import torch._dynamo and cost microseconds a call

    def __init__(self, originals: Originals, training: bool = False, device: str = "cpu") -> None:
        super().__init__(originals, training)
        forget_other_default(torch.get_default_dtype())
        self._signatures = signatures_for(device)
        self._rules = DEVICE_RULES[device]
        self.failed_op = ""
        self.taking_apart = 0
        self.read = 0
        self._lost: set[int] = set()
        self._moves = originals.device == "meta" and device != "cpu"

    # -- operators ----------------------------------------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        function = function_of(func)
        kwargs = kwargs or {}
        if function.decomposes:
            # Under inference_mode composite functions arrive whole; everywhere else they have been taken apart.
            with self:
                self.taking_apart += 1
                try:
                    result = func.decompose(*args, **kwargs)
                finally:
                    self.taking_apart -= 1
            if result is not NotImplemented:
                return result
        if func in _SPECIAL:
            if func is _READ_NUMBER and args[0].is_meta:
                return self._read_data(func, args[0])
            if func is LIFT and not self.is_known(args[0]):  # torch.tensor(...): memory that is new here
                return self._ask_torch(func, signature_of(function, (), {}), args, kwargs, None, [])
            if func is _COPY_TO and kwargs.get("device") is not None:
                if args[0].is_meta:
                    kwargs = {**kwargs, "device": _META}  # x.cpu(): what has no data has none there either
                elif self._stays(args[0], kwargs):
                    return self.double(args[0])
        elif func.namespace == "profiler":
            return func(*args, **kwargs)  # a mark for a profiler, not an operator
        key: list[Any] = [func]
        inputs: list[Known] = []
        run = self.run
        real = False
        for value in args:
            kind = type(value)
            if kind is torch.Tensor or kind is nn.Parameter:
                known = value.__dict__.get("_cnnscope")
                if known is None or known.run != run:
                    known = self.known(value)
                    real = real or not value.is_meta
                real = real or known.real
                inputs.append(known)
                key.append(known.meta)
            elif kind in _PLAIN:  # _add would do; this is where a microsecond counts
                key.append(kind)
                key.append(value)
            else:
                real = self._add(value, key, inputs) or real
        for name, value in kwargs.items():
            key.append(name)
            real = self._add(value, key, inputs) or real
        if not real:
            return self._answer(func, function, args, kwargs, tuple(key), inputs)
        # Nothing that real data are part of is remembered.
        args, kwargs = self._without_data(args, kwargs, inputs)
        if function.writes and isinstance(args[0], torch.Tensor) and args[0].is_meta and inputs[0].real:
            self._lost.add(inputs[0].storage)
        signature = signature_of(function, args, kwargs)
        if not all(known.real for known in inputs):
            self._check(signature, inputs)  # torch looks itself where all have data
        return self._ask_torch(func, signature, args, kwargs, None, inputs)

    def _add(self, value: Any, key: list[Any], inputs: list[Known]) -> bool:
        """Add an argument to the memo key and its tensors to the inputs; tell whether one of them has data."""
        if isinstance(value, torch.Tensor):
            inputs.append(self.known(value))
            key.append(inputs[-1].meta)
            return not value.is_meta
        if isinstance(value, (list, tuple)):
            if value and type(value[0]) is int:  # sizes and strides: never tensors
                key.append(tuple(value))
                return False
            key.append(len(value))
            real, run = False, self.run
            for item in value:
                known: Known | None = item.__dict__.get("_cnnscope") if type(item) is torch.Tensor else None
                if known is None or known.run != run:
                    real = self._add(item, key, inputs) or real
                else:  # the same without a call: a concatenation can have a hundred
                    inputs.append(known)
                    key.append(known.meta)
                    real = real or known.real
            return real
        # 2, 2.0 and True are equal and give results of different dtypes.
        key.append(type(value))
        key.append(value)
        return False

    def _answer(self, func: Any, function: Function, args: Any, kwargs: Any, key: Any, inputs: list[Known]) -> Any:
        """The result from memory or in closed form where that is possible, else from torch's meta kernel."""
        try:
            signature = self._signatures.get(key)
        except TypeError:  # a Generator or another argument that cannot be hashed
            return self._ask_torch(func, signature_of(function, args, kwargs), args, kwargs, None, inputs)
        if signature is None:
            signature = signature_of(function, args, kwargs)
            self._check(signature, inputs)
            if function.lists:
                remember(self._signatures, key, signature)
                return self._write_lists(signature, inputs)
            rule = self._rules.get(func)
            if rule is None or kwargs:
                return self._ask_torch(func, signature, args, kwargs, key, inputs)
            metas = rule(*_metas(args, iter(inputs)))
            if metas is None:
                return self._ask_torch(func, signature, args, kwargs, key, inputs)
            signature = with_results(signature, metas, len(metas) > 1)
            remember(self._signatures, key, signature)
        if function.in_place:
            return self.write(signature, inputs, args[0])
        if function.lists:
            return self._write_lists(signature, inputs)
        if signature.outs is None:
            return self._ask_torch(func, signature, args, kwargs, None, inputs)
        return self._new_tensors(signature, inputs)

    def _check(self, signature: Signature, inputs: list[Known]) -> None:
        """Raise what a real kernel would."""
        function = signature.function
        writes = function.in_place and (function.pointwise or function.kind == "copy_")
        why = refusal(function.kind, [METAS[known.meta] for known in inputs], signature.attrs, writes)
        if why:
            self._note_failure(signature, inputs)
            raise RuntimeError(why)

    def _note_failure(self, signature: Signature, inputs: list[Known]) -> None:
        shapes = [f"{role} {METAS[known.meta].shape}" for role, known in zip(signature.roles, inputs, strict=True)]
        self.failed_op = f"{signature.function.kind} of {', '.join(shapes)}" if shapes else signature.function.kind

    def _new_tensors(self, signature: Signature, inputs: list[Known]) -> Any:
        """New tensors with remembered metadata; nothing runs."""
        outs = signature.outs or ()
        first = len(self.value_metas)
        tensors = [out and self._new_tensor(*out) for out in outs]
        self.record(signature, inputs, tuple(range(first, len(self.value_metas))))
        return tuple(tensors) if signature.many else tensors[0]

    def _new_tensor(self, number: int, meta: Meta, nbytes: int) -> torch.Tensor:
        shape, stride, dtype = meta
        tensor = torch.empty_strided(shape, stride, dtype=dtype, device=_META)
        storage = self.memory.allocated(tensor.untyped_storage(), nbytes)
        tensor._cnnscope = self.new_value(number, storage)  # type: ignore[attr-defined]
        return tensor

    def _ask_torch(self, func: Any, signature: Signature, args: Any, kwargs: Any, key: Any, inputs: list[Known]) -> Any:
        """Run torch's own kernel, write down what it returns, and remember it if nothing but metadata mattered."""
        modules = len(sys.modules)
        try:
            if AUTOCAST.is_on():
                with AUTOCAST.passed():  # meta kernels are Python programs, whose own steps are no business of autocast
                    result = func(*args, **kwargs)
            else:
                result = func(*args, **kwargs)
        except Exception:
            self._note_failure(signature, inputs)
            raise
        if len(sys.modules) != modules:
            gc.collect()  # what a kernel imports at its first call leaves cycles of frames behind, this one among them
        function = signature.function
        many = isinstance(result, (tuple, list))
        returned = result if many else (result,)
        outs = [each for each in returned if isinstance(each, torch.Tensor)]
        if function.in_place and len(outs) == 1 and outs[0] is args[0]:
            if key is not None:
                remember(self._signatures, key, signature)
            return self.write(signature, inputs, outs[0])
        numbers = []
        fresh = not function.writes and not function.view and bool(outs)
        fresh = fresh and all(each is None or isinstance(each, torch.Tensor) for each in returned)
        for out in outs:
            known = self._returned(out, inputs)
            # _unsafe_view and its like return their input's storage without saying so; what has data is computed.
            fresh = fresh and self.memory.born[known.storage] == len(self.records) and not known.real
            out._cnnscope = known  # type: ignore[attr-defined]
            numbers.append(known.value)
        if key is not None:  # of a view, and of what lies in memory that was there, no more than what was asked
            metas = [out if out is None else _holding(out) for out in returned] if fresh else None
            remember(self._signatures, key, with_results(signature, metas, many) if metas else signature)
        self.record(signature, inputs, tuple(numbers))
        if function.writes:
            self.note_writes(signature, inputs)
        return result

    def _returned(self, out: torch.Tensor, inputs: list[Known]) -> Known:
        """The value of a tensor that torch's kernel returned: in new memory, or in that of an input."""
        storage = storage_of(out, "a result")
        before = self.memory.at.get(storage._cdata)
        if before is None:
            before, param = self.memory.allocated(storage, storage.nbytes()), -1
            if self.on_host(out):
                self.memory.host.add(before)
        else:
            param = next((known.param for known in inputs if known.storage == before), -1)
        known = self.new_value(meta_of(out), before, param, offset=int(out.storage_offset()))
        return known if out.is_meta else known._replace(real=True)

    def write(self, signature: Signature, inputs: list[Known], target: torch.Tensor) -> torch.Tensor:
        """An in-place operator: the tensor keeps its memory and holds a new value."""
        before = inputs[0]
        offset = 0 if self.lineage is None else int(target.storage_offset())
        known = self.new_value(before.meta, before.storage, before.param, not target.is_meta, offset)
        self.record(signature, inputs, (known.value,))
        self.writers[before.storage] = len(self.records) - 1
        self.weights_written = self.weights_written or before.param >= 0
        if id(target) in self.given:
            self.given[id(target)] = known
        else:
            target._cnnscope = known  # type: ignore[attr-defined]
        return target

    def _write_lists(self, signature: Signature, inputs: list[Known]) -> None:
        """A step of an optimizer on whole lists: it changes numbers, no metadata, and torch's kernel is slow."""
        self.record(signature, inputs, ())
        self.note_writes(signature, inputs)

    # -- tensors with data --------------------------------------------------------------------------------------------

    def _read_data(self, func: Any, tensor: torch.Tensor) -> Any:
        """The number in a weight or buffer that arrived with data and is unwritten: a constant of the model."""
        self.read += 1
        data, meta = self.data_of.get(self.known(tensor).storage, (None, None))
        if data is None or meta is None:
            return func(tensor)
        shared = data.untyped_storage()._cdata
        if any(
            self.data_of[each][0].untyped_storage()._cdata == shared for each in self.writers if each in self.data_of
        ):
            return func(tensor)
        if (data.stride(), data.dtype) != (meta.stride, meta.dtype):  # the copy has been converted
            data = torch.empty_strided(meta.shape, meta.stride, dtype=meta.dtype).copy_(data.detach())
        # The copy begins at the start of its memory, the original anywhere in its own.
        offset = data.storage_offset() + tensor.storage_offset()
        return func(data.detach().as_strided(tensor.shape, tensor.stride(), offset))

    def _without_data(self, args: Any, kwargs: Any, inputs: list[Known]) -> tuple[Any, Any]:
        """Replace tensors that have data by their doubles, unless all of them have: those compute constants.

        A constant that a meta tensor was once written into has lost its data: it stays a double.
        """
        lost = any(known.storage in self._lost or not known.real for known in inputs)
        return pytree.tree_map_only(torch.Tensor, self.double, (args, kwargs)) if lost else (args, kwargs)

    def _stays(self, tensor: torch.Tensor, options: Any) -> bool:
        """Whether ``tensor.to(x.device)`` is the tensor itself where the model is on the CPU, too."""
        same = options.get("dtype") in (None, tensor.dtype) and options.get("memory_format") is None
        return same and not self._moves and options["device"] == _META
