"""When the memory of a run is allocated and freed, told in operators."""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

import torch

from .signatures import Signature


class Record(NamedTuple):
    """One operator call, by numbers of values, parameters and other records."""

    signature: Signature
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    params: tuple[int, ...]
    call: int
    after: tuple[int, ...]


class Memory:
    """The storages of a run: how large, of which kind, between which operators alive."""

    def __init__(self, records: list[Record]) -> None:
        self.bytes: list[int] = []
        self.kinds: list[str] = []
        self.born: list[int] = []
        self.dies: list[int | None] = []
        self.at: dict[int, int] = {}
        self.host: set[int] = set()
        self._records = records
        self._watches: list[Any] = []

    def add(self, address: int, nbytes: int, kind: str, born: int) -> int:
        """Number a storage."""
        number = self.at[address] = self._number(nbytes, kind, born)
        return number

    def born_before(self, nbytes: int, kind: str) -> int:
        """Number a storage that is there before the run and has no address yet."""
        return self._number(nbytes, kind, -1)

    def _number(self, nbytes: int, kind: str, born: int) -> int:
        self.bytes.append(nbytes)
        self.kinds.append(kind)
        self.born.append(born)
        self.dies.append(None)
        return len(self.bytes) - 1

    def allocated(
        self, storage: torch.UntypedStorage, nbytes: int, kind: str = "activation", born: int | None = None
    ) -> int:
        """Number a storage that the current operator allocates, or one born before, and note when it goes."""
        number = self.add(storage._cdata, nbytes, kind, len(self._records) if born is None else born)
        self._watch(storage, number)
        return number

    def follow(self, storage: torch.UntypedStorage, number: int) -> None:
        """The memory of a storage that is numbered already: note when it goes."""
        self.at[storage._cdata] = number
        self._watch(storage, number)

    def _watch(self, storage: torch.UntypedStorage, number: int) -> None:
        address, records, dies, at = storage._cdata, self._records, self.dies, self.at

        def gone(_: Any) -> None:
            dies[number] = len(records)
            if at.get(address) == number:
                del at[address]

        self._watches.append(weakref.ref(storage, gone))

    def shared(self, storage: torch.UntypedStorage, original: torch.UntypedStorage, number: int) -> None:
        """Another storage that stands for one known, and keeps it alive."""
        address, at = storage._cdata, self.at
        at[address] = number
        storage._cnnscope_memory = original  # type: ignore[attr-defined]

        def gone(_: Any) -> None:
            at.pop(address, None)

        self._watches.append(weakref.ref(storage, gone))

    def stop(self) -> None:
        """What is alive now outlives the run."""
        self._watches.clear()
