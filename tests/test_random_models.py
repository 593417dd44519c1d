"""Random networks, traced without data, against the same networks run for real."""

from __future__ import annotations

import pytest
import step_counts
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_models import RandomNet, recipes
from real_steps import LiveBytes, real_step
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

import cnnscope
from cnnscope.analyses.liveness import timeline
from cnnscope.errors import CnnscopeError

EXAMPLES = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def predicted_events(graph: cnnscope.ModelGraph) -> list[int]:
    """The same series from the graph: what is alive when each operator has just returned."""
    line = timeline(graph)
    given = [line.kinds[kind] for kind in ("param", "buffer", "input") if kind in line.kinds]
    before_run = map(sum, zip(*given, strict=True))
    return [live - before for live, before in zip(line.total, before_run, strict=True)]


pytestmark = pytest.mark.usefixtures("single_thread")


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


@settings(EXAMPLES, max_examples=60)
@given(
    recipes(),
    st.sampled_from([None, "sgd", "sgd-momentum", "adam"]),
    st.booleans(),
    st.sampled_from(["before-forward", "before-backward", "after-step"]),
    st.integers(1, 2),
    st.booleans(),
)
def test_a_training_step_equals_the_real_one(recipe, optimizer, foreach, zero_grad, accumulate, set_to_none):
    model = RandomNet(recipe).train()
    assume(any(param.requires_grad for param in model.parameters()))
    options = {"zero_grad": zero_grad, "accumulate": accumulate, "set_to_none": set_to_none, "foreach": foreach}
    try:
        tracker = real_step(model, torch.rand(model.shape), optimizer, **options)
    except (RuntimeError, ValueError, TypeError):  # an in-place step on what autograd saved, a norm of one value
        tracker = None
    if tracker is None:
        with pytest.raises(CnnscopeError):
            cnnscope.trace(model, model.shape, train=True, optimizer=optimizer, **options)
        return
    graph = cnnscope.trace(model, model.shape, train=True, optimizer=optimizer, **options)
    assert [op.kind for op in graph] == tracker.kinds
    assert predicted_events(graph) == tracker.events
    costs = cnnscope.cost(graph)
    assert costs.missing == {}
    assert costs.total.macs == accumulate * sum(step_counts.macs(model, torch.rand(model.shape)))
