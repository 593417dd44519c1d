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
        number = self.at[address] = len(self.bytes)
        self.bytes.append(nbytes)
        self.kinds.append(kind)
        self.born.append(born)
        self.dies.append(None)
        return number

    def allocated(
        self, storage: torch.UntypedStorage, nbytes: int, kind: str = "activation", born: int | None = None
    ) -> int:
        """Number a storage that the current operator allocates, or one born before, and note when it goes."""
        address = storage._cdata
        records = self._records
        number = self.add(address, nbytes, kind, len(records) if born is None else born)
        dies, at = self.dies, self.at

        def gone(_: Any) -> None:
            dies[number] = len(records)
            if at.get(address) == number:
                del at[address]

        self._watches.append(weakref.ref(storage, gone))
        return number

    def passed(self, nbytes: int, dies: int) -> int:
        """Number a storage that the current operator allocates and that is known to be freed."""
        self.bytes.append(nbytes)
        self.kinds.append("activation")
        self.born.append(len(self._records))
        self.dies.append(dies)
        return len(self.bytes) - 1

    def stop(self) -> None:
        """What is alive now outlives the run."""
        self._watches.clear()
