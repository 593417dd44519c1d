"""The catalogue of architectures as text, Markdown or JSON."""

from __future__ import annotations

import itertools
import json
import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

Paper = Mapping[str, Any]


def as_text(papers: Iterable[Paper]) -> str:
    """Chapters, under each its papers, under each its architectures with what they are."""
    papers = list(papers)
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    name_width = max((len(model["name"]) for paper in papers for model in _models(paper)), default=0)
    lines = []
    for chapter, group in _chapters(papers):
        lines.append(chapter)
        for paper in group:
            lines.extend(textwrap.wrap(_citation(paper), width, initial_indent="  ", subsequent_indent="  "))
            for model in _models(paper):
                lead = f"    {model['name']:<{name_width}}  "
                text = textwrap.wrap(_described(model), width, initial_indent=lead, subsequent_indent=" " * len(lead))
                lines.extend(text or [lead.rstrip()])
        lines.append("")
    return "\n".join([*lines, "cnnscope table NAME shows what one costs."])


def as_markdown(papers: Iterable[Paper]) -> str:
    """A heading for each chapter, a list for each paper."""
    lines = []
    for chapter, group in _chapters(papers):
        lines += [f"## {chapter}", ""]
        for paper in group:
            lines += [_citation(paper), ""]
            lines += [f"- `{model['name']}`: {_described(model)}" for model in _models(paper)]
            lines.append("")
    return "\n".join(lines)


def as_json(papers: Iterable[Paper]) -> str:
    """The papers as they stand in the catalogue, models under ``models``."""
    plain = [
        {**{key: value for key, value in paper.items() if key != "model"}, "models": list(_models(paper))}
        for paper in papers
    ]
    return json.dumps({"schema_version": 1, "papers": plain}, indent=2)


FORMATS: Mapping[str, Callable[[Iterable[Paper]], str]] = {"text": as_text, "md": as_markdown, "json": as_json}


def _chapters(papers: Iterable[Paper]) -> Iterator[tuple[str, Iterator[Paper]]]:
    return itertools.groupby(papers, key=lambda paper: paper["chapter"])


def _models(paper: Paper) -> list[Mapping[str, Any]]:
    return list(paper.get("model", ()))


def _citation(paper: Paper) -> str:
    """``Title (Simonyan, Zisserman; ICLR 2015; arXiv:1409.1556)``."""
    authors = [name.split()[-1] for name in paper["authors"].split(", ")]
    who = ", ".join(authors) if len(authors) <= 3 else f"{authors[0]} et al."
    where = f"{paper['venue']} {paper['year']}"
    arxiv = f"; arXiv:{paper['arxiv']}" if paper.get("arxiv") else ""
    return f"{paper['title']} ({who}; {where}{arxiv})"


def _described(model: Mapping[str, Any]) -> str:
    aliases = model.get("aliases", ())
    return model.get("summary", "") + (f" (also: {', '.join(aliases)})" if aliases else "")
