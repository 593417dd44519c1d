"""Every command that writes a file, under every fault: the whole new file, the old one, or none; never a traceback."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from cnnscope.cli import main

NET = "lenet5_modern"
COMMANDS = {
    "list": [],
    "table": [NET],
    "graph": [NET, "--svg"],
    "memory": [NET],
    "figure": [NET, "--svg"],
    "size": [NET],
    "compare": [NET, "lenet5", "--input", "1x1x32x32"],
    "diff": [NET, "lenet5", "--input", "1x1x32x32"],
    "reconcile": [NET, "--no-tools"],
    "claims": ["lenet5"],
    "report": [NET, "--no-claims"],
    "check": [NET, "--max-params", "100M"],
    "devices": [],
    "calibrate": ["--device", "cpu", "--quick"],
    "fit": [NET, "--device", "T4"],
    "measure": [NET, "--device", "cpu", "--seconds", "0.01"],
    "confirm": [NET, "--device", "cpu", "--seconds", "0.01"],
}
SLOW = ("calibrate", "measure", "confirm")  # they time real runs: some of the faults do for them
PROGRAM = "from cnnscope.cli import main; main()"


ENDINGS = {"calibrate": "toml"}  # of the others any will do that a picture may have


def name(command, stem):
    return f"{stem}.{ENDINGS.get(command, 'svg')}"


def invoke(command, path):
    return CliRunner().invoke(main, [command, *COMMANDS[command], "-o", str(path)], env={"COLUMNS": "100"})


def is_one_error(result, *words):
    lines = result.stderr.splitlines()
    assert result.exit_code == 2, result.output
    assert 1 <= len(lines) <= 3 and lines[0].startswith("cnnscope: "), lines
    assert "Traceback" not in result.stderr and "internal error" not in result.stderr, result.stderr
    assert all(word in result.stderr for word in words), result.stderr


@pytest.fixture(autouse=True)
def quick(cache, monkeypatch, tmp_path):
    """Traces come from a cache that this process fills, and the working folder is empty."""
    monkeypatch.setenv("CNNSCOPE_CACHE_DIR", _SHARED)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


_SHARED = f"/tmp/cnnscope-tests-{os.getpid()}"


@pytest.fixture(scope="module", autouse=True)
def swept():
    yield
    shutil.rmtree(_SHARED, ignore_errors=True)


@contextlib.contextmanager
def small_files(size):
    """No file may grow beyond so many bytes, as on a full disk; Python ignores the signal and raises."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_every_command_that_writes_is_here():
    writing = {
        name
        for name, command in main.commands.items()
        if not isinstance(command, click.Group) and any("-o" in each.opts for each in command.params)
    }
    assert writing == {*COMMANDS, "sweep"}, "each is under all faults; a sweep, which keeps a journal beside, below"


SOME = [pytest.param(each, marks=pytest.mark.slow) if each == "calibrate" else each for each in COMMANDS]


@pytest.mark.parametrize("command", SOME)
def test_a_whole_file_through_a_link_and_nothing_else(command, quick):
    file, link = quick / name(command, "file"), quick / name(command, "link")
    file.write_text("before")
    link.symlink_to(file)
    result = invoke(command, link)
    assert result.exit_code == 0, result.output
    assert link.is_symlink() and len(file.read_text()) > 100 and sorted(os.listdir(quick)) == [file.name, link.name]


@pytest.mark.parametrize("command", [each for each in COMMANDS if each not in SLOW])
@pytest.mark.parametrize("fault", ["a folder", "no folder", "through a file", "gone", "dangling", "a name too long"])
def test_a_place_that_takes_no_file(command, fault, quick):
    (quick / "file").write_text("before")
    (quick / "dangling").symlink_to(quick / "missing" / "x")
    places = {
        "a folder": ".",
        "no folder": "missing/x.svg",
        "through a file": "file/x.svg",
        "gone": "x.svg",
        "dangling": "dangling",
        "a name too long": "x" * 300 + ".svg",
    }
    before = sorted(os.listdir(quick))
    if fault == "gone":
        shutil.rmtree(quick)
    result = invoke(command, places[fault])
    is_one_error(result, "cannot write")
    if fault != "gone":
        assert sorted(os.listdir(quick)) == before and (quick / "file").read_text() == "before"


@pytest.mark.parametrize("command", SOME)
def test_a_disk_that_is_full(command, quick):
    file = quick / name(command, "file")
    file.write_text("before")
    with small_files(50):
        result = invoke(command, file)
    is_one_error(result, "cannot write", "file too large", file.name)
    assert file.read_text() == "before" and os.listdir(quick) == [file.name]


def test_a_sweep_on_a_disk_that_is_full(quick):
    (quick / "file.csv").write_text("before")
    with small_files(50):
        result = CliRunner().invoke(main, ["sweep", NET, "--jobs", "1", "-o", "file.csv"])
    is_one_error(result, "cannot keep rows", "file too large")
    assert (quick / "file.csv").read_text() == "before"


@pytest.mark.parametrize("command", ["table", "graph", "memory", "report"])
def test_a_folder_that_is_read_only(command, quick):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", quick], capture_output=True)
    if mounted.returncode:
        if os.geteuid() == 0:
            pytest.skip("root may write anywhere, and may not mount")
        quick.chmod(0o500)
    try:
        is_one_error(invoke(command, quick / "x.svg"), "cannot write")
        assert not os.listdir(quick)
    finally:
        if not mounted.returncode:
            subprocess.run(["umount", quick], check=True)


DYING = """
import os, signal, sys
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv.pop(1) == "renaming":
    os.replace = die
else:
    import io, pathlib
    plain = pathlib.Path.open
    class Half:
        def __init__(self, file): self.file = file
        def __enter__(self): return self
        def __exit__(self, *_): pass
        def write(self, data):
            self.file.write(data[: len(data) // 2]); self.file.flush(); die()
    pathlib.Path.open = lambda self, mode="r", *rest, **more: (
        Half(plain(self, mode)) if mode == "xb" else plain(self, mode, *rest, **more)
    )
from cnnscope.cli import main
main()
"""


@pytest.mark.parametrize("moment", ["renaming", "writing"])
@pytest.mark.parametrize(
    "command", ["table", "graph", *[pytest.param(each, marks=pytest.mark.slow) for each in ("report", "measure")]]
)
def test_killed_at_the_worst_moment(command, moment, quick):
    invoke(command if command != "measure" else "table", quick / "warm.svg")  # so that the cache is written before
    os.unlink(quick / "warm.svg")
    (quick / "file.svg").write_text("before")
    line = [sys.executable, "-c", DYING, moment, command, *COMMANDS[command], "-o", str(quick / "file.svg")]
    done = subprocess.run(line, capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (quick / "file.svg").read_text() == "before"
    left = [name for name in os.listdir(quick) if name != "file.svg"]
    assert len(left) == 1 and left[0].startswith(".file.svg.") and left[0].endswith(".part")


def test_the_cache_of_a_killed_command_is_whole(quick, cache, monkeypatch):
    monkeypatch.setenv("CNNSCOPE_CACHE_DIR", str(cache))
    for moment in ("renaming", "writing"):
        done = subprocess.run([sys.executable, "-c", DYING, moment, "table", NET], capture_output=True, timeout=120)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert not list(cache.glob("*.graph"))
    result = CliRunner().invoke(main, ["table", NET])
    assert result.exit_code == 0 and len(list(cache.glob("*.graph"))) == 1


@pytest.mark.parametrize(
    "arguments", [["list"], ["table", NET], ["graph", NET, "-o", "-"], ["--help"], ["table", "--help"]]
)
def test_a_reader_that_has_seen_enough(arguments):
    """As ``cnnscope ... | head -1`` leaves it, also where nothing is read at all."""
    for lines in (1, 0):
        line = [sys.executable, "-c", PROGRAM, *arguments]
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if lines:
            assert process.stdout.readline()
        process.stdout.close()
        error = process.stderr.read().decode()
        assert process.wait(120) == 0 and error == "", error


def test_stdout_that_is_closed(quick):
    line = '"$@" >&-'
    for arguments in (["list"], ["table", NET], ["graph", NET, "-o", "-"]):
        command = ["sh", "-c", line, "sh", sys.executable, "-c", PROGRAM, *arguments]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=120)
        assert done.returncode == 2 and done.stderr.startswith("cnnscope: cannot write the output: it is closed")
        assert len(done.stderr.splitlines()) == 1
    done = subprocess.run([*command[:-2], "-o", "x.svg"], stderr=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == 0 and done.stderr == "wrote x.svg\n" and (quick / "x.svg").read_text().startswith("<svg")


@pytest.mark.parametrize("place", ["/dev/full", "/dev/stdout"])
def test_devices_are_written_to(place, quick):
    for arguments in (["list"], ["table", NET], ["graph", NET, "--svg"], ["report", NET, "--no-claims"]):
        line = [sys.executable, "-c", PROGRAM, *arguments, "-o", place]
        done = subprocess.run(line, capture_output=True, text=True, timeout=120)
        if place == "/dev/full":
            assert done.returncode == 2 and "no space left" in done.stderr and len(done.stderr.splitlines()) <= 3
        else:
            assert done.returncode == 0 and len(done.stdout) > 100, done.stderr
    assert not os.listdir(quick)
