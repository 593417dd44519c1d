"""The fit of ``benchmarks/throughput.py``, on nets whose times are known because they were made up by its own form."""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
if not BENCHMARKS.is_dir():
    pytest.skip("no benchmarks beside the tests: not a checkout", allow_module_level=True)
pytest.importorskip("scipy")
sys.path.insert(0, str(BENCHMARKS))

import fitting  # noqa: E402
import published  # noqa: E402

from cnnscope.devices import device  # noqa: E402
from cnnscope.efficiencies import KINDS, PRODUCTS, Efficiencies  # noqa: E402

COMPUTE = dict(zip(PRODUCTS, (0.9, 0.4, 0.2, 0.7, 0.6), strict=True))
BANDWIDTH = dict(zip(KINDS, (0.9, 0.8, 0.6, 0.9, 0.8, 0.4, 0.5, 0.95), strict=True))
TRUTH = Efficiencies(COMPUTE, BANDWIDTH, 4e-6, (1.0, 1.0), (1.0, 1.0), "made up")


def made_up(nets: int = 400) -> fitting.Work:
    """Nets of 20 random kernels, half of them limited by arithmetic where their kind computes products."""
    random = np.random.default_rng(1)
    kinds = random.integers(len(KINDS), size=(nets, 20))
    memory = 10 ** random.uniform(-4, -2, kinds.shape)
    ratio = 10 ** random.uniform(-1, 0.7, kinds.shape)
    compute = np.where(kinds < len(PRODUCTS), memory * ratio, 0.0)
    net = np.repeat(np.arange(nets), 20)
    return fitting.Work(net, kinds.ravel(), compute.ravel(), memory.ravel(), nets)


def test_the_fit_finds_what_made_the_times():
    work = made_up()
    measured = fitting.seconds(fitting.numbers_of(TRUTH), work)
    found = fitting.efficiencies(fitting.fitted(work, measured), (1.0, 1.0), (1.0, 1.0), "")
    assert dict(found.compute) == pytest.approx(COMPUTE, rel=0.1)
    assert dict(found.bandwidth) == pytest.approx(BANDWIDTH, rel=0.1)
    predicted = fitting.seconds(fitting.numbers_of(found), work)
    assert fitting.score(predicted, measured, np.ones(work.nets)).median < 0.01


def test_a_few_wrong_measurements_move_little():
    work = made_up()
    measured = fitting.seconds(fitting.numbers_of(TRUTH), work)
    off = measured.copy()
    off[:20] *= 5
    predicted = fitting.seconds(fitting.fitted(work, off), work)
    assert fitting.score(predicted, measured, np.ones(work.nets)).median < 0.02


@pytest.mark.parametrize("sharpness", [3.0, np.inf])
def test_the_derivative_is_the_difference(sharpness: float):
    work, numbers = made_up(5), fitting.numbers_of(TRUTH)
    times, moves = fitting._times(numbers, work, sharpness)
    for i in range(len(numbers)):
        step = np.zeros_like(numbers)
        step[i] = 1e-6
        difference = (fitting._times(numbers + step, work, sharpness)[0] - times) / 1e-6
        assert moves[:, i] == pytest.approx(difference, rel=1e-3, abs=1e-12)


def test_families_are_never_on_both_sides():
    families = [f"family{i % 11}" for i in range(100)]

    def predict(fit, rest):
        names = np.array(families)
        assert not set(names[fit]) & set(names[rest])
        assert (fit ^ rest).all()
        return rest.nonzero()[0].astype(float)

    assert (fitting.held_out(families, predict) == np.arange(100)).all(), "every net is predicted, in its place"


def test_published_rows_become_seconds_of_a_batch(tmp_path):
    (tmp_path / "benchmark-infer-amp-nhwc-pt240-cu124-rtx4090.csv").write_text(
        "model,infer_img_size,infer_samples_per_sec,infer_step_time,infer_batch_size,param_count\n"
        "resnet18,224,1000.0,256.0,256,11.69\n"
    )
    (tmp_path / "other.csv").write_text("x\n")
    (setting,) = published.settings(tmp_path)
    assert (setting.gpu, setting.layout, setting.train) == ("RTX 4090", "channels-last", False)
    assert setting.rows == (published.Row("resnet18", 224, 256, 0.256, 11.69),)


@pytest.mark.skipif(find_spec("timm") is None, reason="its nets are timm's, an extra")
def test_a_cached_net_is_the_traced_one(tmp_path):
    setting = published.Setting("RTX 4090", "channels-last", (published.Row("resnet18", 64, 8, 0.1, 11.69),))
    first = published.Cache(tmp_path / "nets.jsonl.gz")
    first.fill([setting])
    again = published.Cache(tmp_path / "nets.jsonl.gz")
    (net,) = first.nets.values()
    assert net is not None and net.cnn and net.family == "resnet" and net.params == pytest.approx(11.69, rel=1e-3)
    kept = again.nets["resnet18", 64, 8, "channels-last", False]
    assert kept is not None and [tuple(kernel) for kernel in kept.kernels] == net.kernels
    assert fitting.work([net.kernels], device("RTX 4090")).nets == 1
