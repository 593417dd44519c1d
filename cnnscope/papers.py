"""The papers that the zoo's architectures are from, and the nets that a reader looks for first."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from . import zoo


class Paper(NamedTuple):
    """Where an architecture is from. summary: what this net of it is; link: an address to read it at, or empty."""

    title: str
    authors: str
    venue: str
    year: int
    link: str
    summary: str


def paper(name: str) -> Paper:
    """The paper that an architecture of the zoo is from.

    Raises:
        UnknownArchitecture: there is none of that name.
        UnusableTarget: the family has no such parameters.
    """
    entry = zoo.entry(name)
    plain = entry["name"].partition("(")[0]
    found = next(each for each in zoo.catalog() if any(model["name"] == plain for model in each.get("model", ())))
    arxiv, doi = found.get("arxiv"), found.get("doi")
    link = f"https://arxiv.org/abs/{arxiv}" if arxiv else f"https://doi.org/{doi}" if doi else ""
    return Paper(found["title"], found["authors"], found["venue"], found["year"], link, entry["summary"])


def main_nets() -> list[str]:
    """The nets of the zoo that a reader looks for first, in the order of the lecture.

    Those with a cited accuracy, the winners of ILSVRC, and of each paper that has none of these the net that most
    claims are about.
    """
    from .claiming.ledger import claims
    from .comparing import accuracies

    known = accuracies()
    wanted = {each.get("model") for key in ("network", "winner") for each in known[key]}
    claimed = Counter(model for claim in claims() for model in claim.models)
    for each in zoo.catalog():
        names = [model["name"] for model in each.get("model", ())]
        if names and wanted.isdisjoint(names):
            wanted.add(max(names, key=lambda name: claimed[name]))
    return [name for name in zoo.names() if name in wanted]
