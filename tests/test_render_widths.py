"""Tables in lines of 60 to 200 characters: nothing overflows, what matters stays, and nothing is lost on the way."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cnnscope import build, layers, names, render, trace
from cnnscope.claiming import listing
from cnnscope.claims import chosen, tabled, verdicts
from cnnscope.cli import main
from cnnscope.comparing import compare
from cnnscope.counters import crosscheck
from cnnscope.differences import diff
from cnnscope.graph import ModelGraph
from cnnscope.reconciling import reconcile
from cnnscope.render.fitting import shrunk, wrapped
from cnnscope.table import Table, column
from cnnscope.table import table as made
from cnnscope.views import by_layer, ordered
from cnnscope.zoo import entry

WIDTHS = (60, 80, 100, 120, 200)


@cache
def traced(name: str) -> ModelGraph:
    return trace(build(name).eval(), tuple(entry(name)["input"]), name=name)


@cache
def table(kind: str) -> Table[Any]:
    makers: dict[str, Callable[[], Table[Any]]] = {
        "layers": lambda: layers(traced("resnet18")),
        "full": lambda: by_layer(traced("googlenet")),
        "difference": lambda: diff(traced("resnet18"), traced("resnet34"), whole=True),
        "long difference": lambda: diff(traced("alexnet"), traced("vgg11")),
        "crosscheck": lambda: crosscheck(build("lenet5_modern"), (1, 1, 32, 32), graph=traced("lenet5_modern")),
        "comparison": lambda: compare([traced(name) for name in ("alexnet", "vgg16", "resnet50")]),
        "conventions": lambda: reconcile(traced("resnet50")),
    }
    return makers[kind]()


KEYS = {
    "layers": ["layer", "params", "MACs"],
    "full": ["layer", "params", "MACs"],
    "difference": ["layer", "before", "after", "params", "MACs"],
    "long difference": ["layer", "before", "after", "params", "MACs"],
    "crosscheck": ["counter", "MACs", "MACs - ours"],
    "comparison": ["model", "params", "MACs"],
    "conventions": ["net: convention", "total"],
}


def grid(output: str) -> tuple[str, list[str], list[str]]:
    """The heads, the rows and the rest of a table, by its rules."""
    lines = output.splitlines()
    rules = [i for i, line in enumerate(lines) if re.fullmatch("-[- ]*", line)]
    end = next((i for i in range(rules[0], len(lines)) if not lines[i]), len(lines))
    return lines[rules[0] - 1] + lines[rules[0] - 2], lines[rules[0] + 1 : end], lines[end:]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", KEYS)
def test_no_line_is_longer_and_the_key_columns_stay(kind: str, width: int) -> None:
    output = render.text(table(kind), width=width)
    assert max(map(len, output.splitlines())) <= width
    head, _, rest = grid(output)
    assert all(title in head for title in KEYS[kind]), head
    named = "\n".join(rest).partition("hidden for width: ")[2].partition("\n\n")[0].replace(", %", " %")
    assert not {" ".join(title.split()) for title in named.split(",")} & set(KEYS[kind])
    totals = [
        any(row.startswith("total") for row in grid(text)[1]) for text in (output, render.text(table(kind), width=0))
    ]
    assert totals[0] == totals[1]


@pytest.mark.parametrize("kind", ["difference", "long difference", "conventions", "crosscheck"])
def test_wrapping_loses_no_word(kind: str) -> None:
    found = table(kind)
    for width in WIDTHS:
        body = "".join(grid(render.text(found, width=width))[1])
        squeezed = re.sub(r"[^\w]", "", body)
        for name in found:
            # Letter by letter, because the words of a name stand between those of its neighbours.
            assert all(re.sub(r"[^\w]", "", part) in squeezed for part in re.findall(r"[^\s./_,:>-]{1,6}", name)), name


def test_more_room_shows_more() -> None:
    for kind in KEYS:
        shown = [len(grid(render.text(table(kind), width=width))[0].split()) for width in WIDTHS]
        assert shown == sorted(shown), kind


def test_a_pipe_has_no_limit_and_wraps_nothing() -> None:
    for kind in KEYS:
        output = render.text(table(kind), width=0)
        rows = grid(output)[1]
        assert "hidden for width" not in output
        assert len(rows) == len(table(kind)) + 2 * rows[-1].startswith("total")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("by", ["activation", "flops", "depth", "receptive_field", "type", "dilation", "intensity"])
def test_the_column_of_the_order_is_never_dropped(by: str, width: int) -> None:
    found = ordered(table("full"), by)
    title = next(each.metadata["title"] for each in found.row_type.__dataclass_fields__.values() if each.name == by)
    output = render.text(found, width=width, keep=[by])
    assert title in grid(output)[0] and max(map(len, output.splitlines())) <= width


@pytest.mark.parametrize("width", (60, 80, 120))
def test_sort_on_the_command_line_keeps_its_column(width: int) -> None:
    for by, title in (("activation:asc", "activation"), ("jump", "jump"), ("FLOP/byte", "FLOP/byte")):
        result = CliRunner().invoke(main, ["table", "lenet5", "--sort", by], env={"COLUMNS": str(width)})
        assert result.exit_code == 0 and title in grid(result.stdout)[0]
        assert max(map(len, result.stdout.splitlines())) <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_claims_fit_the_line_and_keep_their_columns(width: int) -> None:
    found = tabled(list(verdicts(chosen("lenet5", None))))
    output = listing.as_text(found, width)
    lines = output.splitlines()
    assert max(map(len, lines)) <= width
    assert any(line.split() == ["claim", "stated", "computed", "verdict"] for line in lines)
    assert sum("reproduced" in line for line in lines) >= sum("reproduced" in row.verdict for row in found.values())
    assert re.sub(r"\s", "", output) != re.sub(r"\s", "", listing.as_text(found, 300)) or width == 200
    for row in found.values():
        assert row.stated.split()[0] in output or len(row.stated.split()[0]) > 14


def test_the_stated_order_is_the_order() -> None:
    import dataclasses

    @dataclasses.dataclass(frozen=True)
    class Row:
        name: str = column("name")
        module: str = column("module", hidden=True, default="")
        b: str = column("second", rank=2, default="bbbbbbbb")
        t: str = column("text", default="tttttttt")
        n: int = column("number", "count", default=11_111_111)
        a: str = column("first", rank=1, default="aaaaaaaa")
        k: int = column("key", "count", rank=0, default=22_222_222)
        missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())

    found = made("order", [Row("x")], Row, model="m")
    shown = [grid(render.text(found, width=width))[0].split() for width in (20, 30, 40, 50, 60, 70)]
    gone = [{"name", "second", "text", "number", "first", "key"} - set(each) for each in shown]
    assert gone[0] == {"second", "text", "number", "first"} and not gone[-1]
    for stays, goes in (("key", "first"), ("first", "second"), ("second", "number"), ("number", "text")):
        assert all(goes in each for each in gone if stays in each)


@given(st.text(max_size=60), st.integers(4, 40), st.integers(0, 2))
def test_wrapped_text_fits_and_is_complete(text: str, width: int, indent: int) -> None:
    lines = wrapped(text, width, indent)
    assert all(len(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


@given(st.lists(st.tuples(st.integers(6, 50), st.booleans()), min_size=1, max_size=6), st.integers(20, 200))
def test_shrunk_columns_fit_or_are_as_narrow_as_can_be(columns: list[tuple[int, bool]], limit: int) -> None:
    widths = {i: width for i, (width, _) in enumerate(columns)}
    lengths = {i: [4, width] for i, (width, wraps) in enumerate(columns) if wraps}
    found = shrunk(widths, lengths, limit)
    assert all(found[i] <= widths[i] for i in widths) and all(found[i] == widths[i] for i in widths if i not in lengths)
    fits = sum(found.values()) + 2 * (len(found) - 1) <= limit
    assert fits or all(found[i] == 6 for i in lengths)
    if sum(widths.values()) + 2 * (len(widths) - 1) <= limit:
        assert found == widths


# -- a real terminal ---------------------------------------------------------------------------------------------------


def on_a_terminal(*arguments: str) -> list[str]:
    """What the program writes to a terminal of 80 columns, first as it is and then with NO_COLOR."""
    code = """if True:
        import os
        from cnnscope.cli import main
        for wish in ("", "1"):
            os.environ["NO_COLOR"] = wish
            try:
                main()
            except SystemExit as end:
                print(end.code)
    """
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=follower, stderr=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
    )  # fmt: skip
    os.close(follower)
    parts = []
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(leader)
    assert process.wait() == 0
    *outputs, rest = b"".join(parts).decode().replace("\r\n", "\n").split("\n0\n")
    assert len(outputs) == 2 and not rest
    return [f"{output}\n" for output in outputs]


def test_on_a_terminal_the_heaviest_layers_are_bold_and_elsewhere_nothing_is() -> None:
    shown, colourless = on_a_terminal("table", "alexnet")
    plain = shown.replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert max(map(len, plain.splitlines())) <= 80
    pairs = zip(plain.splitlines(), shown.splitlines(), strict=True)
    bold = {words.split()[0] for words, line in pairs if "\x1b" in line}
    found = layers(traced("alexnet"))
    least = found.total.macs / 10, found.total.params / 10
    heavy = {row.name for row in found.values() if (row.macs or 0) >= least[0] or row.params >= least[1]}
    assert heavy <= bold and "pool2" not in bold and "relu6" not in bold
    assert any(line.startswith("total") for line in plain.splitlines())
    piped = CliRunner().invoke(main, ["table", "alexnet"], env={"COLUMNS": "80"}).stdout
    assert "\x1b" not in piped and piped == plain == colourless


def test_the_whole_zoo_fits_eighty_columns() -> None:
    for name in names()[::16]:
        if name not in ("resnet1202", "stochastic_depth1202", "preact_resnet1001", "fusion"):
            assert max(map(len, render.text(layers(traced(name)), width=80).splitlines())) <= 80, name
