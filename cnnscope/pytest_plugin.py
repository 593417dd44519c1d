"""Fixtures for pytest: ``assert_budget``, and ``cnnscope_snapshot``, which holds a model to its table.

    def test_costs(assert_budget):
        assert_budget(Net(), (1, 3, 224, 224), macs="<= 4.1G", peak="<= 200MiB")

    def test_layers(cnnscope_snapshot):
        cnnscope_snapshot(Net(), (1, 3, 224, 224))

The snapshot is a text file beside the test. ``pytest --cnnscope-update`` writes it; it belongs into version control.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--cnnscope-update``."""
    group = parser.getgroup("cnnscope")
    group.addoption("--cnnscope-update", action="store_true", help="write the snapshots of cnnscope_snapshot anew")


@pytest.fixture(name="assert_budget")
def _assert_budget() -> Callable[..., None]:
    """``cnnscope.testing.assert_budget``."""
    from .testing import assert_budget

    return assert_budget


@pytest.fixture
def cnnscope_snapshot(request: pytest.FixtureRequest) -> Callable[..., None]:
    """A function that fails when the layers of a model are not those of its snapshot.

    ``cnnscope_snapshot(model, input, name="", **options)``: the model and input as for ``assert_budget``; ``name``
    tells several snapshots of one test apart; options are those of ``trace``.
    """
    update = bool(request.config.getoption("--cnnscope-update"))

    def check(model: Any, input: Any = None, *, name: str = "", **options: Any) -> None:
        __tracebackhide__ = True
        from .analyses.layering import layers
        from .testing import graph_of, lines_of

        found = lines_of(layers(graph_of(model, input, **options)))
        _held(_file(request, name), found, update)

    return check


def _file(request: pytest.FixtureRequest, name: str) -> Path:
    """``test_nets.layers.txt`` beside ``test_nets.py`` for ``test_layers`` in it; no name that a file cannot have."""
    place = Path(request.path)
    wanted = ".".join(part for part in (request.node.nodeid.partition("::")[2], name) if part)
    plain = re.sub(r"[^\w.=-]+", "-", wanted.removeprefix("test_"), flags=re.ASCII).strip("-.")
    if plain != wanted.removeprefix("test_") or len(plain) > 100:
        plain = f"{plain[:80]}-{sha256(wanted.encode(errors='replace')).hexdigest()[:8]}"
    return place.with_name(f"{place.stem}.{plain}.txt")


def _held(file: Path, found: list[str], update: bool) -> None:
    __tracebackhide__ = True
    from .testing import difference

    before = file.read_text(encoding="utf-8").splitlines() if file.is_file() else None
    if before == found:
        return
    if update:
        from .outputs import write

        write(file, "\n".join(found) + "\n")
    elif before is None:
        pytest.fail(f"no snapshot {file.name}; pytest --cnnscope-update writes it", pytrace=False)
    else:
        changes = difference(before, found)
        pytest.fail(
            f"{found[0]} is not as in {file.name}; if that is meant: pytest --cnnscope-update\n{changes}", pytrace=False
        )
