"""Carries out a plan of ``fusing``: a new ModelGraph with fewer operators, storages, parameters and calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .analyses.op_costs import work
from .graph import Call, ModelGraph, Op, Parameter, Storage, Value

if TYPE_CHECKING:
    from .fusing import Plan


def rewritten(graph: ModelGraph, plan: Plan) -> ModelGraph:
    """The graph with each kernel of the plan as one operator, at the place and under the name of its first."""
    return _Rewriting(graph, plan).result()


class _Rewriting:
    def __init__(self, graph: ModelGraph, plan: Plan) -> None:
        self.graph = graph
        self.plan = plan
        self.into = {name: kernel for kernel, taken in plan.kernels.items() for name in taken}
        self.folded = set(plan.folds.values())
        self.biases: dict[str, Parameter] = {}
        self.storages = list(graph.storages)
        self.read = {value.name for op in graph for value in op.inputs} | {value.name for value in graph.outputs}
        self.renamed = self._renamed()

    def result(self) -> ModelGraph:
        """Operators first, then what they still need."""
        kept = [op for op in self.graph if op.name not in self.into and op.name not in self.plan.unread]
        gone = self._gone()
        ops = [self._kernel(op, gone) for op in kept]
        parameters = self._parameters(gone)
        calls, number = self._calls(ops)
        numbers, storages = self._storages(kept, ops, parameters)

        def placed(value: Value) -> Value:
            value = self.renamed.get(value.name, value)
            return value._replace(storage=numbers.get(value.storage, -1))

        def all_placed(values: tuple[Value, ...]) -> tuple[Value, ...]:
            return tuple([placed(value) for value in values])

        return ModelGraph(
            self.graph.name,
            tuple(
                op._replace(inputs=all_placed(op.inputs), outputs=all_placed(op.outputs), call=number[op.call])
                for op in ops
            ),
            storages,
            inputs=all_placed(self.graph.inputs),
            outputs=all_placed(self.graph.outputs),
            parameters=tuple([each._replace(storage=numbers[each.storage]) for each in parameters]),
            calls=tuple([c._replace(inputs=all_placed(c.inputs), outputs=all_placed(c.outputs)) for c in calls]),
            run=self.graph.run,
        )

    # -- operators ----------------------------------------------------------------------------------------------------

    def _renamed(self) -> dict[str, Value]:
        """For each value inside a kernel, the one that the kernel writes; it bears the kernel's name."""
        found = {}
        for name, taken in self.plan.kernels.items():
            if taken:
                result = self.graph[taken[-1]].outputs[0]._replace(name=self.graph[name].outputs[0].name)
                found.update({self.graph[each].outputs[0].name: result for each in (name, *taken)})
        return found

    def _kernel(self, op: Op, gone: set[str]) -> Op:
        """The operator with what the plan gives it."""
        after = tuple(dict.fromkeys(self.into.get(name, name) for name in op.after if name not in self.plan.unread))
        written = (*op.outputs[:1], *[value for value in op.outputs[1:] if value.name in self.read])
        op = op._replace(after=after, outputs=written)
        taken = [self.graph[name] for name in self.plan.kernels.get(op.name, ())]
        if not taken:
            return op
        if op.name in self.plan.folds:
            op = self._with_bias(op)
        inside = {each.outputs[0].name for each in (op, *taken)}
        inputs, roles, names = list(op.inputs), list(op.roles), list(op.params)
        for each in taken:
            names += [name for name in each.params if name not in gone and each.name not in self.folded]
            for value, role in zip(each.inputs, each.roles, strict=True):
                if value.name not in inside and each.name not in self.folded:
                    inputs.append(value)
                    roles.append(f"{each.kind.rstrip('_')}.{role}")
        # In place no longer, if the last one writes elsewhere than the first.
        elsewhere = op.in_place and taken[-1].outputs[0].storage != op.outputs[0].storage
        before, flops = op.attrs.get("fused", ()), op.attrs.get("fused_flops", 0)
        attrs = {
            **op.attrs,
            "fused": (*before, *[each.name for each in taken]),
            "fused_flops": flops + self._flops(taken),
        }
        return op._replace(
            kind=op.kind.rstrip("_") if elsewhere else op.kind,
            inputs=tuple(inputs),
            roles=tuple(roles),
            params=tuple(dict.fromkeys(names)),
            attrs=attrs,
        )

    def _flops(self, taken: list[Op]) -> int:
        """Arithmetic that the kernel does beside its own; a folded batch norm does none."""
        costs = [work(op, self.graph.storages) for op in taken if op.name not in self.folded]
        return sum(each.flops for each in costs if each is not None)

    def _with_bias(self, op: Op) -> Op:
        """A product that has taken in a batch norm: with a bias, the old one adjusted or a new one."""
        attrs = {key: value for key, value in op.attrs.items() if key != "bias"}
        if op.input("self" if op.kind == "addmm" else "bias") is not None:
            return op
        bias = self._new_bias(op)
        value = Value(bias.name, bias.shape, bias.dtype, bias.storage)
        names = (*op.params, bias.name)
        if op.kind == "mm":
            attrs |= {"beta": 1, "alpha": 1}
            roles: tuple[str, ...] = ("self", "mat1", "mat2")
            return op._replace(kind="addmm", inputs=(value, *op.inputs), roles=roles, params=names, attrs=attrs)
        # As torch's signatures have it: input, weight, bias.
        inputs, roles = (*op.inputs[:2], value, *op.inputs[2:]), (*op.roles[:2], "bias", *op.roles[2:])
        return op._replace(inputs=inputs, roles=roles, params=names, attrs=attrs)

    def _new_bias(self, op: Op) -> Parameter:
        weight = next(each for each in self.graph.parameters if each.name in op.params and each.role != "buffer")
        taken = {name for each in self.graph.parameters for name in each.names}
        name = weight.name.removesuffix("weight") + "bias"
        while name in taken or any(name == each.name for each in self.biases.values()):
            name += "_folded"
        shape = (op.outputs[0].shape[1],)
        bias = Parameter(name, shape, weight.dtype, "bias", weight.trainable, len(self.storages), (name,))
        self.storages.append(Storage(bias.storage, bias.bytes, "param", -1, None))
        self.biases[weight.name] = bias
        return bias

    # -- what they need -----------------------------------------------------------------------------------------------

    def _gone(self) -> set[str]:
        """Parameters and buffers that were read by folded batch norms alone, and the counters beside them."""
        readers: dict[str, set[str]] = {}
        modules: dict[str, set[str]] = {}
        for op in self.graph:
            modules.setdefault(op.module, set()).add(op.name)
            for name in op.params:
                readers.setdefault(name, set()).add(op.name)
        found = set()
        for each in self.graph.parameters:
            # A buffer that nobody reads (the counter of batches) goes when all of its module has gone.
            users = readers.get(each.name) or modules.get(each.module, set()) - self.plan.unread
            if users and users <= self.folded and (each.name in readers or each.role == "buffer"):
                found.add(each.name)
        return found

    def _parameters(self, gone: set[str]) -> list[Parameter]:
        """Those that are left, a new bias behind its weight."""
        left = []
        for each in self.graph.parameters:
            left += [] if each.name in gone else [each]
            left += [self.biases[each.name]] if each.name in self.biases else []
        return left

    def _calls(self, ops: list[Op]) -> tuple[list[Call], dict[int, int]]:
        """Calls in which an operator is left, with those around them; types tell what was taken in."""
        calls = self.graph.calls
        types = {number: call.type for number, call in enumerate(calls)}
        alive = {0}
        for op in ops:
            for name in self.plan.kernels.get(op.name, ()) if calls[op.call].leaf else ():
                taken = self.graph[name]
                if taken.view or taken.kind == "_unsafe_view":
                    continue
                whole = calls[taken.call].leaf and taken.call not in (0, op.call)
                types[op.call] += "+" + (calls[taken.call].type if whole else taken.kind.rstrip("_"))
            number = op.call
            while number > 0:
                alive.add(number)
                number = calls[number].parent
        new = {number: i for i, number in enumerate(sorted(alive))}
        return [calls[n]._replace(type=types[n], parent=new.get(calls[n].parent, -1)) for n in sorted(alive)], new

    def _storages(
        self, kept: list[Op], ops: list[Op], parameters: list[Parameter]
    ) -> tuple[dict[int, int], tuple[Storage, ...]]:
        """The memory that is still used, numbered anew, alive between the operators that are left."""
        values = [value for op in ops for value in (*op.inputs, *op.outputs)]
        values = [self.renamed.get(value.name, value) for value in (*values, *self.graph.inputs, *self.graph.outputs)]
        used = sorted({value.storage for value in values} | {each.storage for each in parameters})
        numbers = {old: new for new, old in enumerate(used)}
        at = {op.name: i for i, op in enumerate(kept)}
        # How many operators are left of those before each one: that is where memory freed before it is freed now.
        left_before = [0]
        for op in self.graph:
            left_before.append(left_before[-1] + (op.name in at))

        def moved(storage: Storage) -> Storage:
            born: Any = storage.born
            if born >= 0:
                name = self.graph.ops[born].name
                born = at[self.into.get(name, name)]
            dies = storage.dies if storage.dies is None else left_before[storage.dies]
            return storage._replace(id=numbers[storage.id], born=born, dies=dies)

        return numbers, tuple(moved(self.storages[old]) for old in used)
