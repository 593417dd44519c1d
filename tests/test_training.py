"""The trace of a training step, against the same step run for real."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from real_steps import real_step, weighted
from test_random_models import predicted_events
from torch import nn
from torch.utils.checkpoint import checkpoint

import cnnscope
from cnnscope.errors import UntraceableModel, UnusableInput


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 1))
            for _ in range(3)
        )
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = x + checkpoint(block, x, use_reentrant=self.reentrant)
        return self.head(x.mean((2, 3)))


class Exponential(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0]


class Odd(nn.Module):
    """A custom function, views, an in-place operator, a parameter that nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.unused = nn.Linear(3, 3)

    def forward(self, x):
        y = Exponential.apply(self.first(x))
        return y[:, :4] * y[:, 4:] + (y[:, 4:] + 1).relu_()


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 6)
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.words.weight

    def forward(self, x):
        return self.head(self.words(x.long().clamp(0, 10)))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.deep = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.up, self.out = nn.ConvTranspose2d(16, 8, 2, 2), nn.Conv2d(16, 2, 1)

    def forward(self, x):
        skip = self.down(x).relu()
        deep = self.deep(F.max_pool2d(skip, 2)).relu()
        return {"mask": self.out(torch.cat([skip, self.up(deep)], 1)), "deep": deep}


MODELS = {
    "checkpoint": (lambda: Checkpointed(False), (2, 3, 16, 16)),
    "reentrant checkpoint": (lambda: Checkpointed(True), (2, 3, 16, 16)),
    "transformer": (
        lambda: nn.Sequential(nn.Linear(16, 32), nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)),
        (2, 10, 16),
    ),
    "odd": (Odd, (4, 8)),
    "tied": (Tied, (2, 5)),
    "unet": (UNet, (2, 3, 16, 16)),
    "resnet18": (lambda: weighted(cnnscope.build("resnet18")), (2, 3, 64, 64)),
    "googlenet": (lambda: weighted(cnnscope.build("googlenet_aux")), (2, 3, 224, 224)),
}


def same_as_real(model: nn.Module, shape: tuple[int, ...], optimizer: str | None, **options) -> cnnscope.ModelGraph:
    tracker = real_step(model, torch.rand(shape), optimizer, **options)
    graph = cnnscope.trace(model, shape, train=True, optimizer=optimizer, **options)
    assert [op.kind for op in graph] == tracker.kinds
    assert predicted_events(graph) == tracker.events
    return graph


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("name", MODELS)
def test_bytes_are_those_of_the_real_step_after_every_operator(name, optimizer):
    build, shape = MODELS[name]
    same_as_real(build().train(), shape, optimizer, foreach=optimizer == "adamw")


@pytest.mark.parametrize(
    "options",
    [
        {"zero_grad": "before-backward"},
        {"zero_grad": "after-step"},
        {"accumulate": 3},
        {"set_to_none": False},
        {"step": "first"},
        {"foreach": True, "step": "first"},
    ],
    ids=str,
)
@pytest.mark.parametrize("optimizer", ["sgd-momentum", "adam", "rmsprop", "adagrad"])
def test_every_form_of_the_step(optimizer, options):
    same_as_real(UNet(), (2, 3, 16, 16), optimizer, **options)


@pytest.mark.parametrize("step", ["first", "steady"])
@pytest.mark.parametrize("optimizer", [None, "adam"])
def test_an_input_may_ask_for_its_gradient(optimizer, step):
    model = weighted(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).to("meta"))
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    graph = cnnscope.trace(model, x, train=True, optimizer=optimizer, step=step)
    real = real_step(model, x, optimizer, step=step)
    assert predicted_events(graph) == real.events and [op.kind for op in graph] == real.kinds
    without = cnnscope.trace(model, x.detach(), train=True, optimizer=optimizer, step=step)
    more = cnnscope.cost(graph).total.macs - cnnscope.cost(without).total.macs
    assert more == graph.ops[0].outputs[0].numel * 27, "the gradient of the first convolution's input"


def test_backward_operators_belong_to_the_modules_whose_forward_made_them():
    graph = cnnscope.trace(weighted(cnnscope.build("resnet18")), (2, 3, 64, 64), train=True, optimizer="sgd")
    forward = [op for op in graph if op.kind == "convolution"]
    backward = [op for op in graph if op.kind == "convolution_backward"]
    assert sorted(op.module for op in backward) == sorted(op.module for op in forward)
    assert {op.module for op in graph if op.phase == "optimizer"} == {"optimizer"}
    assert [graph.calls[op.call].module for op in graph] == [op.module for op in graph]
    assert all(op.params and op.params[0].startswith(op.module) for op in backward)


def test_kinds_of_memory():
    graph = cnnscope.trace(UNet(), (2, 3, 16, 16), train=True, optimizer="adam")
    total = {}
    for storage in graph.storages:
        total.setdefault(storage.kind, []).append(storage)
    weights = sum(storage.bytes for storage in total["param"])
    # Those of the step before and those of this one, each as large as the parameters.
    assert sum(s.bytes for s in total["gradient"] if s.dies is None) == weights
    moments = [s for s in total["optimizer"] if not s.host]
    assert sum(s.bytes for s in moments) == 2 * weights and all(s.born < 0 for s in moments)
    assert all(storage.savers for storage in total["saved"])
    assert all(graph.ops[s.born].phase == "forward" for s in total["saved"] + total["activation"])
    assert all(graph.ops[s.born].phase != "forward" for s in total["temporary"])
    saver = next(s for s in total["saved"] if s.savers[0].startswith("out.convolution:"))
    assert saver.savers == ("out.convolution:input",)


def test_the_model_and_its_optimizer_are_left_as_found():
    model = weighted(cnnscope.build("resnet18")).eval()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.3)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(3)
    seed = torch.get_rng_state()
    graph = cnnscope.trace(model, (2, 3, 64, 64), train=True, optimizer=optimizer)
    assert graph.train and graph.run.optimizer == "AdamW"
    assert not model.training and not any(module.training for module in model.modules())
    assert all(param.grad is None for param in model.parameters()) and not optimizer.state
    assert torch.equal(torch.get_rng_state(), seed)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert torch.is_grad_enabled()


def test_modes_are_the_users():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    model[1].eval()  # a frozen norm
    graph = cnnscope.trace(model, (2, 3, 8, 8), train=True)
    assert [op.attrs["training"] for op in graph if op.kind == "native_batch_norm"] == [False]
    graph = cnnscope.trace(model.eval(), (2, 3, 8, 8), train=True)
    assert [op.attrs["training"] for op in graph if op.kind == "native_batch_norm"] == [True]


def test_a_loss_of_ones_own():
    target = torch.zeros(4, dtype=torch.int64, device="meta")
    graph = cnnscope.trace(nn.Linear(8, 3), (4, 8), train=True, loss=lambda y: F.cross_entropy(y, target))
    assert {"_log_softmax", "nll_loss_forward", "_log_softmax_backward_data"} <= {op.kind for op in graph}


class Integers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x):
        return self.layer(x).argmax(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "sdg"}, "'sdg' is no optimizer; one of sgd"),
        ({"optimizer": lambda params: 3}, "made a int, which is no torch.optim.Optimizer"),
        ({"optimizer": lambda: None}, "raised TypeError"),
        ({"optimizer": torch.optim.SGD([nn.Parameter(torch.ones(3))])}, "shape (3,) that is not the model's"),
        ({"optimizer": torch.optim.LBFGS}, "LBFGS.step() runs the model itself"),
        ({"zero_grad": "sometimes"}, "'sometimes' is no place in a step; one of before-forward"),
        ({"step": "last"}, "one of steady, first"),
        ({"accumulate": 0}, "accumulate=0"),
        ({"loss": lambda y: y}, "it has to return one number with a gradient"),
        ({"loss": lambda y: 3.0}, "the loss returned a float"),
    ],
)
def test_options_that_are_none(options, message):
    with pytest.raises(UnusableInput) as raised:
        cnnscope.trace(nn.Linear(4, 2), (3, 4), train=True, **options)
    assert message in str(raised.value) and len(str(raised.value).splitlines()) <= 3


def test_models_that_cannot_be_trained():
    with pytest.raises(UnusableInput, match="no gradient can start from the output of Integers: a int64 tensor"):
        cnnscope.trace(Integers(), (3, 4), train=True)
    with pytest.raises(UnusableInput, match="all its parameters are frozen"):
        cnnscope.trace(nn.Linear(4, 2).requires_grad_(False), (3, 4), train=True)
    with pytest.raises(UnusableInput, match="it has no parameters"):
        cnnscope.trace(nn.ReLU(), (3, 4), train=True)
    with pytest.raises(UntraceableModel, match="give a larger batch"):
        cnnscope.trace(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), (1, 3, 3, 3), train=True)
    with pytest.raises(UnusableInput, match="train=True"):
        cnnscope.trace(nn.Linear(4, 2), (3, 4), optimizer="sgd")
    in_place = nn.Sequential(nn.Linear(4, 4), nn.Sigmoid(), nn.ReLU(inplace=True))
    with pytest.raises(UntraceableModel, match="in the backward of Sequential"):
        cnnscope.trace(in_place, (3, 4), train=True)


def test_memory_of_our_own_process_stays_small():
    import resource

    model = cnnscope.build("densenet121")
    cnnscope.trace(model, (4, 3, 224, 224), train=True, optimizer="sgd-momentum", foreach=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    graph = cnnscope.trace(model, (64, 3, 224, 224), train=True, optimizer="sgd-momentum", foreach=True)
    assert cnnscope.memory(graph).total.peak > 7 * 2**30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024
