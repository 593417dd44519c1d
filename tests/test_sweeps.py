"""Sweeps: the rows are those of direct traces, whatever the settings, the order in which they end, or neighbours."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cnnscope
from cnnscope import libraries, origins, zoo
from cnnscope.devices import device
from cnnscope.errors import CnnscopeError, UnusableBackend, UnusableInput, UnusableTarget
from cnnscope.inputs import arguments, chosen
from cnnscope.sweeping import asking, journals
from cnnscope.sweeping.requests import MOST, Item, Request, Setting, by_target, items, numbers
from cnnscope.sweeping.selecting import listed_in, selected
from cnnscope.sweeping.spreading import Workers, workers
from cnnscope.targets import load

NETS = Path(__file__).with_name("sweep_nets.py")
IMAGE = "1x3x32x32"


def plain(table):
    """The rows without the one column that a clock fills."""
    return [dataclasses.replace(row, trace_seconds=None) for row in table.values()]


def needs_torchvision():
    if find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the networks, which is the current one for the module."""
    folder, before = tmp_path_factory.mktemp("sweep"), os.getcwd()
    shutil.copy(NETS, folder / "nets.py")
    os.chdir(folder)
    yield folder
    os.chdir(before)


# -- the rows are those of direct traces ------------------------------------------------------------------------------


def direct(target, batch, resolution=None, texts=(), **run):
    found = load(target)
    args, _ = arguments(chosen(texts, found.default_input, batch, target, found.dtypes, resolution))
    return cnnscope.trace(found.model, args, name=found.name, **run)


def equals(row, graph, device=None):
    total, peak = cnnscope.layers(graph).total, cnnscope.memory(graph, device).total
    for name in ("params", "trainable", "macs", "flops", "activation", "missing"):
        assert getattr(row, name) == getattr(total, name), name
    assert row.peak_requested == peak.peak_requested == peak.peak
    assert row.depth == cnnscope.depth(graph).total.depth
    assert row.input == graph.input_text
    if device:
        names = ("peak_allocated", "peak_reserved", "upper_bound")
        assert [getattr(row, name) for name in names] == [getattr(peak, name) for name in names]
    else:
        assert row.peak_allocated is row.peak_reserved is row.upper_bound is row.fits is row.low is None


def test_rows_are_direct_traces(place):
    targets = ["resnet18", "nets.py:Good(width=4)", "torchvision:squeezenet1_1", "unet_of_nobody"]
    needs_torchvision()
    found = cnnscope.sweep(targets, batch_sizes=[1, 3, 5], resolutions=[64, 96], jobs=2, timeout=60)
    rows = list(found.values())
    assert [(row.model, row.batch, row.resolution) for row in rows] == [
        (target, batch, side) for target in targets for batch in (1, 3, 5) for side in (64, 96)
    ]
    for row in rows:
        if row.model in ("resnet18", "torchvision:squeezenet1_1"):
            equals(row, direct(row.model, row.batch, row.resolution))
            assert row.error is None and row.traced_on == "meta" and row.trace_seconds > 0
        else:
            reason = "no input shape is known" if row.model.startswith("nets") else "no architecture 'unet_of_nobody'"
            assert reason in row.error and row.params is row.macs is row.peak_requested is row.depth is None


@pytest.mark.parametrize("run", [{}, {"train": True, "optimizer": "adam", "dtype": "bf16"}])
def test_rows_on_a_device_are_those_of_memory_and_roofline(place, run):
    found = cnnscope.sweep("resnet18", batch_sizes=[2, 7], device="h200", jobs=2, **run)
    for row in found.values():
        graph = direct("resnet18", row.batch, device="cuda", **run)
        equals(row, graph, "h200")
        time_ = cnnscope.roofline(graph, device("h200")).total
        assert (row.low, row.high) == (time_.low, time_.high) and 0 < row.low < row.high
        assert row.fits is True
    assert "H200" in found.notes[-1] or "h200" in found.notes[-1]


def test_operators_of_a_gpu_do_not_run_on_the_cpu(place):
    (row,) = cnnscope.sweep("nets.py:AsksForNumbers", input=IMAGE, device="h200", jobs=2).values()
    assert row.params is row.traced_on is None
    assert "cannot be called on meta tensors" in row.error and "device_trace" not in row.error


def test_what_does_not_fit_says_so(place):
    found = cnnscope.sweep("vgg16", batch_sizes=[1, 4096], device="t4", jobs=2)
    assert [row.fits for row in found.values()] == [True, False]


def test_the_cache_is_that_of_the_other_commands(place, cache):
    from click.testing import CliRunner

    from cnnscope.cli import main

    assert CliRunner().invoke(main, ["table", "lenet5", "-b", "3"]).exit_code == 0
    kept = set(cache.iterdir())
    first = cnnscope.sweep("lenet5", batch_sizes=[3], jobs=2)
    assert set(cache.iterdir()) == kept, "found there"
    again = cnnscope.sweep("lenet5", batch_sizes=[3, 4], jobs=2)
    assert len(set(cache.iterdir())) == len(kept) + 1 and plain(again)[:1] == plain(first)
    cnnscope.sweep("lenet5", batch_sizes=[5], jobs=2, cache=False)
    assert len(set(cache.iterdir())) == len(kept) + 1


# -- bad neighbours ---------------------------------------------------------------------------------------------------


def test_a_bad_model_costs_its_rows_and_no_others(place):
    ends = ["Exits", "Raises", "Quits", "HangsAtTwo", "CrashesAtTwo", "KillsItsParent"]
    others = ["Writes", "Fixed", "AsksForNumbers", "Good(width=9)"]
    targets = [f"nets.py:{name}" for name in ("Good", *ends, *others)]
    found = cnnscope.sweep(targets, batch_sizes=[1, 2, 3], input=IMAGE, jobs=2, timeout=4)
    assert list(found) == [f"{target} b{batch}" for target in targets for batch in (1, 2, 3)]
    errors = {row.name.removeprefix("nets.py:"): row.error for row in found.values() if row.error}
    for batch in (1, 2, 3):
        assert errors.pop(f"Exits b{batch}") == "its process ended by itself, with code 3; it said: I am leaving"
        assert "OSError: no weights here" in errors.pop(f"Raises b{batch}")
        assert errors.pop(f"Quits b{batch}") == "SystemExit: 4"
        assert "was killed" in errors.pop(f"KillsItsParent b{batch}")
    assert errors.pop("HangsAtTwo b2") == "took more than 4 s (--timeout)"
    assert "SIGSEGV" in errors.pop("CrashesAtTwo b2")
    assert not errors
    for row in found.values():
        if row.error is None:
            width = 9 if "width" in row.model else 8
            assert (row.params, row.macs) == (28 * width, 27 * 30 * 30 * width * row.batch)
            assert row.traced_on == ("cpu" if "Asks" in row.model else "meta")
            assert row.peak_requested == found[f"{targets[0] if width == 8 else row.model} b{row.batch}"].peak_requested


def test_nothing_is_left_running(place):
    Path("made.txt").unlink(missing_ok=True)
    cnnscope.sweep("nets.py:HangsAtTwo", batch_sizes=[2], input=IMAGE, jobs=1, timeout=0.5)
    (line,) = Path("made.txt").read_text().splitlines()
    for pid in map(int, line.split()[1:]):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_rows_stand_in_the_order_of_the_request(place):
    Path("made.txt").unlink(missing_ok=True)
    targets = ["nets.py:Good(after=2)", "nets.py:Good(width=2)", "nets.py:Good(width=3)", "nets.py:Good(width=2)"]
    ended = []
    watch = lambda done, total, row: ended.append((done, total, row and row.model))  # noqa: E731
    found = cnnscope.sweep(targets, batch_sizes=[2, 2], input=IMAGE, jobs=2, timeout=30, watch=watch)
    assert [(row.model, row.batch) for row in found.values()] == [(t, b) for t in targets[:3] for b in (2,)]
    assert ended[0] == (0, 3, None) and [done for done, *_ in ended] == list(range(4))
    assert ended[1][2] != targets[0], "the first one did not end first"


# -- the journal ------------------------------------------------------------------------------------------------------


def test_what_is_done_is_not_done_again_unless_it_has_changed(place, tmp_path):
    journal, made = str(tmp_path / "rows"), Path("made.txt")

    def swept(**options):
        made.unlink(missing_ok=True)
        targets = ["nets.py:Good", "nets.py:Fixed"]
        found = cnnscope.sweep(targets, journal=journal, jobs=2, **{"input": "1x3x30x30", **options})
        return plain(found), len(made.read_text().splitlines()) if made.exists() else 0

    first, count = swept()
    assert count == 2 and "32 and nothing else" in first[1].error
    assert swept() == (first, 0)
    assert swept(retry=True) == (first, 1), "only what has an error"
    assert swept(train=True)[1] == 2 and swept(device="h200")[1] == 2 and swept(input=IMAGE)[1] == 2
    assert swept(batch_sizes=[1])[1] == 2
    assert swept() == (first, 0), "all of them are kept"
    source = Path("nets.py").read_text()
    Path("nets.py").write_text(source + "\n# another\n")
    try:
        assert swept() == (first, 2)
    finally:
        Path("nets.py").write_text(source)


def test_what_is_no_fault_of_the_model_is_not_kept(place, tmp_path):
    journal = tmp_path / "rows"
    (row,) = cnnscope.sweep("nets.py:KillsItsParent", input=IMAGE, journal=str(journal), jobs=2).values()
    assert "was killed" in row.error and journal.read_bytes() == b""


def test_a_worker_with_another_cnnscope_says_so(place):
    server = asking.Server(asking.surroundings())
    task = {"target": "lenet5", "settings": [[1, None], [2, None]], "request": Request()._asdict()}
    assert ["another cnnscope" in each["error"] for each in server.ask({**task, "stamp": ["older"]}, 2)] == [True] * 2
    assert [each["params"] for each in server.ask({**task, "stamp": journals.stamp()}, 2)] == [60_000] * 2
    server.close()
    assert not server.alive and server.ask(task, 1) == []


def test_a_row_depends_on_versions(monkeypatch):
    key, item = journals.keys(Request()), Item("vgg16", Setting(1))
    before = key(item)
    assert before == journals.keys(Request())(item) != key(item._replace(setting=Setting(2)))
    monkeypatch.setattr(origins, "release", lambda package: "another")
    assert journals.keys(Request())(item) != before
    monkeypatch.undo()
    monkeypatch.setenv("TIMM_FUSED_ATTN", "0")
    assert journals.keys(Request())(item) != before


@settings(max_examples=60, deadline=None)
@given(
    entries=st.lists(st.tuples(st.sampled_from("abcdef"), st.dictionaries(st.text(), st.integers()))),
    cut=st.floats(0, 1),
    noise=st.sampled_from([b"", b"\n", b"null\n", b"[1]\n", b'{"key": 1}\n', b"\xff\xfe\n", b'{"key": "z", "fo']),
)
def test_a_journal_that_was_cut_off_holds_its_whole_lines(tmp_path_factory, entries, cut, noise):
    path = tmp_path_factory.mktemp("journal") / "rows"
    journal = journals.Journal(str(path))
    for key, found in entries:
        journal.keep(key, found)
    journal.close()
    content = path.read_bytes()
    content = content[: round(cut * len(content))]
    path.write_bytes(content + noise)
    unended = content[-1:] == b"}" and noise[:1] in (b"", b"\n")  # a whole line but for its end
    whole = dict(entries[: content.count(b"\n") + unended])
    for more in ({}, {"after": {"it": 1}}):
        journal = journals.Journal(str(path))
        for key, found in more.items():
            journal.keep(key, found)
        assert {key: journal.recall(key) for key in [*whole, *more]} == {**whole, **more}
        assert all(journal.recall(key) is None for key in set("abcdefz") - set(whole))
        journal.close()
    last = journals.Journal(str(path))
    assert last.recall("after") == {"it": 1}
    last.close()


# -- what is asked for ------------------------------------------------------------------------------------------------

sizes = st.integers(1, 500)
parts = st.one_of(
    sizes.map(lambda size: (str(size), [size])),
    st.tuples(sizes, sizes, st.integers(1, 60)).map(
        lambda t: (f"{t[0]}:{t[0] + t[1]}:{t[2]}", [t[0] + n for n in range(t[1] + 1) if n % t[2] == 0])
    ),
)


@given(st.lists(parts, min_size=1, max_size=5))
def test_lists_of_numbers(given_parts):
    found = numbers(", ".join(text for text, _ in given_parts))
    expected = [number for _, group in given_parts for number in group]
    assert sorted(found) == sorted(set(expected))
    assert list(found) == sorted(found, key=expected.index), "in the order asked"


@pytest.mark.parametrize("text", ["", "0", "1,,2", "a", "8:4", "1:9:0", "1:2:3:4", "-1", "1.5", f"1:{MOST + 1}", "1,0"])
def test_what_is_no_list_of_numbers(text):
    with pytest.raises(UnusableInput, match="160:320:32"):
        numbers(text)


@given(st.lists(st.sampled_from("abc")), st.lists(sizes, max_size=3), st.lists(sizes, max_size=3), st.integers(1, 5))
def test_every_combination_once_and_portions_hold_each_of_them(targets, batches, sides, most):
    found = items(targets, batches, sides)
    assert len(set(found)) == len(found) == len(set(targets)) * max(len(set(batches)), 1) * max(len(set(sides)), 1)
    portions = list(by_target(found, most))
    assert sorted(item for _, some in portions for item in some) == sorted(found)
    assert all(0 < len(some) <= most and {item.target for item in some} == {target} for target, some in portions)


def test_patterns():
    def none(library):
        raise AssertionError(f"nobody asked for {library}")

    assert selected(["all"], none) == zoo.names()
    assert selected(["vgg1[69]", "VGG16"], none) == ["vgg16", "vgg19"]
    for target in ("a.py:Net(sizes=[1, 2])", "dir[1]/*.py:Net", "*.onnx"):
        assert selected([target], none) == [target], "no pattern over a list"
    assert selected(["timm:b*", "timm:bc"], lambda library: ["ab", "bc", "bd"]) == ["timm:bc", "timm:bd"]
    for nothing in ("vvgg*", "timm:x*"):
        with pytest.raises(UnusableTarget, match="no model matches"):
            selected([nothing], lambda library: ["ab"])
    with pytest.raises(UnusableTarget, match="no model is named"):
        selected([], none)


def test_a_library_is_asked_once_for_its_list(place, tmp_path, monkeypatch):
    needs_torchvision()
    models = libraries.imported("torchvision.models", "torchvision")
    journal = str(tmp_path / "rows")
    options = {"journal": journal, "jobs": 1, "resolutions": [64]}
    found = cnnscope.sweep("torchvision:mobilenet_v3_*", **options)
    expected = sorted(name for name in models.list_models() if name.startswith("mobilenet_v3_"))
    assert [row.model.partition(":")[2] for row in found.values()] == expected and len(expected) > 1
    monkeypatch.setattr(asking, "Server", None)  # nobody needs one any more
    assert plain(cnnscope.sweep("torchvision:mobilenet_v3_*", **options)) == plain(found)


def test_files_of_targets(tmp_path):
    (tmp_path / "list").write_text("vgg16\n\n  # not this\n net.py:Net \r\n")
    assert list(listed_in(str(tmp_path / "list"))) == ["vgg16", "net.py:Net"]
    (tmp_path / "other").write_bytes(b"\xff\xfe\x00")
    for name in ("none", ".", "other"):
        with pytest.raises(UnusableTarget, match="list of models"):
            list(listed_in(str(tmp_path / name)))


@pytest.mark.parametrize(
    "texts, shapes",
    [
        ([IMAGE, "1x16"], [(1, 3, 50, 50), (1, 16)]),
        (["1x3x8x32x48"], [(1, 3, 8, 50, 50)]),
        (["[3x320x640]"], [(3, 50, 50)]),
    ],
)
def test_a_resolution_replaces_height_and_width(texts, shapes):
    assert [each.shape for each in chosen(texts, None, None, "net", (), 50)] == shapes


def test_a_resolution_needs_an_image():
    with pytest.raises(UnusableInput, match="no input of net has a height and a width"):
        chosen(["1x128:int64"], None, None, "net", (), 50)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"input": "1,3"}, "cannot read the input"),
        ({"input": IMAGE, "resolutions": [64]}, "either the input or resolutions"),
        ({"batch_sizes": [0]}, "0 is no batch size"),
        ({"resolutions": [True]}, "True is no resolution"),
        ({"device": "h2oo"}, "no device 'h2oo'"),
        ({"optimizer": print, "train": True}, "optimizer is not"),
        ({"device_trace": "moon"}, "no place to run"),
        ({"backend": "threads"}, "there are loky"),
        ({"scheduler": "tcp://there"}, "add --backend dask"),
        ({"backend": "dask", "scheduler": "tcp://127.0.0.1:1"}, "no Dask scheduler answers"),
        ({"journal": "no/such/folder/rows"}, "no such file"),
    ],
)
def test_what_cannot_be_asked_for(options, words, monkeypatch):
    if options.get("backend") == "dask":
        pytest.importorskip("distributed", reason="the cluster needs the extra dask")
        from cnnscope.sweeping import spreading

        monkeypatch.setattr(spreading, "_CONNECT", 1)
    with pytest.raises(CnnscopeError, match=words):
        cnnscope.sweep("vgg16", **options)


@pytest.mark.parametrize("name, backend, extra", [("distributed", "dask", "dask"), ("ray", "ray", "ray")])
def test_what_is_not_installed_is_named(name, backend, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UnusableBackend, match=rf"pip install 'cnnscope\[{extra}\]'"), workers(Workers(None, backend)):
        pass


# -- a cluster --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_cluster_of_two_workers_gives_the_same_rows(place):
    distributed = pytest.importorskip("distributed", reason="the cluster needs the extra dask")
    psutil = pytest.importorskip("psutil")
    targets = [f"nets.py:Good(width={width}, wait=0.3)" for width in range(1, 7)] + ["nets.py:Exits"]
    Path("made.txt").unlink(missing_ok=True)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        there = {"backend": "dask", "scheduler": cluster.scheduler_address}
        with distributed.Client(cluster) as client:
            pids = set(client.run(os.getpid).values())
        servers: set[int] = set()

        def watch(done, total, row):  # a server is a child of its worker
            servers.update(each.pid for pid in pids for each in psutil.Process(pid).children())

        found = cnnscope.sweep(targets, batch_sizes=[1, 2], input=IMAGE, watch=watch, **there)
    used = {int(line.split()[2]) for line in Path("made.txt").read_text().splitlines()}
    assert len(pids) == len(used & servers) == 2, "both workers had a part in it"
    here = cnnscope.sweep(targets, batch_sizes=[1, 2], input=IMAGE, jobs=2)
    assert plain(found) == plain(here)
    assert found["nets.py:Exits b2"].error.startswith("its process ended by itself, with code 3")
