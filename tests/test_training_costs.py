"""What a training step costs: products against torch's own counter, other arithmetic by hand, nothing unknown."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from step_counts import macs
from test_training import MODELS
from torch import nn

import cnnscope
from cnnscope.targets import load


class Learned(nn.Module):
    """A function of one parameter of the given shape, so that each gradient is asked for."""

    def __init__(self, function: Any, shape: tuple[int, ...] = (2, 3, 8, 8)) -> None:
        super().__init__()
        self.x, self.function = nn.Parameter(torch.rand(shape)), function

    def forward(self) -> torch.Tensor:
        return self.function(self.x)


def phases(graph: cnnscope.ModelGraph) -> tuple[int, int]:
    """Multiply-adds of the forward and of the backward pass."""
    table = cnnscope.cost(graph)
    assert table.missing == {}
    count = {"forward": 0, "backward": 0, "optimizer": 0}
    for op in graph:
        count[op.phase] += table[op.name].macs
    assert count.pop("optimizer") == 0
    return count["forward"], count["backward"]


# -- products, against torch's own counter ----------------------------------------------------------------------------


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.kv = nn.Linear(8, 8), nn.Linear(8, 16)

    def forward(self, x):
        return attention(self.q(x), *self.kv(x).chunk(2, -1))


def frozen_first() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.Conv2d(5, 6, 1))
    model[0].requires_grad_(False)
    model[2].weight.requires_grad_(False)
    return model


PRODUCTS = {
    "first": (lambda: nn.Conv2d(3, 5, 3, stride=2), (2, 3, 9, 9)),
    "second": (lambda: nn.Sequential(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 7, (1, 3), padding=2, dilation=2)), (2, 3, 9, 9)),
    "groups": (lambda: nn.Sequential(nn.Conv2d(4, 6, 3), nn.Conv2d(6, 9, 3, groups=3, stride=2)), (2, 4, 9, 9)),
    "depthwise": (lambda: nn.Sequential(nn.Conv1d(4, 6, 3), nn.Conv1d(6, 12, 3, groups=6)), (2, 4, 9)),
    "volumes": (lambda: nn.Sequential(nn.Conv3d(2, 3, 2), nn.Conv3d(3, 2, 2)), (1, 2, 4, 5, 6)),
    "transposed": (lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 6, 3, 2)), (2, 3, 5, 6)),
    "linear": (lambda: nn.Sequential(nn.Linear(7, 5), nn.Linear(5, 3, bias=False)), (2, 3, 7)),
    "frozen": (frozen_first, (2, 3, 9, 9)),
    "attention": (Attention, (2, 2, 5, 8)),
    "lstm": (lambda: nn.LSTM(5, 6, num_layers=2, bidirectional=True), (4, 2, 5)),
    "gru": (lambda: nn.GRU(5, 6), (4, 2, 5)),
    "bilinear": (lambda: Learned(lambda x: F.linear(x, x[0, 0]) @ x.transpose(2, 3)), ()),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_of_both_passes_equal_torchs_own_counter(name):
    make, shape = PRODUCTS[name]
    graph = cnnscope.trace(make().train(), shape or None, train=True)
    device = "cpu" if name == "attention" else "meta"
    inputs = [torch.zeros(shape, device=device)] if shape else []
    assert phases(graph) == macs(make().to(device).train(), *inputs)


@pytest.mark.parametrize("name", ["transformer", "odd", "tied", "unet", "resnet18", "googlenet"])
def test_whole_networks_equal_it_too(name):
    make, shape = MODELS[name]
    model = make().train()
    assert phases(cnnscope.trace(model, shape, train=True)) == macs(model.to("meta"), torch.empty(shape, device="meta"))


ALEXNETS = {"torchvision:alexnet": 1.9016, "alexnet": 1.9071, "alexnet_grouped": 1.8545}
NETWORKS = (*ALEXNETS, "torchvision:squeezenet1_1", "torchvision:regnet_y_400mf", "se_resnet18", "densenet40_k12")


@pytest.mark.parametrize("name", NETWORKS)
def test_the_backward_pass_is_counted_and_not_twice_the_forward(name):
    """The input has no gradient: torchvision's AlexNet takes 1.90 times its forward, that of the paper 1.85, not 2."""
    target = load(name)
    shape = (2, *target.default_input[0][1:])
    graph = cnnscope.trace(target.model.train(), shape, train=True, optimizer="adam")
    forward, backward = phases(graph)
    first = next(op for op in graph if op.kind == "convolution")
    assert backward == 2 * forward - cnnscope.cost(graph)[first.name].macs
    assert (forward, backward) == macs(target.model.to("meta"), torch.empty(shape, device="meta"))
    assert backward / forward == pytest.approx(ALEXNETS.get(name, backward / forward), abs=5e-5)


# -- other arithmetic, by hand ----------------------------------------------------------------------------------------

N = 2 * 3 * 8 * 8


def gradient_work(function: Any, kind: str) -> tuple[int | None, ...]:
    """FLOPs, bytes read and written of the one operator of a kind; the gradient that comes in has its own memory."""
    graph = cnnscope.trace(Learned(lambda x: function(x) * x.new_ones(())), train=True)
    (found,) = (row for row in cnnscope.cost(graph).values() if row.kind == kind)
    assert cnnscope.cost(graph).missing == {} and found.macs == 0
    return found.flops, found.bytes_read, found.bytes_written


@pytest.mark.parametrize(
    ("function", "kind", "work"),
    [
        (F.relu, "threshold_backward", (N, 8 * N, 4 * N)),
        (F.relu6, "hardtanh_backward", (N, 8 * N, 4 * N)),
        (F.silu, "silu_backward", (2 * N, 8 * N, 4 * N)),
        (torch.sigmoid, "sigmoid_backward", (3 * N, 8 * N, 4 * N)),
        (lambda x: x.softmax(1), "_softmax_backward_data", (4 * N, 8 * N, 4 * N)),
        # A gradient goes to one place of a window, whose index is an int64; or to all four, divided once.
        (lambda x: F.max_pool2d(x, 2), "max_pool2d_with_indices_backward", (N // 4, 3 * N, 4 * N)),
        (lambda x: F.avg_pool2d(x, 2), "avg_pool2d_backward", (5 * N // 4, N, 4 * N)),
        # 8 -> 3: windows of 3, 4 and 3 elements in each direction.
        (lambda x: F.adaptive_avg_pool2d(x, 3), "_adaptive_avg_pool2d_backward", (6 * (100 + 9), 6 * 9 * 4, 4 * N)),
        (lambda x: F.interpolate(x, scale_factor=2), "upsample_nearest2d_backward", (4 * N, 16 * N, 4 * N)),
        (
            lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
            "upsample_bilinear2d_backward",
            (8 * 4 * N, 16 * N, 4 * N),
        ),
        (lambda x: F.pad(x, (1, 1, 1, 1), "reflect"), "reflection_pad2d_backward", (600, 2400, 4 * N)),
        (lambda x: x[:, 1:], "slice_backward", (0, 8 * N // 3, 4 * N)),
        (lambda x: F.layer_norm(x, (8,)), "native_layer_norm_backward", (9 * N, 8 * N + 8 * 48, 4 * N)),
        (lambda x: F.glu(x, -1), "glu_backward", (3 * N, 6 * N, 4 * N)),
    ],
)
def test_arithmetic_and_bytes_of_a_gradient(function, kind, work):
    assert gradient_work(function, kind) == work


@pytest.mark.parametrize(
    ("norm", "kind", "flops"),
    [
        (nn.BatchNorm2d(3), "native_batch_norm_backward", 8 * N),
        (nn.BatchNorm2d(3).eval(), "native_batch_norm_backward", 5 * N),
        (nn.BatchNorm2d(3, affine=False), "native_batch_norm_backward", 8 * N),
        (nn.GroupNorm(1, 3), "native_group_norm_backward", 13 * N),
        (nn.LayerNorm(8), "native_layer_norm_backward", 13 * N),
    ],
)
def test_gradients_of_normalisations(norm, kind, flops):
    net = nn.Sequential(nn.Conv2d(3, 3, 1), norm)
    graph = cnnscope.trace(net, (2, 3, 8, 8), train=True)
    assert [row.flops for row in cnnscope.cost(graph).values() if row.kind == kind] == [flops]


def test_what_is_not_asked_for_costs_nothing():
    graph = cnnscope.trace(nn.Conv2d(3, 5, 3), (2, 3, 8, 8), train=True)
    (row,) = (row for row in cnnscope.cost(graph).values() if row.kind == "convolution_backward")
    grad, weight, bias = 2 * 5 * 36, 5 * 27, 5
    assert row.flops == 2 * grad * 27 + grad
    # The gradient of a sum is one number, expanded; the weight is not read.
    assert (row.bytes_read, row.bytes_written) == (4 + 4 * N, 4 * (weight + bias))


def step_flops(optimizer: Any, foreach: bool) -> int:
    graph = cnnscope.trace(nn.Linear(30, 40), (2, 30), train=True, optimizer=optimizer, foreach=foreach)
    rows = [row for op, row in zip(graph, cnnscope.cost(graph).values(), strict=True) if op.phase == "optimizer"]
    assert rows and not any(row.missing for row in rows)
    # Step counters are single numbers; parameters have 1,240.
    return sum(row.flops for row in rows) // 1240


@pytest.mark.parametrize(
    ("optimizer", "flops"),
    [
        ("sgd", 2),
        ("sgd-momentum", 4),
        ("adam", 13),
        ("adamw", 14),
        ("adagrad", 7),
        ("rmsprop", 9),
        (torch.optim.NAdam, 16),
        (torch.optim.Adamax, 10),
        (torch.optim.Adadelta, 16),
        (lambda params: torch.optim.AdamW(params, amsgrad=True), 15),
        (lambda params: torch.optim.SGD(params, momentum=0.9, nesterov=True, weight_decay=0.1, dampening=0), 8),
    ],
)
def test_an_optimizer_costs_the_same_with_and_without_lists(optimizer, flops):
    assert step_flops(optimizer, False) == step_flops(optimizer, True) == flops


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("optimizer", [torch.optim.RAdam, torch.optim.Rprop])
def test_other_optimizers_are_counted_too(optimizer, foreach):
    assert step_flops(optimizer, foreach) > 0


# -- nothing unknown --------------------------------------------------------------------------------------------------


def modules_without_arguments(namespace: Any) -> list[type[nn.Module]]:
    """The layers that need no arguments: activations, losses."""
    found = [value for name, value in vars(namespace).items() if name in namespace.__all__]
    plain = []
    for cls in found:
        parameters = inspect.signature(cls).parameters.values()
        if all(each.default is not each.empty or each.kind is each.VAR_KEYWORD for each in parameters):
            plain.append(cls)
    return plain


@pytest.mark.parametrize("cls", modules_without_arguments(nn.modules.activation), ids=lambda cls: cls.__name__)
def test_every_activation_has_a_gradient_that_is_known(cls):
    graph = cnnscope.trace(nn.Sequential(nn.Conv2d(3, 4, 1), cls()), (2, 3, 8, 8), train=True, optimizer="sgd")
    assert cnnscope.cost(graph).missing == {}


class Loss(nn.Module):
    """A loss that makes its target itself, of the kind that it takes."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.net, self.loss = nn.Linear(5, 6), loss

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, name = self.net(x).sigmoid(), type(self.loss).__name__
        if name in ("CrossEntropyLoss", "NLLLoss", "NLLLoss2d", "MultiMarginLoss"):
            return self.loss(y, y.argmax(1))
        if name in ("CosineEmbeddingLoss", "MarginRankingLoss"):
            return self.loss(y, 1 - y, y[:, 0] if name == "CosineEmbeddingLoss" else y)
        if name == "CTCLoss":
            lengths = torch.ones(4, dtype=torch.long)
            return self.loss(y[None].expand(5, 4, 6).log(), lengths[:, None], 5 * lengths, lengths)
        if name in ("GaussianNLLLoss", "TripletMarginLoss", "TripletMarginWithDistanceLoss"):
            return self.loss(y, 1 - y, y * y)
        return self.loss(y, y.detach().long() if name == "MultiLabelMarginLoss" else y.detach())


# They have no meta kernel, or ask for numbers.
NEEDING_DATA = {nn.CTCLoss, nn.GaussianNLLLoss, nn.MultiMarginLoss, nn.MultiLabelMarginLoss}


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("cls", modules_without_arguments(nn.modules.loss), ids=lambda cls: cls.__name__)
def test_every_loss_is_known(cls, reduction):
    where = "cpu" if cls in NEEDING_DATA else "meta"
    graph = cnnscope.trace(Loss(cls(reduction=reduction)), (4, 5), train=True, device_trace=where)
    assert cnnscope.cost(graph).missing == {}


OTHERS = {
    "pad": lambda x: F.pad(x, (1, 1, 1, 1), "replicate"),
    "circular": lambda x: F.pad(x, (1, 1, 1, 1), "circular"),
    "nearest": lambda x: F.interpolate(x, size=(5, 7), mode="nearest-exact"),
    "bicubic": lambda x: F.interpolate(x, size=(5, 7), mode="bicubic"),
    "antialias": lambda x: F.interpolate(x, size=(5, 7), mode="bilinear", antialias=True),
    "adaptive max": lambda x: F.adaptive_max_pool2d(x, 3),
    "fold": lambda x: F.fold(F.unfold(x, 3), (8, 8), 3),
    "unfold": lambda x: x.unfold(2, 3, 1),
    "sample": lambda x: F.grid_sample(x, F.affine_grid(x[:, 0, :2, :3], [2, 3, 4, 4], False), align_corners=False),
    "index": lambda x: x[:, torch.tensor([0, 0, 2])],
    "gather": lambda x: x.gather(1, torch.zeros(2, 1, 8, 8, dtype=torch.long, device=x.device)),
    "scatter": lambda x: x.scatter_add(1, torch.zeros(2, 3, 8, 8, dtype=torch.long, device=x.device), x),
    "cumulative": lambda x: x.cumsum(1) + x.cumprod(2) + x.logcumsumexp(3),
    "extremes": lambda x: x.amax(1) + x.max(1)[0] + x.sort(1)[0][:, 0] + x.topk(2, 1)[0].sum(1),
    "norms": lambda x: x.norm(dim=1) + F.normalize(x).std(1) + x.var(1) + x.logsumexp(1),
    "products": lambda x: x.prod(1) + (x.pow(2) / x.exp() * x.sin().rsqrt()).sum(1),
    "views": lambda x: x.diagonal(dim1=2, dim2=3).flip(1).roll(1, 0) + x[..., 0].expand(2, 3, 8),
    "triangle": lambda x: x.tril() + x.repeat(1, 2, 1, 1)[:, 3:] + torch.where(x > 0, x, x.clamp(0, 1)),
    "distances": lambda x: torch.cdist(x[0], x[1]),
    "weight norm": lambda x: torch._weight_norm(x, x[:, :1, :1, :1], 0),
    "instance": lambda x: F.instance_norm(x) + F.local_response_norm(x, 2) + F.rms_norm(x, (8,)),
    "fourier": lambda x: torch.fft.irfft2(torch.fft.rfft2(x)),
    "einsum": lambda x: torch.einsum("bchw,bcwk->bhk", x, x),
    "dropout": lambda x: F.dropout(F.feature_alpha_dropout(x, training=True)),
    "prelu": lambda x: F.prelu(x, x[0, :, 0, 0]),
    "shuffle": lambda x: F.pixel_shuffle(F.pixel_unshuffle(x, 2), 2),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_functions_have_gradients_that_are_known(name):
    assert cnnscope.cost(cnnscope.trace(Learned(OTHERS[name]), train=True)).missing == {}


@pytest.mark.parametrize("function", [F.embedding, F.embedding_bag])
def test_looking_something_up(function):
    def looked_up(weight: torch.Tensor) -> torch.Tensor:
        return function(torch.zeros(4, 6, dtype=torch.long, device=weight.device), weight)

    assert cnnscope.cost(cnnscope.trace(Learned(looked_up, (11, 5)), train=True)).missing == {}
