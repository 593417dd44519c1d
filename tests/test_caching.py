"""The cache of traces: a graph read back is the graph that was kept, and nothing that happens to its files matters."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from functools import cached_property
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_models import RandomNet, recipes

from cnnscope import caching, encoding, origins, outputs, zoo
from cnnscope.cli import main
from cnnscope.errors import UnwritableOutput
from cnnscope.graph import ModelGraph, Op, Storage, Value
from cnnscope.targets import load
from cnnscope.tracing import trace

PROGRAM = "from cnnscope.cli import main; main()"
TRACE = (
    "import sys\nfrom cnnscope.cli import main\ntry: main()\nfinally: print('torch' in sys.modules, file=sys.stderr)"
)


def contents(graph: ModelGraph) -> dict[str, str]:
    """Every field of a graph as text, in which 1, 1.0 and True differ."""
    lazily = {name for name, each in vars(ModelGraph).items() if isinstance(each, cached_property)}
    return {name: repr(value) for name, value in vars(graph).items() if name not in lazily and name != "_by_name"}


def command(*arguments: str, program: str = PROGRAM, **options) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", program, *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, **options)


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, list(arguments), env={"COLUMNS": "100"})
    assert result.exit_code == code, result.output
    return result.stdout


# -- what is kept is what comes back ----------------------------------------------------------------------------------

SAMPLE = ("lenet5", "googlenet", "densenet_bc", "nasnet_a_mobile", "fractalnet20", "squeezenet1_0")


def _zoo_graph(name: str) -> ModelGraph:
    found = load(name)
    return trace(found.model, found.default_input[0], name=found.name)


@pytest.mark.parametrize("name", [name for name in SAMPLE if name in zoo.names()])
def test_a_graph_of_the_zoo_comes_back_as_it_was(name):
    graph = _zoo_graph(name)
    assert contents(encoding.decoded(encoding.encoded(graph))) == contents(graph)


def test_a_training_step_comes_back_as_it_was():
    found = load("lenet5_modern")
    graph = trace(found.model, found.default_input[0], train=True, optimizer="adam", accumulate=2)
    again = encoding.decoded(encoding.encoded(graph))
    assert contents(again) == contents(graph) and again.run == graph.run and type(again.run) is type(graph.run)


@pytest.mark.slow
def test_every_graph_of_the_zoo_comes_back_as_it_was():
    for name in zoo.names():
        graph = _zoo_graph(name)
        assert contents(encoding.decoded(encoding.encoded(graph))) == contents(graph), name


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(recipes())
def test_a_graph_of_any_network_comes_back_as_it_was(recipe):
    net = RandomNet(recipe)
    graph = trace(net, net.shape)
    assert contents(encoding.decoded(encoding.encoded(graph))) == contents(graph)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.complex_numbers(allow_nan=False)
)
attributes = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=6)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(), attributes, max_size=4), st.text())
def test_arguments_of_every_kind_come_back_as_they_were(attrs, name):
    value = Value(name, (2, 3), "float32", 0)
    op = Op("op", "kind", (value,), (), (), attrs, name, "forward", ("self",))
    graph = ModelGraph(name, (op,), (Storage(0, 24, "input", -1, None),), inputs=(value,))
    assert contents(encoding.decoded(encoding.encoded(graph))) == contents(graph)


def test_equal_parts_are_shared_as_in_a_trace():
    def parts(graph):
        return {id(part) for op in graph for part in (*op.inputs, *op.outputs, op.attrs, op.roles)}

    graph = _zoo_graph("densenet201")
    assert len(parts(encoding.decoded(encoding.encoded(graph)))) <= len(parts(graph))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_bytes_are_told_from_a_graph(data):
    whole = encoding.encoded(_SMALL)
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        broken = whole[:place]
    else:
        broken = whole[:place] + bytes([whole[place] ^ data.draw(st.integers(1, 255))]) + whole[place + 1 :]
    with pytest.raises(ValueError, match="graph"):
        encoding.decoded(broken)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"shared": 3}', '{"shared": [{}]}', "[" * 9999, '{"ops": null}'])
def test_other_contents_with_a_right_checksum_are_no_graph(text):
    body = zlib.compress(text.encode())
    with pytest.raises(ValueError, match="not an encoded graph"):
        encoding.decoded(encoding._HEAD + zlib.crc32(body).to_bytes(4, "big") + body)


_SMALL = _zoo_graph("lenet5_modern")


# -- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["table", "lenet5_modern", "--format", "json"],
        ["table", "lenet5_modern", "-b", "4", "--by", "op"],
        ["table", "wrn(depth=10,k=1)", "--fused"],
        ["graph", "lenet5_modern", "-o", "-"],
        ["compare", "lenet5_modern", "lenet5", "--input", "1x1x32x32"],
        ["size", "lenet5_modern", "--bits", "8"],
        ["table", "torchvision:squeezenet1_1"],
        ["claims", "lenet5"],
        ["memory", "lenet5_modern", "--train", "--optimizer", "adam"],
        ["memory", "lenet5_modern", "--max-batch", "--budget", "1GiB"],
        ["reconcile", "squeezenet1_1", "--no-tools"],
    ],
    ids=" ".join,
)
def test_a_command_says_the_same_from_the_cache_and_without_torch(arguments, cache):
    fresh = run(*arguments)
    assert os.listdir(cache)
    again = command(*arguments, program=TRACE, env={**os.environ, "COLUMNS": "100"})
    assert again.returncode == 0 and again.stderr.splitlines()[-1] == "False", again.stderr
    assert again.stdout == fresh


def test_the_first_time_torch_is_imported(cache):
    done = command("table", "lenet5_modern", program=TRACE)
    assert done.stderr.splitlines()[-1] == "True", "or the test above would prove nothing"


def test_no_cache_neither_reads_nor_writes(cache, monkeypatch):
    run("table", "lenet5_modern", "--no-cache")
    run("claims", "lenet5", "--no-cache")
    assert not cache.exists()
    monkeypatch.setenv("CNNSCOPE_NO_CACHE", "1")
    run("table", "lenet5_modern")
    assert not cache.exists() and "CNNSCOPE_NO_CACHE" in run("cache", "info")
    monkeypatch.setenv("CNNSCOPE_NO_CACHE", "0")
    run("table", "lenet5_modern")
    (entry,) = cache.iterdir()
    entry.write_bytes(encoding.encoded(ModelGraph("other", (), ())))
    assert "other" in run("table", "lenet5_modern"), "this is how a hit looks"
    assert "other" not in run("table", "lenet5_modern", "--no-cache")


def test_a_model_of_the_users_is_not_kept(cache, tmp_path):
    (tmp_path / "net.py").write_text("from torch import nn\nnet = nn.Linear(2, 2)\n")
    run("table", f"{tmp_path / 'net.py'}:net", "--input", "1x2")
    run("table", "torch.nn:Linear(2, 2)", "--input", "1x2")
    assert not cache.exists()


def test_a_crosscheck_gets_its_model_behind_a_graph_from_the_cache(cache):
    assert run("table", "lenet5_modern", "--crosscheck") == run("table", "lenet5_modern", "--crosscheck")


def test_an_error_is_not_kept(cache):
    for _ in range(2):
        run("table", "vgg16", "--input", "1x3x16x16", code=2)
    assert not cache.exists()


def test_info_and_clear(cache):
    run("table", "lenet5_modern")
    (cache / "notes.txt").write_text("mine")
    (cache / ("0" * 40 + ".graph")).mkdir()
    plain = json.loads(run("cache", "info", "--format", "json"))
    assert plain["folder"] == str(cache) and plain["entries"] == 1 and plain["used"] is True
    assert plain["bytes"] == max(path.stat().st_size for path in cache.glob("*.graph") if path.is_file())
    assert str(cache) in run("cache", "info") and "1, " in run("cache", "info")
    assert run("cache", "clear") == f"removed 1 trace from {cache}\n"
    assert sorted(path.name for path in cache.iterdir()) == ["0" * 40 + ".graph", "notes.txt"]
    assert run("cache", "clear").startswith("removed 0 traces")


# -- keys -------------------------------------------------------------------------------------------------------------


def test_whatever_a_trace_depends_on_makes_another_key(cache, monkeypatch):
    def key():
        return caching.key("vgg16", None)

    before = key()
    keys = [before, caching.key("vgg19", None), caching.key("vgg16", None, batch=2)]
    keys += [caching.key("vgg16", [((1, 3, 224, 224), dtype, "")]) for dtype in ("float32", "float16")]
    keys += [caching.key("vgg16", None, train=True), caching.key("vgg16", None, cut_short=True)]
    keys += [caching.key("wrn(depth=28)", None), caching.key("wrn(depth=16)", None), caching.key("timm:vgg16", None)]
    for name, other in {"release": "3.0", "own_source": "another", "switches": [("TIMM_FUSED_ATTN", "0")]}.items():
        with monkeypatch.context() as patch:
            patch.setattr(origins, name, lambda *_, other=other: other)
            keys.append(key())
    assert None not in keys and len(set(keys)) == len(keys)
    assert key() == before
    assert [caching.key(target, None) for target in ("net.py:Net", "net.py", "package.net:Net", "a.onnx")] == [None] * 4


def test_the_digest_covers_the_zoo_and_what_traces(tmp_path, monkeypatch):
    """Each file that the trace runs: those that torch's side of the package loads, and all architectures."""
    covered = {
        path.removeprefix(os.path.dirname(caching.__file__))
        for path in origins.python_files(os.path.dirname(caching.__file__), origins.APART)
    }
    program = (
        "import sys\nfrom cnnscope import targets, tracing\n"
        "f = targets.load('lenet5'); tracing.trace(f.model, f.default_input[0])\n"
        "print(*[m.__file__ for n, m in sys.modules.items() if n.startswith('cnnscope')], sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    used = {path.removeprefix(os.path.dirname(caching.__file__)) for path in done.stdout.split()}
    assert len(used) > 15 and used <= covered


def test_a_library_that_changes_makes_another_key(tmp_path, cache, monkeypatch):
    (tmp_path / "timm" / "models").mkdir(parents=True)
    (tmp_path / "timm" / "__init__.py").write_text("")
    (tmp_path / "timm" / "version.py").write_text("__version__ = '9'\n")
    (tmp_path / "timm" / "models" / "net.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    keys = []
    for text in ("x = 1\n", "x = 12\n"):
        (tmp_path / "timm" / "models" / "net.py").write_text(text)
        origins.stamps.cache_clear()
        origins.release.cache_clear()
        keys.append(caching.key("timm:net", None))
    origins.stamps.cache_clear()
    origins.release.cache_clear()
    assert len(set(keys)) == 2


# -- files and faults -------------------------------------------------------------------------------------------------


def test_a_damaged_entry_is_replaced(cache):
    expected = run("table", "lenet5_modern")
    (entry,) = cache.iterdir()
    whole = entry.read_bytes()
    for broken in (b"", whole[: len(whole) // 2], b"\0" * len(whole), whole + b"more"):
        entry.write_bytes(broken)
        assert run("table", "lenet5_modern") == expected
        assert contents(encoding.decoded(entry.read_bytes())) == contents(encoding.decoded(whole))


def test_the_least_recently_used_go_first(cache, monkeypatch):
    size = len(encoding.encoded(_SMALL))
    monkeypatch.setattr(caching, "LIMIT", 5 * size)
    names = [f"{number:040x}" for number in range(6)]
    for age, name in enumerate(names[:5]):
        caching.keep(name, _SMALL)
        os.utime(cache / f"{name}.graph", (1000 + age, 1000 + age))
    assert caching.recall(names[0]) is not None, "which makes it the youngest"
    caching.keep(names[5], _SMALL)
    left = {path.stem for path in cache.iterdir()}
    assert {names[0], names[5]} <= left and names[1] not in left
    assert sum(path.stat().st_size for path in cache.iterdir()) <= 4 * size


WRITER = """
import itertools, sys
from cnnscope import caching, encoding
graph = encoding.decoded(open(sys.argv[1], "rb").read())
print("ready", flush=True)
for number in itertools.count():
    caching.keep(f"{number % 3:040x}", graph)
"""


def test_writers_that_are_killed_and_readers_between_them(cache, tmp_path):
    (tmp_path / "graph").write_bytes(encoding.encoded(_zoo_graph("googlenet")))
    expected = contents(encoding.decoded((tmp_path / "graph").read_bytes()))
    chance, seen = random.Random(0), 0
    for _ in range(4):
        line = [sys.executable, "-c", WRITER, str(tmp_path / "graph")]
        writers = [subprocess.Popen(line, stdout=subprocess.PIPE) for _ in range(2)]
        for writer in writers:
            assert writer.stdout.readline() == b"ready\n"
        until = time.monotonic() + 0.1 + 0.2 * chance.random()
        while time.monotonic() < until:
            graph = caching.recall(f"{chance.randrange(3):040x}")
            seen += graph is not None
            assert graph is None or contents(graph) == expected
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            writer.communicate()
    assert seen
    entries = list(cache.glob("*.graph"))
    assert len(entries) == 3 and all(contents(encoding.decoded(each.read_bytes())) == expected for each in entries)
    left = cache / f".{0:040x}.graph.99999.part"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    caching.keep("f" * 40, _SMALL)
    assert not left.exists(), "what a killed writer left goes with the next entry"


def test_a_folder_that_takes_nothing_is_no_error(tmp_path, monkeypatch, cache):
    expected = run("table", "lenet5_modern", "--no-cache")
    (tmp_path / "file").write_text("")
    for place in ("/dev/null/cache", "/proc/cnnscope", str(tmp_path / "file")):
        monkeypatch.setenv("CNNSCOPE_CACHE_DIR", place)
        assert run("table", "lenet5_modern") == expected
        assert run("cache", "clear").startswith("removed 0")
    assert "cannot be written" in run("cache", "info")


@pytest.fixture
def locked(monkeypatch):
    """A cache with one entry in a folder that this process may read and not write, be it root or not."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        monkeypatch.delenv("CNNSCOPE_NO_CACHE")
        monkeypatch.setenv("CNNSCOPE_CACHE_DIR", name)
        caching.keep("0" * 40, _SMALL)
        (place / ("0" * 40 + ".graph")).chmod(0o444)
        place.chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.setresuid(65534, 65534, 0)
        yield place
        if root:
            os.setresuid(0, 0, 0)
        place.chmod(0o755)


def test_a_folder_that_may_only_be_read_is_no_error(locked):
    graph = caching.recall("0" * 40)
    assert graph is not None and contents(graph) == contents(_SMALL)
    caching.keep("0" * 40, graph)
    caching.keep("1" * 40, graph)
    assert [path.stem for path in locked.iterdir()] == ["0" * 40] and not caching.contents().writable
    with pytest.raises(UnwritableOutput, match=r"cannot remove .*permission denied"):
        caching.clear()
    with pytest.raises(UnwritableOutput, match="permission denied"):
        outputs.write(locked / "new.txt", "text")
    assert len(list(locked.iterdir())) == 1
