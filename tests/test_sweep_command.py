"""``cnnscope sweep``: its files and its terminal, and what becomes of it when it is stopped in the middle."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from cnnscope.cli import main

NETS = Path(__file__).with_name("sweep_nets.py")
PROGRAM = "from cnnscope.cli import main; main()"
TOLD = "import sys\nfrom cnnscope.cli import main\ntry: main()\nfinally: print('torch' in sys.modules, file=sys.stderr)"
SLOW = [f"nets.py:Good(width={width}, wait=0.2)" for width in range(1, 9)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sweep")


@pytest.fixture
def place(folder, monkeypatch):
    """The current folder, with the networks and nothing else; one for all tests, for workers to be kept."""
    for each in folder.iterdir():
        each.unlink()
    shutil.copy(NETS, folder / "nets.py")
    monkeypatch.chdir(folder)


def run(*arguments, code=0, width=80):
    result = CliRunner().invoke(main, ["sweep", *map(str, arguments)], env={"COLUMNS": str(width)})
    assert result.exit_code == code, result.output
    return result


def started(*arguments, program=PROGRAM, **options):
    line = [sys.executable, "-c", program, "sweep", *map(str, arguments)]
    return subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)


def rows_in(path):
    """The rows of a JSON file without the one column that a clock fills."""
    return [{**row, "trace_seconds": None} for row in json.loads(Path(path).read_text())["rows"]]


def lines_in(path):
    return Path(path).read_text().splitlines() if Path(path).exists() else []


# -- files ------------------------------------------------------------------------------------------------------------


def test_every_format_has_the_same_rows(place):
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet needs the extra of that name")
    common = ["nets.py:Good", "nets.py:Raises", "-b", "1,2", "--input", "1x3x32x32", "--journal", "rows", "-j", "2"]
    for ending in ("json", "csv", "parquet", "md", "txt"):
        run(*common, "-o", f"a.{ending}")
    found = json.loads(Path("a.json").read_text())
    assert found["schema_version"] == 1 and found["title"] == "sweep" and found["total"] == found["missing"] == {}
    rows = found["rows"]
    assert [row["name"] for row in rows] == [
        f"nets.py:{name} b{batch}" for name in ("Good", "Raises") for batch in (1, 2)
    ]
    assert rows[1]["macs"] == 2 * rows[0]["macs"] == 2 * 27 * 30 * 30 * 8 and rows[0]["error"] is None
    assert rows[2]["macs"] is None and rows[2]["error"].startswith("OSError: no weights here")
    table = parquet.read_table("a.parquet")
    assert table.to_pylist() == rows
    assert {str(table.schema.field(name).type) for name in ("batch", "params", "macs", "peak_requested")} == {"int64"}
    assert str(table.schema.field("low").type) == "double" and table.schema.field("macs").metadata[b"unit"] == b"MAC"
    for line, row in zip(csv.DictReader(lines_in("a.csv")), rows, strict=True):
        assert line["model"] == row["model"] and line["batch"] == str(row["batch"])
        assert all(line[name] == ("" if row[name] is None else str(row[name])) for name in line if name != "missing")
    assert any(line.startswith("| nets.py:Good b2 ") for line in lines_in("a.md"))
    for text in (Path("a.txt").read_text(), Path("a.md").read_text()):
        assert text.count("OSError: no weights here") == 1 and "(2 rows)" in text
    assert not [each for each in os.listdir() if each.endswith(".part")]


def test_missing_operators_are_named(place):
    Path("odd.py").write_text(
        "import torch\nclass Net(torch.nn.Module):\n"
        "    def forward(self, x): return torch.linalg.svdvals(x).cumsum(0)\n"
    )
    result = run("odd.py:Net", "--input", "4x8x8", "-j", "2", "-o", "a.csv", "--strict", code=1)
    assert "1 row" in result.stderr
    (line,) = csv.DictReader(lines_in("a.csv"))
    assert line["missing"].split() and line["error"] == ""


def test_a_table_of_80_columns(place):
    models = ["nets.py:Good", "nets.py:Raises", "lenet5", "resnet18"]
    shown = run(*models, "-b", "1,256", "--device", "h200", "-j", "2").stdout
    lines = shown.splitlines()
    assert "<0.01" not in shown, "the smallest is read too"
    assert max(map(len, lines)) <= 80
    head = next(line for line in lines if line.startswith("model"))
    assert all(word in head for word in ("params", "MACs", "peak", "reserved", "time"))
    assert shown.count("OSError") == 1 and "nets.py:Raises (2 rows): " in shown
    assert "4 of 8 rows could not be analysed whole" in " ".join(shown.split())
    assert "OSError: no weights here" in " ".join(shown.split())
    assert next(line for line in lines if line.startswith("resnet18 b256")).split()[2] == "11,689,512"


def test_models_from_a_file_and_the_last_line(place):
    Path("list").write_text("# three\nlenet5\nlenet5_modern\n")
    result = run("lenet5", "--from", "list", "-j", "2", "-o", "a.json")
    assert [row["model"] for row in rows_in("a.json")] == ["lenet5", "lenet5_modern"]
    assert result.stderr == "wrote a.json: 2 rows\n" and result.stdout == ""
    assert (
        run("lenet5", "--from", "list", "-o", "a.json").stderr
        == "wrote a.json: 2 rows, 2 of them from a.json.journal\n"
    )
    assert run("lenet5", "--from", "list", "-o", "a.json", "-q").stderr == ""


def test_strict(place):
    run("lenet5", "-j", "2", "--strict", "--journal", "rows")
    run("lenet5", "nets.py:Raises", "-j", "2", "--journal", "rows")
    run("lenet5", "nets.py:Raises", "-j", "2", "--journal", "rows", "--strict", code=1)


MISTAKES = {
    "no model": ([], ["no model is named"]),
    "nothing matches": (["vvgg*"], ["no model matches 'vvgg*'"]),
    "no numbers": (["vgg16", "-b", "1,x"], ["cannot read the numbers '1,x'", "160:320:32"]),
    "both": (["vgg16", "--input", "1x3x8x8", "--resolution", "64"], ["either --input or --resolution"]),
    "no image": (["vgg16", "--input", "3,8"], ["cannot read the input '3,8'"]),
    "no list": (["--from", "nothing"], ["cannot read the list of models 'nothing'"]),
    "no device": (["vgg16", "--device", "h2oo"], ["no device 'h2oo'"]),
    "no cluster": (["vgg16", "--scheduler", "tcp://a:1"], ["add --backend dask"]),
    "no folder": (["vgg16", "-o", "no/such/folder/a.csv"], ["no/such/folder/a.csv", "no such file"]),
    "a folder": (["vgg16", "-o", "."], ["is a directory"]),
    "a step's option": (["vgg16", "--optimizer", "adam"], ["add --train"]),
    "no jobs": (["vgg16", "-j", "0"], ["'--jobs'"]),
    "no time": (["vgg16", "--timeout", "0"], ["'--timeout'"]),
}


@pytest.mark.parametrize("arguments, words", MISTAKES.values(), ids=MISTAKES)
def test_mistakes(arguments, words, place):
    before = os.listdir()
    result = run(*arguments, code=2)
    assert all(word in result.stderr for word in words), result.stderr
    assert result.stdout == "" and len(result.stderr.splitlines()) <= 3 and os.listdir() == before


def test_no_parquet_without_pyarrow(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = run("vgg16", "-o", "a.parquet", code=2)
    assert "pip install 'cnnscope[parquet]'" in result.stderr and os.listdir() == ["nets.py"]


def test_mistakes_and_known_rows_need_no_torch(place):
    run("lenet5", "nets.py:Good", "--input", "1x1x32x32", "-j", "2", "-o", "a.json")
    for arguments, code in (
        (["lenet5", "nets.py:Good", "--input", "1x1x32x32", "-o", "a.json"], 0),
        (["vvgg*"], 2),
        (["vgg16", "--device", "h2oo"], 2),
    ):
        process = started(*arguments, program=TOLD)
        errors = process.communicate(timeout=60)[1]
        assert process.returncode == code and errors.splitlines()[-1] == "False", errors


# -- stopped in the middle --------------------------------------------------------------------------------------------


def until_some_rows(process, count=2):
    end = time.monotonic() + 60
    while len(lines_in("a.json.journal")) < count:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("how", ["kill", "interrupt"])
def test_a_sweep_that_was_stopped_goes_on(place, how):
    arguments = [*SLOW, "-b", "1,2", "--input", "1x3x16x16", "-j", "2", "-o", "a.json"]
    process = started(*arguments, start_new_session=True)
    until_some_rows(process)
    if how == "kill":
        os.killpg(process.pid, signal.SIGKILL)  # the workers too; their servers are sessions of their own
        process.communicate(timeout=60)
    else:
        os.killpg(process.pid, signal.SIGINT)
        errors = process.communicate(timeout=60)[1]
        assert process.returncode == 130 and "Traceback" not in errors
        assert "of 16 rows are done and kept in a.json.journal\nrun the same command again" in errors
    assert not Path("a.json").exists()
    with Path("a.json.journal").open("a") as file:
        file.write('{"key": "half a li')
    done = {json.loads(line)["found"]["params"] // 28 for line in lines_in("a.json.journal")[:-1]}
    assert 0 < len(done) < len(SLOW)
    time.sleep(1.5)  # what is still running ends
    Path("made.txt").unlink()
    run(*arguments, "-q")
    again = {int(line.split()[0]) for line in lines_in("made.txt")}
    assert again | done == set(range(1, 9)) and len(again & done) <= 2, "but for models of which some rows were done"
    run(*arguments[:-1], "b.json", "-q")
    assert rows_in("a.json") == rows_in("b.json")
    assert len(lines_in("made.txt")) >= len(again) + len(SLOW), "the second file has a journal of its own"


def test_what_is_done_is_shown_when_there_is_no_file(place):
    process = started(*SLOW, "--input", "1x3x16x16", "-j", "1", "--format", "json", start_new_session=True)
    while len(lines_in("made.txt")) < 4:
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "with -o FILE they would be kept" in errors
    names = [row["name"] for row in json.loads(output)["rows"]]
    assert names == SLOW[: len(names)] and 2 <= len(names) < len(SLOW)
