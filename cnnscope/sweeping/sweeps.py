"""``sweep``: many models at many settings, one row each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .. import origins
from ..errors import UnusableInput
from ..table import Table
from .asking import answered, close, names_of, surroundings
from .journals import Journal, digest, keys
from .requests import Item, Request, by_target, items
from .rows import Figures, Swept, is_cpu, row, tabled
from .selecting import selected
from .spreading import Workers, workers

Watch = Callable[[int, int, Swept | None], None]
_PORTION = 8  # rows of one model that go to a worker together


def sweep(
    models: str | Iterable[str],
    *,
    batch_sizes: Iterable[int] = (),
    resolutions: Iterable[int] = (),
    input: str | Sequence[str] = (),
    device: str | None = None,
    journal: str | None = None,
    retry: bool = False,
    jobs: int | None = None,
    backend: str = "loky",
    scheduler: str | None = None,
    timeout: float | None = None,
    device_trace: str = "auto",
    cache: bool = True,
    watch: Watch | None = None,
    **run: Any,
) -> Table[Swept]:
    """What each model costs at each batch size and resolution: one row for every combination, in the order asked.

    Each model is examined in a process of its own. One that cannot be analysed, that ends its process or hangs has a
    row with ``error``; the others are not touched by it.

    Args:
        models: what the command line takes, ``"vgg16"`` or ``"net.py:Net"``, and patterns: ``"torchvision:resnet*"``,
            ``"timm:*"``, ``"all"`` for the zoo.
        batch_sizes, resolutions: instead of the first size of every input, and of the height and width of each image or
            clip; none: those of the model's default input.
        input: as ``--input`` has it, ``"1x3x224x224"``, instead of the default one; excludes ``resolutions``.
        device: also predict its memory and time; a name of ``cnnscope devices`` or a device file, ``cuda`` or ``cpu``.
        journal: a file of what is done, which the next sweep with it goes on from.
        retry: make rows again that have an error in the journal.
        jobs: how many at once; None: one for each core.
        backend, scheduler: ``loky`` (this machine), ``dask`` or ``ray`` with the address of a cluster, ``sequential``.
        timeout: seconds that making a model, and each of its rows, may take.
        device_trace: ``auto``, ``meta`` or ``cpu``: where the models run.
        cache: use the traces on disk.
        watch: is called with the rows that are done, those of the whole, and each new row (first with None).
        run: options of ``trace`` as plain data: ``train=True``, ``optimizer="adam"``, ``dtype="bf16"``.

    Raises:
        UnusableTarget: a pattern that nothing matches, or a library that is not installed.
        UnusableInput: a number below 1, options that exclude one another, or one that is no plain data.
        UnknownDevice, UnusableBackend, UnwritableOutput: what is named cannot be used.
    """
    request = Request(_texts(input), run, device, device_trace, cache, timeout)
    sizes = [_checked(batch_sizes, "batch size"), _checked(resolutions, "resolution")]
    _check(request, sizes[1])
    kept = Journal(journal)
    try:
        around = surroundings()
        asked = [models] if isinstance(models, str) else list(models)
        targets = selected(asked, lambda library: _listed(library, kept, lambda: names_of(library, around)))
        found = _Sweep(items(targets, *sizes), request, kept, retry, watch or (lambda *_: None))
        found.finish(Workers(jobs, backend, scheduler))
        return tabled([found.rows[item] for item in found.items], request)
    finally:
        kept.close()
        close()


class _Sweep:
    """The rows that are there, and those that are left."""

    def __init__(self, items: list[Item], request: Request, journal: Journal, retry: bool, watch: Watch) -> None:
        self.items = items
        self.request = request
        self.journal = journal
        self.watch = watch
        self.rows: dict[Item, Swept] = {}
        self._key = keys(request)
        for item in items:
            found = journal.recall(self._key(item))
            if isinstance(found, dict) and not (retry and found.get("error")):
                try:
                    self.rows[item] = row(item, found)
                except (ValueError, TypeError):
                    continue
        watch(len(self.rows), len(items), None)

    def finish(self, asked: Workers) -> None:
        """Make what is left."""
        left = [item for item in self.items if item not in self.rows]
        if not left:
            return
        around = surroundings()
        with workers(asked) as there:
            most = max(1, min(_PORTION, len(left) // (4 * there.jobs)))
            portions = [(target, some, self.request, around) for target, some in by_target(left, most)]
            for answers in there.run(answered, portions):
                for item, found in answers:
                    self._take(item, found)

    def _take(self, item: Item, found: Figures) -> None:
        found = dict(found)
        if not found.pop("passing", False):
            self.journal.keep(self._key(item), found)
        self.rows[item] = row(item, found)
        self.watch(len(self.rows), len(self.items), self.rows[item])


def _listed(library: str, journal: Journal, ask: Callable[[], list[str]]) -> list[str]:
    """The models of a library, from the journal while the library is the same."""
    key = digest("names", library, origins.release(library), origins.stamps(library))
    found = journal.recall(key)
    if not isinstance(found, list):
        found = ask()
        journal.keep(key, found)
    return found


def _texts(input: str | Sequence[str]) -> tuple[str, ...]:
    return (input,) if isinstance(input, str) else tuple(input)


def _checked(numbers: Iterable[int], what: str) -> list[int]:
    found = list(numbers)
    if odd := [each for each in found if isinstance(each, bool) or not isinstance(each, int) or each < 1]:
        raise UnusableInput(f"{odd[0]!r} is no {what}; each is a whole number of at least 1")
    return found


def _check(request: Request, resolutions: Sequence[int]) -> None:
    from ..inputs import parse

    for text in request.inputs:
        parse(text)
    if request.inputs and resolutions:
        raise UnusableInput("an input says its resolution; give either the input or resolutions")
    is_cpu(request.device)  # raises for one that nobody knows
    if request.where not in ("auto", "meta", "cpu"):
        raise UnusableInput(f"device_trace={request.where!r} is no place to run; one of auto, meta, cpu")
    for name, value in request.run.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            raise UnusableInput(f"options are plain data, and {name} is not; write types by name") from None
