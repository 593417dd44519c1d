"""Files under faults: whatever happens while one is written, it is whole, the old one or the new one, or not there."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cnnscope import outputs

PROGRAM = "from cnnscope.cli import main; main()"


def command(*arguments, **options):
    line = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, **options)


def small_files():
    """No file may grow beyond 4,000 bytes: the disk is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))


# -- a full disk ------------------------------------------------------------------------------------------------------


def test_a_full_disk_leaves_the_file_that_was_there(tmp_path, cache):
    command("table", "densenet201", "-o", tmp_path / "warm.txt")  # so that the next ones need no torch
    cache.rename(tmp_path / "kept")
    env = {**os.environ, "CNNSCOPE_CACHE_DIR": str(tmp_path / "kept")}
    (tmp_path / "out").mkdir()
    for name, kind in (
        ("table.txt", "table"),
        ("table.json", "table"),
        ("net.svg", "graph"),
        ("net.memory.svg", "memory"),
    ):
        path = tmp_path / "out" / name
        for before in (None, "before"):
            if before:
                path.write_text(before)
            more = ["--svg"] if kind == "memory" else []
            done = command(kind, "densenet201", "-o", path, *more, env=env, preexec_fn=small_files)
            assert done.returncode == 2 and "file too large" in done.stderr, done.stderr
            assert len(done.stderr.splitlines()) == 1 and str(path) in done.stderr
            assert (path.read_text() if before else not path.exists()) in ("before", True)
        path.unlink()
        assert not list((tmp_path / "out").iterdir()), "nothing half written is left"


def test_a_full_disk_keeps_no_trace_and_costs_no_answer(cache):
    done = command("table", "densenet201", preexec_fn=small_files)
    assert done.returncode == 0 and done.stderr == "" and "20,013,928" in done.stdout
    assert not list(cache.iterdir())


@pytest.fixture
def full(tmp_path):
    """A file system of 64 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount a small file system")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_small_file_system(full):
    (full / "old.txt").write_text("before")
    with pytest.raises(outputs.UnwritableOutput, match="no space left on device"):
        outputs.write(full / "old.txt", "x" * 10**6)
    assert (full / "old.txt").read_text() == "before" and os.listdir(full) == ["old.txt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no /dev/full")
@pytest.mark.parametrize("arguments", [["list"], ["list", "-o", "/dev/full"], ["cache", "info"]])
def test_a_full_output_is_one_line(arguments):
    with open("/dev/full", "w") as full:
        line = [sys.executable, "-c", PROGRAM, *arguments]
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 2 and "no space left" in done.stderr and len(done.stderr.splitlines()) == 1


# -- killed, and two at once ------------------------------------------------------------------------------------------

WRITER = """
import itertools, sys
from cnnscope import outputs
print("ready", flush=True)
for letter in itertools.cycle(sys.argv[2]):
    outputs.write(sys.argv[1], letter * 3_000_000)
"""


def test_killed_writers_leave_a_whole_file(tmp_path):
    path = tmp_path / "table.txt"
    for round_ in range(4):
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, path, letters], stdout=subprocess.PIPE)
            for letters in ("ab", "cd")
        ]
        for writer in writers:
            assert writer.stdout.readline() == b"ready\n"
        until = time.monotonic() + 0.05 + 0.03 * round_
        while time.monotonic() < until or not path.exists():
            if path.exists():
                seen = path.read_bytes()
                assert len(seen) == 3_000_000 and len(set(seen)) == 1
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            writer.communicate()
        content = path.read_bytes()
        assert len(content) == 3_000_000 and len(set(content)) == 1
    left = [each for each in tmp_path.iterdir() if each != path]
    assert all(each.name.startswith(".table.txt.") and each.name.endswith(".part") for each in left)
    for each in left:
        os.utime(each, (0, 0))
    outputs.write(path, "again")
    assert os.listdir(tmp_path) == ["table.txt"], "what was left by the killed goes with the next one"


def test_many_threads_write_the_same_file(tmp_path):
    failed = []

    def write(letter):
        try:
            for _ in range(20):
                outputs.write(tmp_path / "x", letter * 100_000)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    content = (tmp_path / "x").read_bytes()
    assert not failed and len(content) == 100_000 and len(set(content)) == 1 and os.listdir(tmp_path) == ["x"]


def test_an_interrupted_command_writes_nothing(tmp_path):
    """Ctrl-C while the model is being traced."""
    (tmp_path / "net.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    line = ["table", f"{tmp_path / 'net.py'}:Net", "--input", "1x3", "-o", tmp_path / "table.txt"]
    # Whoever runs the tests in the background has them ignore this signal, and children inherit that.
    done = command(*line, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    assert done.returncode == 130 and done.stdout == "" and "Traceback" not in done.stderr
    assert os.listdir(tmp_path) in (["net.py"], ["__pycache__", "net.py"], ["net.py", "__pycache__"])


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "no/such/folder/x", "."])
def test_a_file_that_cannot_be_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(outputs.UnwritableOutput, match="cannot write"):
        outputs.write(name, "text")
    assert not os.listdir(tmp_path)


def test_a_name_as_long_as_may_be(tmp_path):
    name = "x" * os.pathconf(tmp_path, "PC_NAME_MAX")
    outputs.write(tmp_path / name, "text")
    assert (tmp_path / name).read_text() == "text" and os.listdir(tmp_path) == [name]
