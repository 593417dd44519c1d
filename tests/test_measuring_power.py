"""NVML through the real binding, without a GPU: a small library of our own plays back what a GPU said.

The figures of the H100 are of the form that NVML's documentation describes: counters in millijoules that tick, power in
milliwatts, fields with a return code of their own.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnscope.measuring import power
from cnnscope.records import Power

HERE = Path(__file__).parent
UUID = "GPU-6f2c9a4e-0000-1111-2222-333344445555"
H100 = f"""
uuid {UUID}
nvmlDeviceGetName NVIDIA-H100-80GB-HBM3
nvmlSystemGetDriverVersion 570.86.15
nvmlDeviceGetArchitecture 9
nvmlDeviceGetTotalEnergyConsumption ~300000
nvmlDeviceGetPowerUsage 298000 300000 302000 300000
nvmlField186 280000 320000
nvmlDeviceGetClockInfo1 1755 1980 1980
nvmlDeviceGetClockInfo2 2619
nvmlDeviceGetMaxClockInfo1 1980
nvmlDeviceGetMaxClockInfo2 2619
nvmlDeviceGetTemperature 51
nvmlDeviceGetUtilizationRates 100
nvmlDeviceGetCurrentClocksThrottleReasons 0 4 0
nvmlDeviceGetEnforcedPowerLimit 700000
nvmlDeviceGetPowerManagementDefaultLimit 700000
nvmlProcess 734003200
"""
PROGRAM = """
import dataclasses, json, sys, time
from cnnscope.measuring import power
from cnnscope.errors import CnnscopeError

def work(seconds):
    time.sleep(seconds)
    return 600

found = {}
with power.gpu(UUID) as gpu:
    if isinstance(gpu, str):
        found["none"] = gpu
    else:
        try:
            found["reads"] = {name: gpu.read(name) for name in power._READINGS}
            reasons = {}
            result = power.power(gpu, work, power.idle_watts(gpu, 0.1), reasons, window=0.4)
            found |= {"power": dataclasses.asdict(result), "reasons": reasons}
        except CnnscopeError as error:
            found["error"] = f"{type(error).__name__}: {error}"
        found["why"] = gpu.reasons
assert "torch" not in sys.modules
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    """Folders with the stand-in as libnvidia-ml.so.1: a present driver's and an old one's."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler or not sys.platform.startswith("linux"):
        pytest.skip("no C compiler here (cc, gcc or clang), or not Linux: the stand-in for NVML cannot be made")
    folders = {}
    for kind, flags in (("new", []), ("old", ["-DOLD"])):
        folders[kind] = tmp_path_factory.mktemp(kind)
        command = [compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-O1", *flags, str(HERE / "nvml" / "stand_in.c")]
        subprocess.run([*command, "-o", str(folders[kind] / "libnvidia-ml.so.1")], check=True, timeout=60)
    return folders


@pytest.fixture
def play(libraries, tmp_path):
    """Play back a text; what the program found."""

    def played(text: str, kind: str = "new", **changes: str) -> dict:
        lines = {line.split()[0]: line for line in text.strip().splitlines()}
        lines |= {name: f"{name} {value}" for name, value in changes.items()}
        (tmp_path / "playback").write_text("\n".join(lines.values()))
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": str(libraries[kind]),
            "NVML_PLAYBACK": str(tmp_path / "playback"),
        }
        program = PROGRAM.replace("UUID", repr(UUID.removeprefix("GPU-")))
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return played


def test_everything_that_a_gpu_says_arrives(play):
    found = play(H100)
    assert found["why"] == {} and found["reasons"] == {}
    reads = found["reads"]
    assert reads["name"] == "NVIDIA-H100-80GB-HBM3" and reads["driver"] == "570.86.15"
    assert reads["watts"] == 298 and reads["instant_watts"] == 280 and reads["power_limit"] == 700
    assert reads["highest_sm_clock"] == 1980 and reads["highest_memory_clock"] == 2619
    assert reads["process_memory"] == 734003200  # of ours, not of the process that stands first
    measured = found["power"]
    # 300 W that the counter was filled with, over 0.4 s, for 600 images; the sampling sees ticks of 0.05 s.
    assert measured["joules_by"] == "counter" and measured["counter_ticks"] >= 3
    assert measured["energy_joules"] / measured["counter_seconds"] == pytest.approx(300, rel=0.15)
    assert measured["joules_per_image"] == pytest.approx(300 * measured["window_seconds"] / 600, rel=0.15)
    assert measured["integral_joules"] == pytest.approx(300 * measured["window_seconds"], rel=0.02)
    assert measured["watts"] == pytest.approx(300, rel=0.01) and measured["idle_watts"] == pytest.approx(300, rel=0.02)
    assert measured["instant_watts"] == pytest.approx(320, rel=0.05)
    assert measured["sm_clock_mhz"] == 1980 and measured["temperature_c"] == 51
    assert "averaged over one second" in measured["reading"]


def test_a_throttle_seen_once_is_told(play):
    # The window's first samples: what came before it is not the work's.
    found = play(H100, nvmlDeviceGetCurrentClocksThrottleReasons=" ".join(["0"] * 12 + ["4"] * 3 + ["0"]))
    assert found["power"]["throttled_by"] == ["power cap"]
    assert (
        play(H100, nvmlDeviceGetCurrentClocksThrottleReasons="1")["power"]["throttled_by"] == []
    )  # idle is no throttle


def test_a_field_that_a_gpu_lacks_is_none_with_a_reason_and_never_zero(play):
    missing = {"nvmlDeviceGetTotalEnergyConsumption": "!3", "nvmlField186": "!3", "nvmlDeviceGetUtilizationRates": "!4"}
    found = play(H100, **missing)
    measured, reasons = found["power"], found["reasons"]
    empty = {"energy_joules", "counter_ticks", "counter_seconds", "instant_watts", "utilization_percent"}
    assert {name for name, value in measured.items() if value is None} == empty
    assert {name.removeprefix("power.") for name in reasons} == empty
    assert reasons["power.energy_joules"] == "this GPU does not report it"
    assert reasons["power.utilization_percent"] == "only an administrator may read it here"
    # The energy is then the integral of the watts.
    assert measured["joules_by"] == "integral"
    assert measured["joules_per_image"] * 600 == pytest.approx(measured["integral_joules"], rel=1e-3)


def test_a_counter_that_stands_still_is_no_energy_of_zero(play):
    found = play(H100, nvmlDeviceGetTotalEnergyConsumption="5000")
    assert found["power"]["energy_joules"] is None and found["power"]["joules_by"] == "integral"
    assert found["reasons"]["power.energy_joules"] == "too few readings in the window"


def test_an_old_driver_and_one_that_says_nothing(play):
    old = play(H100, "old")
    assert old["power"]["instant_watts"] is None
    assert old["reasons"]["power.instant_watts"] == "the driver is too old to report it"
    silent = play(f"uuid {UUID}")
    assert all(silent["power"][name.removeprefix("power.")] is None for name in silent["reasons"])
    assert {"power.watts", "power.joules_per_image", "power.temperature_c"} <= set(silent["reasons"])
    assert silent["power"]["joules_by"] == "" and "does not say" in silent["power"]["reading"]


@pytest.mark.parametrize(
    ("architecture", "name", "words"),
    [("9", "H100", "averaged"), ("8", "L4", "averaged"), ("7", "A10", "averaged"),
     ("7", "NVIDIA-A100", "instantaneous"), ("6", "T4", "instantaneous"), ("!3", "X", "does not say")],
)  # fmt: skip
def test_which_power_was_read_is_said(play, architecture, name, words):
    found = play(H100, nvmlDeviceGetArchitecture=architecture, nvmlDeviceGetName=name)
    assert words in found["power"]["reading"]


def test_a_reading_that_fails_once_is_asked_for_again(play):
    found = play(H100, nvmlDeviceGetPowerUsage="300000 !10 300000")
    assert found["power"]["watts"] == pytest.approx(300) and found["why"] == {}


def test_a_gpu_that_is_lost_is_an_error(play):
    during = play(H100, nvmlDeviceGetPowerUsage=" ".join(["300000"] * 12) + " !15")
    assert during["error"].startswith("UnusableDevice: NVML: the GPU was lost") and "power" not in during
    before = play(H100, uuid="!15")
    assert "the GPU was lost" in before["none"]


def test_no_driver_no_library_no_such_gpu(play):
    assert "the NVIDIA driver is not loaded" in play(H100, nvmlInit="9")["none"]
    assert UUID in play(H100, uuid="GPU-other")["none"]
    program = "from cnnscope.measuring import power\nwith power.gpu('x') as gpu: print(gpu)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    if "no NVML" not in done.stdout:
        pytest.skip("this machine has an NVIDIA driver: that there is none cannot be shown here")


def test_a_container_that_counts_processes_otherwise(play):
    found = play(H100, nvmlProcess="!3")
    assert found["reads"]["process_memory"] is None and "no process of our number" in found["why"]["process_memory"]


# -- laws of the arithmetic ------------------------------------------------------------------------------------------


@given(watts=st.floats(20, 1000), tick=st.floats(0.02, 0.3), seconds=st.floats(2, 20), every=st.floats(0.005, 0.05))
def test_any_rhythm_of_the_counter_gives_the_power_that_filled_it(watts, tick, seconds, every):
    """A counter that ticks is off by up to two sampling intervals, however slowly it ticks."""
    times = [i * every for i in range(int(seconds / every))]
    samples = [_sample(time, energy=watts * tick * int(time / tick), watts=watts) for time in times]
    found = power.summarized(samples, 0.0, seconds, 100)
    error = 2 * every / found["counter_seconds"]
    assert found["energy_joules"] / found["counter_seconds"] == pytest.approx(watts, rel=error + 1e-3)
    assert found["joules_per_image"] == pytest.approx(watts * seconds / 100, rel=error + 1e-3)
    assert found["integral_joules"] == pytest.approx(watts * seconds, rel=1e-3)


@given(st.lists(st.tuples(st.floats(0.001, 0.1), st.floats(0, 1000)), min_size=2, max_size=50))
def test_the_mean_lies_between_the_extremes(steps):
    time, readings = 0.0, []
    for gap, watts in steps:
        time += gap
        readings.append((time, watts))
    values = [watts for _, watts in readings]
    assert min(values) - 1e-6 <= power._mean(readings) <= max(values) + 1e-6


def test_no_samples_are_no_zeros():
    found = power.summarized([], 0.0, 5.0, 10)
    numbers = {name: value for name, value in found.items() if name not in ("window_seconds", "images", "samples")}
    assert set(numbers.values()) == {None, ""}
    assert set(found) | {"reading", "idle_watts", "temperature_c"} == set(Power.__dataclass_fields__)


def _sample(time: float, **values: float) -> power.Sample:
    return power.Sample(**{**dict.fromkeys(power.Sample._fields), "time": time, **values})


def test_no_other_module_loads_nvml():
    package = HERE.parent / "cnnscope"
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert "pynvml" not in names or file.name == "power.py", file
