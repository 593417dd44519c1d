"""What other counters say, and that the difference is taken apart to the last MAC."""

from __future__ import annotations

import dataclasses
import logging
import random
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import cnnscope
from cnnscope.counters import crosscheck

TORCH, FVCORE, NUMEL = "torch.utils.flop_counter", "fvcore", "sum(p.numel())"


class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, groups=1, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4, 10)
        self.unused = nn.Linear(7, 5)

    def forward(self, x):
        return self.fc(self.pool(self.up(F.relu(self.norm(self.conv(x))))).flatten(1))


class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(8, 24)
        self.norm = nn.LayerNorm(8)

    def forward(self, x, *, scale=None, residual=True):
        q, k, v = self.project(self.norm(x)).unflatten(-1, (2, 12)).transpose(1, 2).chunk(3, -1)
        y = F.scaled_dot_product_attention(q, k, v).flatten(-2)
        y = torch.einsum("bhi,bhj->bij", y, y) if scale is None else y * scale
        return {"y": [y], "x": x if residual else None}


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(4, 5, 2)
        self.pair = nn.Bilinear(5, 5, 3)

    def forward(self, x):
        y, _ = self.rnn(x)
        return torch.mv(self.pair(y, y).flatten(0, 1), torch.ones(3, device=x.device))


runs = 0


class Forgetful(nn.Module):
    """Does one product more each time that any copy of it runs."""

    def forward(self, x):
        global runs
        runs += 1
        for _ in range(runs):
            x = x @ x
        return x


class Deciding(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("times", torch.tensor(3))
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        for _ in range(int(self.times)):
            x = self.fc(x)
        return x


EXAMPLES = {
    "convolutional": (Convolutional, (2, 3, 8, 8), {}),
    "attentive": (Attentive, (2, 6, 8), {}),
    "attentive, with keywords": (Attentive, (2, 6, 8), {"scale": torch.ones(2, 2, 24), "residual": False}),
    "recurrent": (Recurrent, (3, 2, 4), {}),
    "without parameters": (nn.Identity, (2, 3), {}),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_ours_plus_what_it_adds_minus_what_it_leaves_out_is_theirs(name):
    make, shape, kwargs = EXAMPLES[name]
    model = make()
    opinions = crosscheck(model, shape, kwargs=kwargs)
    assert list(opinions) == ["cnnscope", TORCH, FVCORE, NUMEL]
    ours = opinions["cnnscope"]
    graph = cnnscope.trace(model, shape, kwargs=kwargs)
    assert (ours.macs, ours.params) == (cnnscope.cost(graph).total.macs, cnnscope.params(graph).total.params)
    for opinion in opinions.values():
        assert opinion.failure is None
        assert opinion.unexplained in (None, 0)
        if opinion.macs is not None and opinion.name != "cnnscope":
            assert opinion.difference == opinion.macs - ours.macs
    assert opinions[FVCORE].params_difference == opinions[NUMEL].params_difference == 0


def test_amounts_and_names_of_what_a_counter_adds():
    opinions = crosscheck(Convolutional(), (1, 3, 8, 8))
    macs = 8 * 64 * 27 + 8 * 64 * 4 * 4 + 4 * 10
    assert opinions["cnnscope"].macs == opinions[TORCH].macs == macs
    assert opinions[TORCH].total == 2 * macs
    fvcore = opinions[FVCORE]
    assert fvcore.adds == "batch_norm 1.024 k, adaptive_avg_pool2d 1.024 k"
    assert fvcore.difference == 2048
    assert fvcore.percent == pytest.approx(100 * 2048 / macs)
    assert fvcore.leaves_out == "never called: unused"


def test_products_that_a_counter_has_no_formula_for():
    opinions = crosscheck(Recurrent(), (3, 2, 4))
    assert opinions[TORCH].leaves_out.startswith("_trilinear 900, mv 18; all but convolution")
    assert opinions[FVCORE].leaves_out == "lstm 2.280 k, bilinear 900, mv 18"
    assert opinions[FVCORE].adds is None
    attention = crosscheck(Attentive(), (2, 6, 8))[FVCORE]
    assert attention.leaves_out.startswith("scaled_dot_product_attention 1.152 k; no rule for")


def test_what_torch_leaves_out_is_named_with_our_flops():
    text = crosscheck(Convolutional(), (1, 3, 8, 8))[TORCH].leaves_out
    assert text == (
        "all but convolution, matrix product and attention (FLOPs: additions after products 1.546 k, mean 1.028 k, "
        "native_batch_norm 1.024 k, 1 more 512); parameters"
    )


def test_operators_that_we_do_not_know_stand_in_our_own_row():
    class Unknown(nn.Module):
        def forward(self, x):
            return torch.linalg.qr(x).Q @ x

    opinions = crosscheck(Unknown(), (4, 4))
    assert opinions.missing == {"linalg_qr": 1}
    assert opinions["cnnscope"].leaves_out == "no rule for linalg_qr ×1"


def test_a_counter_that_fails_says_why_and_the_others_answer():
    opinions = crosscheck(Deciding(), (2, 4))
    assert opinions["cnnscope"].macs == 3 * 2 * 16
    for name in (TORCH, FVCORE):
        assert opinions[name].failure == "did not run: RuntimeError: Tensor.item() cannot be called on meta tensors"
        assert opinions[name].macs is opinions[name].difference is opinions[name].unexplained is None
    assert opinions[NUMEL].params == 20
    assert torch._C._get_tracing_state() is None


def test_what_does_not_agree_without_a_reason_is_unexplained():
    global runs
    runs = 0
    opinions = crosscheck(Forgetful(), (4, 4))
    assert opinions["cnnscope"].macs == 64
    assert (opinions[FVCORE].macs, opinions[FVCORE].unexplained, opinions[FVCORE].adds) == (3 * 64, 2 * 64, None)


def test_a_graph_at_hand_is_not_traced_again():
    global runs
    runs = 0
    graph = cnnscope.trace(Forgetful(), (4, 4))
    assert runs == 1
    crosscheck(Forgetful(), (4, 4), graph=graph)
    assert runs == 3


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_model_is_left_as_found(device):
    model = Convolutional().to(device).train()
    model.norm.eval()
    tensors = {name: (id(t), t._version) for name, t in (*model.named_parameters(), *model.named_buffers())}
    values = {name: t.clone() for name, t in model.state_dict().items()}
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), set(m.__dict__)) for m in model.modules()]
    modes = [m.training for m in model.modules()]
    torch_state, python_state = torch.get_rng_state(), random.getstate()
    crosscheck(model, (2, 3, 8, 8))
    assert tensors == {n: (id(t), t._version) for n, t in (*model.named_parameters(), *model.named_buffers())}
    assert device == "meta" or all(torch.equal(values[name], t) for name, t in model.state_dict().items())
    assert hooks == [(len(m._forward_hooks), len(m._forward_pre_hooks), set(m.__dict__)) for m in model.modules()]
    assert modes == [m.training for m in model.modules()]
    assert torch.equal(torch_state, torch.get_rng_state()) and python_state == random.getstate()


def test_nothing_is_printed_logged_or_warned(capfd, caplog):
    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG):
        warnings.simplefilter("error")
        crosscheck(Attentive(), (2, 6, 8))
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.name.startswith("fvcore")] == []


@pytest.mark.parametrize("name", ["convolutional", "attentive", "recurrent"])
def test_fvcore_says_on_meta_what_it_says_on_the_cpu(name):
    """The jit trace that we make possible on meta is the one that fvcore's users get."""
    fvcore_nn = pytest.importorskip("fvcore.nn")
    make, shape, kwargs = EXAMPLES[name]
    model = make().eval()
    with torch.no_grad():
        analysis = fvcore_nn.FlopCountAnalysis(model, torch.ones(shape))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        assert crosscheck(model, shape, kwargs=kwargs)[FVCORE].total == round(analysis.total())


def test_a_row_is_data():
    row = crosscheck(Convolutional(), (1, 3, 8, 8))[FVCORE]
    with pytest.raises(dataclasses.FrozenInstanceError):
        row.macs = 0  # type: ignore[misc]
    assert crosscheck(Convolutional(), (1, 3, 8, 8)).to_dict()["rows"][2]["difference"] == 2048
