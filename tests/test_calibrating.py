"""Calibration on the processor at hand: real kernels, real times, a file that the roofline then uses.

No test says how fast anything is: machines are shared.
"""

import dataclasses

import pytest
import torch

import cnnscope
from cnnscope.calibrating import Calibration, Timed, _reached, calibrate
from cnnscope.cli import main
from cnnscope.devices import Device, device
from cnnscope.efficiencies import KINDS, PRODUCTS
from cnnscope.errors import UnknownDevice, UnusableInput
from cnnscope.kernels import Kernel, kernels
from cnnscope.precisions import program
from cnnscope.probes import probes


@pytest.fixture(scope="module")
def found() -> Calibration:
    return calibrate("cpu", quick=True)


@pytest.mark.slow
def test_every_kind_has_parts_and_the_nets_are_centred(found: Calibration):
    reached = found.device.efficiencies
    assert reached is not None
    assert reached.compute.keys() == set(PRODUCTS) and reached.bandwidth.keys() == set(KINDS)
    assert all(part > 0 for part in (*reached.compute.values(), *reached.bandwidth.values()))
    assert reached.launch > 0 and reached.spread[0] < 1 < reached.spread[1]
    for measured, predicted in found.nets.values():
        assert measured > 0 and predicted == pytest.approx(measured), "one net: the sum of its kernels moved to it"
    assert found.device.capability == "cpu" and found.device.rates["fp32"] > 1e8


@pytest.mark.slow
def test_the_roofline_uses_the_file(found: Calibration, tmp_path):
    path = tmp_path / "here.toml"
    path.write_text(found.to_toml(), encoding="utf-8")
    graph = cnnscope.trace(cnnscope.build("squeezenet"), (2, 3, 224, 224))
    total = cnnscope.roofline(graph, str(path)).total
    assert total.seconds == pytest.approx(found.nets["squeezenet"][0], rel=0.05), "the net that it was centred on"
    reference = cnnscope.roofline(graph, "cpu").total
    assert total.seconds != reference.seconds


@pytest.mark.parametrize("channels_last", [False, True])
def test_each_probe_is_one_kernel_that_runs(channels_last: bool):
    kinds = set()
    for model, shape in probes(2):
        (kernel,) = kernels(program(cnnscope.trace(model, shape, channels_last=channels_last), "fp32"))
        kinds.add(kernel.kind)
        assert kernel.bytes > 0
        with torch.no_grad():
            model(torch.rand(shape))
    assert kinds == set(KINDS) - {"attention"}


def timed(kind: str, rate: float, bandwidth: float) -> Timed:
    """A kernel that reaches these parts of a device of 1 TFLOP/s and 100 GB/s within a second."""
    kernel = Kernel(kind, "", kind, "fp32", round(rate * 1e12), rate * 1e12, round(bandwidth * 1e11), 0, ())
    return Timed(kernel, 1.0)


def test_efficiencies_are_the_best_that_kernels_reached():
    made = Device("made", {"fp32": 1e12}, 1e11)
    rows = [timed(kind, 0.5, 0.1) for kind in PRODUCTS[:4]] + [timed(kind, 0.1, 0.7) for kind in PRODUCTS[:4]]
    rows += [timed("pointwise", 0.01, 0.9), timed("pooling", 0.01, 0.4), timed("normalisation", 0.01, 0.6)]
    reached = _reached(made, rows, 0.0, "fp32")
    assert dict(reached.compute) == pytest.approx(dict.fromkeys(PRODUCTS, 0.5))
    # Only kernels that arithmetic does not limit show a bandwidth.
    assert reached.bandwidth["dense"] == pytest.approx(0.7)
    assert (reached.bandwidth["pooling"], reached.bandwidth["pointwise"]) == pytest.approx((0.4, 0.9))
    limited = [each for each in rows if each.kernel.kind != "dense"] + [timed("dense", 0.5, 0.1)]
    assert _reached(made, limited, 0.0, "fp32").bandwidth["dense"] == pytest.approx(0.9), "as elementwise kernels"


def test_a_sheet_stays_the_peak():
    """What is measured are parts of a known device's figures."""
    known = device("RTX 3060")
    half = [timed(kind, 12.7 / 2, 3.6 / 4) for kind in KINDS if kind != "attention"]
    reached = _reached(dataclasses.replace(known, efficiencies=None), half, 0.0, "fp32")
    assert reached.compute["dense"] == pytest.approx(0.5)
    assert reached.bandwidth["pointwise"] == pytest.approx(0.25)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(capsys):
    with pytest.raises(UnknownDevice, match="calibrate --device cpu measures the processor"):
        calibrate("cuda")
    with pytest.raises(SystemExit) as stop:
        main(["calibrate", "--device", "cuda", "-o", "x.toml"], prog_name="cnnscope")
    assert stop.value.code == 2
    assert "no GPU" in capsys.readouterr().err


def test_mistakes(capsys):
    with pytest.raises(UnusableInput, match="cannot calibrate in 'fp4'"):
        calibrate("cpu", dtype="fp4")
    with pytest.raises(SystemExit) as stop:
        main(["calibrate", "--device", "cpu", "-o", "my.json"], prog_name="cnnscope")
    assert stop.value.code == 2
    assert "ends in .toml" in capsys.readouterr().err


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_on_a_gpu():
    found = calibrate("cuda", quick=True)
    reached = found.device.efficiencies
    assert reached is not None and all(0 < part < 2 for part in reached.bandwidth.values())
