"""Random networks, traced without data, against the same networks run for real."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from random_models import RandomNet, recipes
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import cnnscope

EXAMPLES = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class LiveBytes(TorchDispatchMode):
    """Bytes alive after every operator of a real run, by the real tensors' storages."""

    def __init__(self, given: list[torch.Tensor]) -> None:
        super().__init__()
        self.live = 0
        self.events: list[int] = []
        self._seen = {tensor.untyped_storage()._cdata for tensor in given}
        self._watches: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in pytree.tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._watch(tensor.untyped_storage())
        self.events.append(self.live)
        return result

    def _watch(self, storage: torch.UntypedStorage) -> None:
        address, size = storage._cdata, storage.nbytes()
        if address in self._seen:
            return
        self._seen.add(address)
        self.live += size

        def gone(_: Any) -> None:
            self.live -= size
            self._seen.discard(address)

        self._watches.append(weakref.ref(storage, gone))


def predicted_events(graph: cnnscope.ModelGraph) -> list[int]:
    """The same series from the graph: what is alive when each operator has just returned."""
    born = [storage for storage in graph.storages if storage.kind == "activation"]
    return [sum(s.bytes for s in born if s.born <= i and (s.dies is None or s.dies > i)) for i in range(len(graph))]


@pytest.fixture(scope="module", autouse=True)
def single_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@EXAMPLES
@given(recipes())
def test_a_trace_equals_the_real_run(recipe):
    model = RandomNet(recipe).eval()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    graph = cnnscope.trace(model, model.shape)

    x = torch.rand(model.shape)
    tracker = LiveBytes([x, *model.parameters(), *model.buffers()])
    with torch.no_grad(), tracker:
        result = model(x)
    with torch.no_grad(), FlopCounterMode(display=False) as flops:
        model(x)

    real = [tensor for tensor in pytree.tree_leaves(result) if isinstance(tensor, torch.Tensor)]
    assert [value.shape for value in graph.outputs] == [tuple(tensor.shape) for tensor in real]
    assert [value.dtype for value in graph.outputs] == [str(tensor.dtype).removeprefix("torch.") for tensor in real]
    total = cnnscope.layers(graph).total
    assert total.params == sum(p.numel() for p in model.parameters())
    assert not total.missing
    assert 2 * total.macs == flops.get_total_flops() == 2 * cnnscope.cost(graph).total.macs
    assert predicted_events(graph) == tracker.events
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name])
