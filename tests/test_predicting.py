"""``cnnscope fit``: the largest batch of a device's memory, and the time that it takes."""

import json

import pytest
from click.testing import CliRunner

import cnnscope
from cnnscope.analyses.capacities import capacity
from cnnscope.analyses.fitting import Peaks
from cnnscope.cli import main
from cnnscope.devices import device

MIB = 2**20


def run(*arguments: str):
    return CliRunner().invoke(main, ["fit", "--no-cache", *arguments])


def at(batch: int):
    return cnnscope.trace(cnnscope.build("lenet5"), (batch, 1, 32, 32), device="cuda")


@pytest.mark.parametrize("budget", [64 * MIB, 2048 * MIB])
def test_the_largest_batch_fits_and_one_more_does_not(budget: int):
    peaks = Peaks(at, "RTX 3060")
    surely, likely = capacity(at, peaks, device("RTX 3060"), budget).values()
    assert surely.batch <= likely.batch
    for row, figure in ((surely, "upper_bound"), (likely, "peak_reserved")):
        if row.batch:
            assert getattr(peaks(row.batch), figure) == row.bytes <= budget
        assert getattr(peaks(row.batch + 1), figure) > budget
    assert surely.batch or budget == 64 * MIB, "a context alone is larger than the smaller budget"


def test_the_time_is_that_of_the_roofline():
    found = capacity(at, Peaks(at, "RTX 3060"), device("RTX 3060"), 2048 * MIB)
    for row in found.values():
        total = cnnscope.roofline(at(row.batch), "RTX 3060").total
        assert (row.low, row.high, row.bound) == (total.low, total.high, total.bound)
        assert row.image_low * row.batch == pytest.approx(total.low)


def test_text_and_json_say_the_same():
    options = ["lenet5", "--device", "rtx3060", "--budget", "2GiB"]
    found = json.loads(run(*options, "--format", "json").output)
    text = run(*options).output
    assert found["model"] == "lenet5"
    assert [row["name"] for row in found["rows"]] == ["fits surely", "fits, by tensors alone"]
    assert all(f"{row['batch']:,}" in text for row in found["rows"])
    assert "RTX 3060: largest batch within 2.000 GiB" in text
    assert "RTX 3060, fp32, eager: " in text


def test_kernels_of_one_batch():
    found = json.loads(run("lenet5", "--device", "h200", "--kernels", "-b", "8", "--format", "json").output)
    assert found["title"] == "time"
    assert [row["name"] for row in found["rows"]] == [row.name for row in cnnscope.roofline(at(8), "H200").values()]


def test_precision_and_layout_are_those_of_the_trace():
    text = run("lenet5", "--device", "A100", "--budget", "2GiB", "--amp", "fp16", "--channels-last", "--compile").output
    assert "A100 SXM 80GB, amp, channels-last, compiled: " in text
    assert "A100 SXM 80GB, tf32, eager: " in run("lenet5", "--device", "A100", "--budget", "2GiB", "--tf32").output


def test_a_device_of_ones_own(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text('[device]\nname = "mine"\nrates = { fp32 = 1 }\nbandwidth = 10\nmemory = 2\n')
    text = run("lenet5", "--device", str(path)).output
    assert "mine: largest batch within 2.000 GiB" in text and "mine, fp32, eager" in text


def test_a_model_that_does_not_fit_exits_with_1():
    done = run("lenet5", "--device", "T4", "--budget", "20KiB")
    assert done.exit_code == 1
    assert "fits surely                         0" in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lenet5", "--device", "RTX 4099"], "no device 'RTX 4099'; closest: RTX 4090"),
        (["lenet5", "--device", "nowhere.toml"], "no device file 'nowhere.toml'"),
        (["lenet5", "--device", "cpu"], "how much memory cpu has is not known; give it: --budget 24GiB"),
        (["lenet5", "--device", "T4", "--kernels"], "--kernels takes the batch size to predict for: -b 32"),
        (["lenet5", "--device", "T4", "--kernels", "-b", "2", "--dtype", "bf16"], "T4 has no rate for bf16"),
        (["lenet5"], "Missing option '--device'"),
    ],
)
def test_a_mistake_is_one_clear_error(arguments: list[str], message: str, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", *arguments], prog_name="cnnscope")
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert error.startswith("cnnscope: ") and message in error and "Traceback" not in error
