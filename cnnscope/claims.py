"""``check``: what the lecture, the papers and the libraries print, held against what the traced graphs give."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

from . import zoo
from .claiming.deciding import CITED, Decision, decide
from .claiming.ledger import LECTURE, SOURCES, Claim, claims
from .claiming.nets import Nets
from .errors import CnnscopeError, UnknownArchitecture, UnusableTarget
from .table import Table, column, table


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """One claim with what was computed for it.

    stated: as printed; stated_value: the number that it means, in ``unit``; computed: a number in the same unit or a
    text; None where a graph cannot say. verdict: reproduced, reproduced under convention ..., contradicted or cited.
    place: slide, section or table. recorded: the verdict that the ledger expects. module: the net it is measured on.
    """

    name: str = column("claim", hidden=True)
    module: str = column("net", hidden=True)
    architecture: str = column("architecture")
    variant: str = column("variant")
    quantity: str = column("quantity")
    stated: str = column("stated")
    stated_value: float | None = column("stated value", hidden=True)
    unit: str = column("unit", hidden=True)
    source: str = column("source")
    computed: float | str | None = column("computed")
    verdict: str = column("verdict")
    note: str = column("note")
    place: str = column("place", hidden=True, default="")
    recorded: str = column("recorded verdict", hidden=True, default="")
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())

    @property
    def differs(self) -> bool:
        """The verdict is another one than the ledger has."""
        return self.verdict != self.recorded


def check(name: str | None = None, source: str | None = None) -> Table[Verdict]:
    """Verdicts on the claims of the ledger, in the order of the lecture.

    Args:
        name: an architecture as the ledger or the zoo calls it, or a net that claims are measured on. A family of the
            zoo without parameters means all its members.
        source: who states them, ``paper`` for instance; ``lecture`` is its slides and the figures on them.

    Raises:
        UnknownArchitecture: no claim is about an architecture or net of that name.
        ValueError: there is no such source.
    """
    return tabled(verdicts(chosen(name, source)), name or "")


def tabled(rows: Iterable[Verdict], model: str = "") -> Table[Verdict]:
    """The verdicts as a table; ``model``: whose they are, where it is one model's."""
    return table("claims", rows, Verdict, model=model)


def chosen(name: str | None = None, source: str | None = None) -> list[Claim]:
    """The claims that are meant; see ``check``."""
    if source is not None and source not in ("lecture", *SOURCES):
        raise ValueError(f"no source {source!r}; one of lecture, {', '.join(SOURCES)}")
    sources = LECTURE if source == "lecture" else SOURCES if source is None else (source,)
    found = list(claims())
    if name is not None:
        found = list(filter(_about(name), found))
        if not found:
            raise UnknownArchitecture(f"no claim is about {name!r}; 'cnnscope claims' shows which there are")
    return [claim for claim in found if claim.source in sources]


def on_net(name: str) -> list[Claim]:
    """The claims on one net: those measured on it, and those that name it and that no graph can decide."""
    titles, net = _titles(name), _net(name)
    return [
        claim
        for claim in claims()
        if net in map(_net, claim.models) or (not claim.models and _plain(claim.variant) in titles)
    ]


def verdicts(claims_: Iterable[Claim], nets: Nets | None = None) -> Iterator[Verdict]:
    """The verdict on each claim; nets are traced when the first claim asks for them."""
    nets = nets or Nets()
    names: dict[str, int] = {}
    for claim in claims_:
        decision, note = Decision(CITED, None), claim.reason
        recorded = claim.verdict
        try:
            decision = decide(claim, nets)
        except (LookupError, CnnscopeError) as error:
            note = f"not computed: {str(error).splitlines()[0]}"
            # A library that is not installed speaks against nothing.
            if isinstance(error, UnusableTarget) and any(":" in model for model in claim.models):
                recorded = CITED
        if decision.verdict != recorded:
            note = f"the ledger expects '{recorded}'" + (f": {note}" if note else "")
        yield Verdict(
            _unique(f"{claim.architecture} {claim.variant} {claim.quantity} ({claim.source})", names),
            ", ".join(claim.models),
            claim.architecture,
            claim.variant,
            claim.quantity,
            claim.stated,
            claim.value,
            claim.unit,
            claim.source,
            decision.computed,
            decision.verdict,
            note,
            claim.place,
            recorded,
        )


def _about(name: str) -> Callable[[Claim], bool]:
    """Whether a claim is about the architecture of this name, or measured on a net of this name."""
    titles, net = _titles(name), _net(name)
    family = net[1] is not None and "(" not in name and "parameters" in zoo.entry(name)

    def about(claim: Claim) -> bool:
        if titles & {_plain(claim.architecture), _plain(claim.file)}:
            return True
        return any(each == net or (family and each[0] == net[0]) for each in map(_net, claim.models))

    return about


def _titles(name: str) -> set[str]:
    """The name as it is compared, and that of the zoo where it is an alias."""
    return {_plain(name)} if _net(name)[1] is None else {_plain(name), _plain(zoo.entry(name)["name"])}


@cache
def _net(name: str) -> tuple[str, Any]:
    """What a name builds, however it is written; of what is not in the zoo, the name and None."""
    try:
        return zoo.identity(name)
    except CnnscopeError:
        return _plain(name), None


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum() or letter in ":()=,")


def _unique(name: str, names: dict[str, int]) -> str:
    count = names[name] = names.get(name, 0) + 1
    return name if count == 1 else f"{name} #{count}"
