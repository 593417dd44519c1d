"""Predicted beside measured: signs, distributions, the report of all records, and the commands."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import cnnscope
from cnnscope import confirming, predicting, reckoning, records
from cnnscope.cli import main
from cnnscope.measuring.sessions import measure_target, settings_of

FAST = ["--device", "cpu", "--seconds", "0.02"]


@pytest.fixture(scope="module")
def record() -> records.Measurement:
    return measure_target(
        "lenet5_modern", (2, 1, 32, 32), {}, settings_of(device="cpu", seconds=0.02), name="lenet5_modern"
    )


@pytest.fixture(scope="module")
def graph() -> cnnscope.ModelGraph:
    return cnnscope.trace(cnnscope.build("lenet5_modern"), (2, 1, 32, 32), name="lenet5_modern")


def changed(record: records.Measurement, **memory: int) -> records.Measurement:
    return dataclasses.replace(record, memory=dataclasses.replace(record.memory, **memory))


@pytest.mark.parametrize(("times", "words"), [(1, "exact"), (2, "-50.0%"), (0.5, "+100.0%")])
def test_the_sign_says_which_way(record, graph, times, words):
    base = next(row for row in confirming.confirm(graph, record).values() if row.name == "memory before the call")
    assert base.deviation == "exact"
    other = changed(record, base=int(record.memory.base * times))
    row = confirming.confirm(graph, other)["memory before the call"]
    assert row.deviation == words and row.predicted_low == record.memory.base
    assert row.error == pytest.approx(1 / times - 1)


def test_work_is_flops_in_the_measured_time(record, graph):
    macs = cnnscope.layers(graph).total.macs
    row = confirming.confirm(graph, record)["work"]
    assert row.predicted_low == macs
    assert row.measured_value == pytest.approx(2 * macs / record.time.whole.median)


def test_layers_join_by_name(record, graph):
    found = confirming.confirm_layers(graph, record)
    assert set(found) >= set(cnnscope.layers(graph))
    assert found.total.measured == pytest.approx(record.layers.total, rel=1e-3)
    assert found.total.held == sum(each.bytes for each in record.memory.holders)
    assert found["C3"].macs == cnnscope.layers(graph)["C3"].macs and found["C3"].measured > 0


def test_what_was_not_measured_says_so_and_why(record, graph):
    other = {path: why for path, why in record.missing.items() if not path.startswith(("time", "layers"))}
    gone = dataclasses.replace(
        record, time=None, layers=None, missing=other | dict.fromkeys(("time", "layers"), "no clock")
    )
    found = confirming.confirm(graph, gone)
    assert found["time"].measured == "not measured" and found["time"].error is None
    assert any("no clock" in note for note in found.notes)
    assert confirming.confirm_layers(graph, gone).total.measured is None


@pytest.mark.parametrize("how", [{"compile": True}, {"dtype": "bf16"}, {"train": True, "optimizer": "sgd"},
                                 {"channels_last": True}])  # fmt: skip
def test_a_graph_of_another_program_predicts_no_memory(record, graph, how):
    other = dataclasses.replace(record, settings=dataclasses.replace(record.settings, **how))
    found = predicting.prediction(graph, other)
    assert not [name for name in found.ranges if name != "time"]
    assert all(found.reasons[name] for name in ("base", "peak_requested"))


@given(st.lists(st.floats(-0.9, 3).filter(lambda e: abs(e) > 1e-6), min_size=1, max_size=60))
def test_distributions(errors):
    rows = [reckoning.Reckoned(f"r{i}", device="GPU", how="inference, fp32", errors=(("time", e),))
            for i, e in enumerate(errors)]  # fmt: skip
    (row,) = reckoning.distributions(rows).values()
    sizes = sorted(map(abs, errors))
    assert row.count == len(errors) and row.under == sum(e < 0 for e in errors)
    assert abs(float(row.worst.rstrip("%")) / 100) == pytest.approx(sizes[-1], abs=0.0006)
    shown = float(row.p90.rstrip("%")) / 100
    # At least nine tenths are not larger, and it is one of them.
    assert sum(size <= shown + 1e-4 for size in sizes) >= 0.9 * len(sizes)
    assert min(abs(size - shown) for size in sizes) <= 1e-4


# -- commands ---------------------------------------------------------------------------------------------------------


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


@pytest.fixture(scope="module")
def folder(record, tmp_path_factory) -> Path:
    """Records of one net at two batches, one of them in training, one that was stopped."""
    root = tmp_path_factory.mktemp("measured")
    (root / "cpu").mkdir()
    (root / "cpu" / "lenet5_modern-b2.json").write_text(record.to_json())
    how = settings_of(device="cpu", seconds=0.02, train=True, optimizer="adamw")
    other = measure_target("lenet5_modern", (1, 1, 32, 32), {}, how, name="lenet5_modern")
    (root / "cpu" / "train.json").write_text(other.to_json())
    stopped = dataclasses.replace(record, complete=False, stopped="interrupted while measuring power")
    (root / "cpu" / "stopped.json").write_text(stopped.to_json())
    return root


def test_measure_keeps_a_record_that_confirm_reads(tmp_path):
    path = tmp_path / "lenet.json"
    text = run("measure", "lenet5_modern", *FAST, "-b", "2", "-o", str(path))
    assert "median of" in text and "not measured: a CPU has no NVML" in text
    found = records.read(path)
    assert found.batch == 2 and found.settings.seconds == 0.02
    shown = run("confirm", "lenet5_modern", "--record", str(path), "--layers")
    assert "predicted and measured, layer by layer" in shown and "exact" in shown
    data = json.loads(run("confirm", "lenet5_modern", "--record", str(path), "--format", "json"))
    (base,) = [row for row in data["rows"] if row["name"] == "memory before the call"]
    assert base["error"] == 0 and base["measured_value"] == found.memory.base == base["predicted_low"]


def test_measure_prints_the_record(tmp_path):
    text = run("measure", "lenet5_modern", *FAST, "--train", "--format", "json")
    assert records.parse(text).settings.optimizer == "sgd"
    assert records.parse(run("measure", "lenet5_modern", *FAST, "-o", "-")).model == "lenet5_modern"


def test_confirm_measures_now():
    text = run("confirm", "lenet5_modern", *FAST, "--train", "--optimizer", "adamw")
    assert "training with adamw" in text and "peak memory, requested" in text


def test_confirm_all_makes_the_report_and_its_charts(folder, tmp_path):
    page = tmp_path / "confirm.md"
    run("confirm", f"--all={folder}", "-o", str(page))
    text = page.read_text()
    assert "**No GPU has been measured yet.**" in text and "cpu/lenet5_modern-b2" in text
    assert "interrupted while measuring power" in text and "vgg16" in text.partition("Not measured yet")[2]
    assert "lenet5_modern" not in text.partition("Not measured yet")[2].replace("lenet5_modern,", "")
    for name in ("batch", "accuracy"):
        svg = (tmp_path / f"confirm-{name}.svg").read_text()
        assert svg.startswith("<svg") and f"confirm-{name}.svg" in text
    table = run("confirm", f"--all={folder}")
    assert "peak requested, training" in table
    assert len(json.loads(run("confirm", f"--all={folder}", "--format", "json"))["rows"]) == 3


SLOW = """[[device]]
name = "snail"
capability = "cpu"
rates = { fp32 = 0.0001 }
bandwidth = 0.1
"""


def test_time_is_predicted_for_a_device_of_ones_own(record, graph, folder, tmp_path):
    """10^8 FLOPs and bytes in a second; where the records are, a device file of that machine is found by itself."""
    file = tmp_path / "snail.toml"
    file.write_text(SLOW)
    slow, plain = (confirming.confirm(graph, record, device)["time"] for device in (str(file), None))
    total = cnnscope.roofline(graph, str(file)).total
    assert (slow.predicted_low, slow.predicted_high) == (total.low, total.high) and slow.error > plain.error
    assert slow.measured_value == plain.measured_value
    path = str(folder / "cpu" / "lenet5_modern-b2.json")
    assert "predicted for snail" in run("confirm", "lenet5_modern", "--record", path, "--predict-for", str(file))
    assert "calibrate --device cpu" in run("confirm", "lenet5_modern", "--record", path)
    (folder / "cpu" / "device.toml").write_text(SLOW)
    try:
        rows = json.loads(run("confirm", f"--all={folder}", "--format", "json"))["rows"]
        assert {row["time_error"] for row in rows if row["name"] == "cpu/lenet5_modern-b2"} == {slow.deviation}
    finally:
        (folder / "cpu" / "device.toml").unlink()
    assert "no device 'slug'" in run("confirm", "lenet5_modern", "--record", path, "--predict-for", "slug", code=2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["confirm"], "name a MODEL"), (["confirm", "--all=nowhere"], "no record in 'nowhere'"),
     (["confirm", "vgg16", "--all=nowhere"], "give --all=FOLDER or MODEL"),
     (["confirm", "vgg16", "--record", "no.json"], "no such file"), (["measure", "vgg17", "--device", "cpu"], "vgg16"),
     (["measure", "lenet5", "--optimizer", "adam", "--device", "cpu"], "--train"),
     (["measure", "lenet5", "--dtype", "tf32", "--device", "cpu"], "NVIDIA")],
)  # fmt: skip
def test_mistakes_are_one_clear_error(arguments, words):
    text = run(*arguments, code=2)
    assert words in text and text.startswith("cnnscope: ") and len(text.splitlines()) <= 3


NET = """
from torch import nn
class Net(nn.Linear):
    calls = 0
    def __init__(self): super().__init__(4, 4)
    def forward(self, x):
        Net.calls += 1
        if Net.calls > 5: raise {error}
        return super().forward(x)
"""


@pytest.mark.parametrize(("error", "code"), [("KeyboardInterrupt", 130), ("MemoryError('of the host')", 1)])
def test_a_stop_keeps_the_record_and_says_where(tmp_path, error, code):
    (tmp_path / "net.py").write_text(NET.format(error=error))
    path = tmp_path / "kept.json"
    text = run("measure", f"{tmp_path}/net.py:Net", "--input", "1x4", *FAST, "-o", str(path), code=code)
    found = records.read(path)
    assert not found.complete and found.memory is not None and found.stopped in text and str(path) in text
