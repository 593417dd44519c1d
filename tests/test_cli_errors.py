"""Every mistake: one clear error of one to three plain lines, exit code 2, no traceback, nothing left behind."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest
from click.testing import CliRunner

from cnnscope import outputs
from cnnscope.cli import main
from cnnscope.errors import UnwritableOutput

NETS = """
from torch import nn

class Flow(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x

class Raises(nn.Module):
    def forward(self, x):
        raise LookupError("the user's own words\\nand more of them\\nand more\\nand more")

class Broken(nn.Module):
    def __init__(self):
        raise OSError("no weights here")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


MISTAKES = {
    "wrong name": (["table", "resnet51"], ["no architecture 'resnet51'", "'resnet50'"]),
    "wrong name of a library": (["table", "torchvision:resnet51"], ["no model 'resnet51'", "closest"]),
    "no such file": (["table", "there.py:Net"], ["no file 'there.py'"]),
    "file without a name": (["table", "nets.py"], ["nets.py:Net"]),
    "no such class": (["table", "nets.py:Nat", "--input", "1x3"], ["has no 'Nat'", "Flow"]),
    "code that fails": (["table", "nets.py:Broken", "--input", "1x3"], ["OSError: no weights here", "nets.py:Broken"]),
    "no input known": (["table", "nets.py:Flow"], ["--input 1x3x224x224"]),
    "wrong channel count": (["table", "vgg16", "--input", "1x4x224x224"], ["conv1_1 (Conv2d)", "1x4x224x224"]),
    "too small an input": (["table", "vgg16", "--input", "1x3x16x16"], ["pool5 (MaxPool2d)", "--input"]),
    "other size than the classifier takes": (["table", "vgg16", "--input", "1x3x96x96"], ["fc6 (Linear)"]),
    "too many inputs": (["table", "vgg16", "--input", "1x3x224x224", "--input", "1x2"], ["224, 1x2", "--input"]),
    "flow that depends on data": (
        ["table", "nets.py:Flow", "--input", "1x3", "--device-trace", "meta"],
        ["forward of Flow", "values"],
    ),
    "forward that raises": (["table", "nets.py:Raises", "--input", "1x3"], ["LookupError: the user's own words"]),
    "input that cannot be read": (["table", "vgg16", "--input", "3,224,224"], ["'3,224,224'", "1x3x224x224"]),
    "no such type": (["table", "vgg16", "--input", "1x3x224x224:int99"], ["no type 'int99'"]),
    "no such column": (["table", "vgg16", "--columns", "colour"], ["no column 'colour'", "receptive_field"]),
    "no such column to sort by": (["table", "vgg16", "--sort", "colour"], ["no column 'colour'", "macs"]),
    "no such folder": (["table", "vgg16", "-o", "no/such/folder/x.txt"], ["no/such/folder/x.txt", "no such file"]),
    "a folder as file": (["table", "vgg16", "-o", "."], ["is a directory"]),
    "a name that no file can have": (["table", "vgg16", "-o", "a\0b"], ["no file can have that name", "-o"]),
    "no such part of the cache": (["cache", "empty"], ["No such command 'empty'", "--help"]),
    "no such format of the cache": (["cache", "info", "--format", "xml"], ["'xml'", "json"]),
    "no such exported program": (["table", "net.pt2"], ["no file 'net.pt2'"]),
    "no such option": (["table", "vgg16", "--colour"], ["--colour", "--help"]),
    "no such format": (["table", "vgg16", "--format", "pdf"], ["'pdf'", "json"]),
    "no such command": (["tabel", "vgg16"], ["No such command 'tabel'", "--help"]),
    "no model": (["table"], ["MODEL"]),
    "batch of nothing": (["table", "vgg16", "-b", "0"], ["--batch-size"]),
    "options that exclude one another": (["table", "vgg16", "--style", "slide", "--depth", "1"], ["--style slide"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_error(mistake, folder):
    arguments, words = MISTAKES[mistake]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2 and result.stdout == ""
    lines = result.stderr.splitlines()
    assert 1 <= len(lines) <= 3 and lines[0].startswith("cnnscope: ") and all(lines), lines
    assert "Traceback" not in result.stderr and "internal error" not in result.stderr
    for word in words:
        assert word in result.stderr
    assert sorted(os.listdir(folder)) in (["nets.py"], ["__pycache__", "nets.py"]), "nothing is left behind"


def test_a_defect_of_ours_is_said_to_be_one(monkeypatch):
    def defect(*_):
        raise ZeroDivisionError("by us")

    monkeypatch.setattr("cnnscope.zoo.catalog", defect)
    result = CliRunner().invoke(main, ["list"])
    assert result.exit_code == 2
    assert result.stderr == "cnnscope: internal error: ZeroDivisionError: by us; run again with --traceback\n"


@pytest.mark.parametrize("place", ["before", "behind"])
def test_traceback_shows_the_users_line(folder, place):
    command = ["table", "nets.py:Raises", "--input", "1x3"]
    arguments = ["--traceback", *command] if place == "before" else [*command, "--traceback"]
    program = "from cnnscope.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "Traceback" in done.stderr and 'raise LookupError("the user' in done.stderr


# -- writing files ---------------------------------------------------------------------------------------------------


def test_a_file_is_replaced_whole_and_keeps_its_mode(tmp_path):
    path = tmp_path / "a.txt"
    outputs.write(path, "one")
    path.chmod(0o640)
    outputs.write(path, b"two")
    assert path.read_bytes() == b"two" and stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_link_is_followed_and_stays_a_link(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "file")
    outputs.write(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "folder" / "file").read_text() == "text"


def test_a_device_is_written_to_and_not_replaced():
    outputs.write(os.devnull, "text")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_failure_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UnwritableOutput, match="no space left on device") as caught:
        outputs.write(path, "after")
    assert str(path) in str(caught.value)
    assert path.read_text() == "before" and os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_file_that_may_not_be_written_is_not_replaced(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    path.chmod(0o400)
    with pytest.raises(UnwritableOutput, match="permission denied"):
        outputs.write(path, "after")
    assert path.read_text() == "before"


def test_a_path_through_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableOutput, match="not a directory"):
        outputs.write(tmp_path / "file" / "below", "text")
