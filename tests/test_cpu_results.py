"""What meta kernels answer otherwise than those of the CPU, or not at all: each found by a random network."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from fuzzing.oracles import run_differences
from real_steps import LiveBytes, real_step
from torch import nn

import cnnscope
from cnnscope.errors import UntraceableModel


class Function(nn.Module):
    def __init__(self, function, *params):
        super().__init__()
        self.function = function
        self.params = nn.ParameterList(params)

    def forward(self, x):
        return self.function(x, *self.params)


def written(x):
    y = x * 2
    y[0] = 3
    y[..., :1] = 1.5
    y[0, 0, 0, 0] = 1
    y[x > 0.5] = 0
    return y


def last(x):
    return x.contiguous(memory_format=torch.channels_last)


def bag(x, mode, dtype=torch.float32):
    weight = torch.ones(6, 5, device=x.device, dtype=dtype)
    return F.embedding_bag(torch.zeros(3, 4, dtype=torch.int64, device=x.device), weight, mode=mode)


CASES = {
    "constant made where the model is": lambda x: (x * torch.tensor([2.0], device=x.device)).relu().exp(),
    "constant moved to the model": lambda x: (x + torch.arange(5.0).to(x.device)).exp(),
    "constant moved and viewed": lambda x: (x + torch.arange(20).to(x.device).view(4, 5)[None]).exp(),
    "constant of another type": lambda x: x + torch.arange(5).to(x),
    "constant let go of": lambda x: (x + torch.arange(5.0)).relu() + 1,
    "numbers written": written,
    "number chosen by a mask": lambda x: torch.where(x > 0, x, 0),
    "attention with a mask": lambda x: F.scaled_dot_product_attention(x, x, x, torch.ones(4, 4).bool().to(x.device)),
    "one hot": lambda x: F.one_hot(torch.zeros(3, dtype=torch.int64, device=x.device), 5),
    "unfold": lambda x: F.unfold(x, 2, stride=2),
    "unfold to more": lambda x: F.unfold(x, 3, padding=1),
    "fold": lambda x: F.fold(F.unfold(x, 2), (4, 5), 2),
    "channel shuffle": lambda x: F.channel_shuffle(x, 3),
    "channel shuffle, channels last": lambda x: F.channel_shuffle(last(x), 3),
    "channel shuffle, transposed": lambda x: F.channel_shuffle(x.mT, 3),
    "bag sum": lambda x: bag(x, "sum"),
    "bag sum of doubles": lambda x: bag(x, "sum", torch.float64),
    "bag mean": lambda x: bag(x, "mean"),
    "bag max": lambda x: bag(x, "max"),
    "adaptive pool": lambda x: F.adaptive_avg_pool2d(last(x), 3),
    "replication pad": lambda x: F.pad(last(x), (1, 2, 0, 1), "replicate"),
    "reflection pad": lambda x: F.pad(last(x), (1, 2, 0, 1), "reflect"),
    "power of a number": lambda x: 2 ** x.permute(1, 0, 3, 2),
    "roll of channels last": lambda x: (last(x).roll(1, 2), last(x).roll(5, 3), last(x).roll((1, 0), (2, 3)))[2],
    "roll of all": lambda x: last(x).roll(3),
    "part filled": lambda x: last(x).index_fill(1, torch.tensor([0], device=x.device), 2.0),
    "log sigmoid": lambda x: F.logsigmoid(last(x)),
    "random slope": lambda x: F.rrelu(last(x)),
    "whole division": lambda x: x // 2,
    "complex": lambda x: torch.complex(x, x).abs(),
    "batch norm of a part": lambda x: F.batch_norm(x[:, :, 1:], x.new_zeros(3), x.new_ones(3)),
    "nothing left": lambda x: x[:, :, :1].diff(dim=2),
}


@pytest.mark.parametrize("case", CASES)
def test_inference(case):
    net, x = Function(CASES[case]), torch.rand(2, 3, 4, 5)
    graph = cnnscope.trace(net, x)
    run = LiveBytes([x])
    with torch.no_grad(), run:
        result = net(x)
    assert not list(run_differences(graph, run))
    assert [value.shape for value in graph.outputs] == [result.shape]
    assert not cnnscope.cost(graph).missing and cnnscope.receptive_field(graph) is not None


TRAINED = {
    "mish": lambda x, w: F.mish(x * w),
    "layer norm of a transposed input": lambda x, w: F.layer_norm((x * w).mT, (4,)),
    "softmax of a transposed input": lambda x, w: (x * w).mT.softmax(-1) * x.mT,
    "log softmax of a transposed input": lambda x, w: (x * w).mT.log_softmax(1) * x.mT,
    "hardtanh of channels last": lambda x, w: F.hardtanh(last(x) * w),
    "gate of channels last": lambda x, w: F.glu(last(x[:, :2]) * w, 1),
    "clamp": lambda x, w: (x * w).clamp(-0.5, 0.5),
    "grid": lambda x, w: F.grid_sample(
        x, F.affine_grid(w * torch.eye(2, 3).expand(2, 2, 3).to(x.device), [2, 1, 1, 3])
    ),
    "weight norm in halves": lambda x, w: torch._weight_norm(x.half(), w.half().expand(2, 1, 1, 1).clone(), 0),
}


@pytest.mark.parametrize("case", TRAINED)
def test_training(case):
    net, x = Function(TRAINED[case], nn.Parameter(torch.ones(1))), torch.rand(2, 3, 4, 5)
    graph = cnnscope.trace(net, x, train=True, optimizer="sgd")
    assert not list(run_differences(graph, real_step(net.train(), x, "sgd")))


@pytest.mark.parametrize("write", [lambda y: y.add_(1), lambda y: y.relu_(), lambda y: y.copy_(y * 2)])
def test_writing_one_element_several_times_is_refused(write):
    net = Function(lambda x: write(x.expand(3, *x.shape)))
    x = torch.rand(2, 3)
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        net(x)
    with pytest.raises(UntraceableModel, match="more than one element of the written-to tensor"):
        cnnscope.trace(net, (2, 3))
    assert cnnscope.trace(Function(lambda x: write(x[None])), (2, 3)).outputs[0].shape == (1, 2, 3)


def test_one_number_may_be_written_several_times():
    net = Function(lambda x: x.expand(3, *x.shape).fill_(1))
    assert net(torch.rand(2, 3)).shape == cnnscope.trace(net, (2, 3)).outputs[0].shape


def test_other_channels_than_a_transposed_convolution_takes_are_refused():
    with pytest.raises(UntraceableModel, match="to have 4 channels, but got 3 channels"):
        cnnscope.trace(nn.ConvTranspose2d(4, 2, 3), (1, 3, 8, 8))
