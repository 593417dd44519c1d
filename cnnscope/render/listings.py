"""The catalogue of architectures as text, Markdown, CSV, JSON or HTML."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ..table import Table, column, table
from . import interchange, markup

Paper = Mapping[str, Any]
Model = Mapping[str, Any]

NAME_WIDTH = 20  # a longer name has a line of its own
HINT = (
    "cnnscope table NAME shows what one costs.",
    "A name with parentheses is a family, with its defaults: 'wrn' alone means those,",
    "and cnnscope table 'wrn(depth=16, k=4)' shows another member.",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Listed:
    """An architecture. name: how to ask for it; aliases: other names for it."""

    name: str = column("name")
    module: str = column("module", hidden=True, default="")
    chapter: str = column("chapter", default="")
    summary: str = column("what it is", default="")
    aliases: tuple[str, ...] = column("also", default=())
    paper: str = column("paper", default="")
    year: str = column("year", default="")
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


def listed(papers: Iterable[Paper]) -> Table[Listed]:
    """A row for each architecture, in the order of the lecture."""
    rows = [
        Listed(
            _called(model),
            chapter=paper["chapter"],
            summary=model.get("summary", ""),
            aliases=tuple(model.get("aliases", ())),
            paper=_citation(paper),
            year=str(paper["year"]),
        )
        for paper in papers
        for model in _models(paper)
    ]
    return table("architectures", rows, Listed)


def as_text(papers: Iterable[Paper]) -> str:
    """Chapters, under each its papers, under each its architectures with what they are.

    What a family has made is named under it, without a description: all that differs are the parameters.
    """
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    lines = []
    for chapter, group in _chapters(papers):
        lines.append(chapter)
        for paper in group:
            lines += _wrapped(_citation(paper), "  ", "  ", width)
            members = _members(paper)
            named = {model["name"] for made in members.values() for model in made}
            for model in _models(paper):
                if model["name"] not in named:
                    lines += _entry(model, members.get(model["name"], []), width)
        lines.append("")
    return "\n".join([*lines, *(line for hint in HINT for line in _wrapped(hint, "", "", width))])


def as_markdown(papers: Iterable[Paper]) -> str:
    """A heading for each chapter, a list for each paper."""
    lines = []
    for chapter, group in _chapters(papers):
        lines += [f"## {chapter}", ""]
        for paper in group:
            lines += [_citation(paper), ""]
            lines += [f"- `{_called(model)}`: {_described(model)}" for model in _models(paper)]
            lines.append("")
    return "\n".join(lines)


def as_json(papers: Iterable[Paper]) -> str:
    """A row for each architecture, and the papers as they stand in the catalogue, models under ``models``."""
    papers = list(papers)
    plain = [
        {**{key: value for key, value in paper.items() if key != "model"}, "models": list(_models(paper))}
        for paper in papers
    ]
    return json.dumps({**listed(papers).to_dict(), "papers": plain}, indent=2)


FORMATS: Mapping[str, Callable[[Iterable[Paper]], str]] = {
    "text": as_text,
    "md": as_markdown,
    "csv": lambda papers: interchange.csv(listed(papers)),
    "json": as_json,
    "html": lambda papers: markup.html(listed(papers)),
}


def _chapters(papers: Iterable[Paper]) -> Iterator[tuple[str, Iterator[Paper]]]:
    return itertools.groupby(papers, key=lambda paper: paper["chapter"])


def _models(paper: Paper) -> list[Model]:
    return list(paper.get("model", ()))


def _members(paper: Paper) -> dict[str, list[Model]]:
    """Name of a family to the architectures that its builder makes, each a name for some parameters."""
    families = {model["build"]: model["name"] for model in _models(paper) if "parameters" in model}
    members: dict[str, list[Model]] = {}
    for model in _models(paper):
        if "parameters" not in model and model["build"] in families:
            members.setdefault(families[model["build"]], []).append(model)
    return members


def _entry(model: Model, members: list[Model], width: int) -> list[str]:
    """A name and beside it what it is; what a family has made, below."""
    margin = " " * (4 + NAME_WIDTH + 2)
    lead = f"    {_called(model):<{NAME_WIDTH}}  "
    if len(lead) > len(margin):
        lines = [lead.rstrip(), *_wrapped(_described(model), margin, margin, width)]
    else:
        lines = _wrapped(_described(model), lead, margin, width) or [lead.rstrip()]
    if members:
        lines += _wrapped("named: " + ", ".join(map(_with_aliases, members)), margin, margin + "  ", width)
    return lines


def _called(model: Model) -> str:
    """How to ask for it: by its name, a family with its parameters, ``wrn(depth=28, k=10)``."""
    if "parameters" not in model:
        return str(model["name"])
    return f"{model['name']}({', '.join(f'{key}={value!r}' for key, value in model['parameters'].items())})"


def _with_aliases(model: Model) -> str:
    """The name, and in brackets other ones."""
    others = model.get("aliases", ())
    return model["name"] + (f" [{', '.join(others)}]" if others else "")


def _wrapped(text: str, first: str, rest: str, width: int) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False, break_long_words=False
    )


def _citation(paper: Paper) -> str:
    """``Title (Simonyan, Zisserman; ICLR 2015; arXiv:1409.1556)``."""
    named, others, _ = paper["authors"].partition(" and others")
    authors = [name.split()[-1] for name in named.split(", ")]
    who = f"{authors[0]} et al." if others or len(authors) > 3 else ", ".join(authors)
    where = f"{paper['venue']} {paper['year']}"
    arxiv = f"; arXiv:{paper['arxiv']}" if paper.get("arxiv") else ""
    return f"{paper['title']} ({who}; {where}{arxiv})"


def _described(model: Model) -> str:
    aliases = model.get("aliases", ())
    return model.get("summary", "") + (f" (also: {', '.join(aliases)})" if aliases else "")
