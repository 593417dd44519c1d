"""What PyTorch's CUDA caching allocator makes of a stream of allocations: requested, allocated, reserved bytes.

*Requested* is what the program asked for. *Allocated* counts the blocks that hold it (``torch.cuda.memory_allocated``):
sizes rounded up to 512 bytes, and the rest of a block when it is too small to be split off. *Reserved* is what the
allocator took from the device (``torch.cuda.memory_reserved``) and keeps, free or not, until memory runs out. One
stream, default settings but for ``expandable_segments``; ``segments.py`` has the rules.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import InvalidGraph
from .segments import SMALL_SIZE, Block, Device, ExpandablePool, Pool, rounded_size, segment_size

Event = tuple[int, int]  # storage, bytes: allocated; storage, -1: freed


class Segment(NamedTuple):
    """Memory reserved in one piece, in bytes. pool: small or large; free: not allocated; largest: free block."""

    size: int
    pool: str
    free: int
    largest: int


class Failure(NamedTuple):
    """The allocation for which the memory was not enough, and how things stood then, in bytes.

    event: its index; tried: what PyTorch's message says that it "tried to allocate". Where ``requested + bytes`` are
    within the capacity, rounding and fragmentation are the cause.
    """

    event: int
    storage: int
    bytes: int
    tried: int
    requested: int
    allocated: int
    reserved: int


class Series(NamedTuple):
    """Bytes after every event."""

    requested: tuple[int, ...]
    allocated: tuple[int, ...]
    reserved: tuple[int, ...]


@dataclass(frozen=True)
class Simulation:
    """Bytes at the peak and at the end; ``..._at`` is the event that first reaches the peak (None: no event did).

    The peaks of the three need not fall together. With ``failed`` the run ends before that allocation.
    segments: what is reserved at the end; retries: how often the cache was emptied because memory ran out.
    """

    requested_peak: int
    requested_at: int | None
    requested_end: int
    allocated_peak: int
    allocated_at: int | None
    allocated_end: int
    reserved_peak: int
    reserved_at: int | None
    reserved_end: int
    segments: tuple[Segment, ...]
    retries: int
    failed: Failure | None
    series: Series | None


class Allocator:
    """The state of the allocator, and its one move each way.

    blocks: storage -> (address, size, bytes asked for) of what is alive; a request for nothing has size 0.
    """

    def __init__(self, *, expandable: bool = False, capacity: int | None = None) -> None:
        self.device = Device(capacity)
        kind = ExpandablePool if expandable else Pool
        self.small, self.large = kind(self.device, small=True), kind(self.device, small=False)
        self.blocks: dict[int, tuple[int, int, int]] = {}
        self.requested = self.allocated = self.retries = 0

    def allocate(self, storage: int, size: int) -> bool:
        """Find a block in the cache, else from the device, else after emptying the cache; False when out of memory."""
        if storage in self.blocks:
            raise InvalidGraph(f"storage {storage} is allocated twice")
        if not size:  # no block, no bytes: an empty tensor
            self.blocks[storage] = (0, 0, 0)
            return True
        rounded = rounded_size(size)
        pool = self.pool(rounded)
        block = pool.take(rounded) or pool.grow(rounded) or self._retry(pool, rounded)
        if block is None:
            return False
        self.blocks[storage] = (*block, size)
        self.requested += size
        self.allocated += block[1]
        return True

    def free(self, storage: int) -> None:
        """Back into the cache, merged with free neighbours; nothing goes back to the device."""
        if storage not in self.blocks:
            raise InvalidGraph(f"storage {storage} is freed but not allocated")
        address, size, requested = self.blocks.pop(storage)
        if not size:
            return
        self.requested -= requested
        self.allocated -= size
        # A block that took a whole rest along may be larger than its pool's requests: what was asked for decides.
        self.pool(rounded_size(requested)).free(address, size)

    def pool(self, rounded: int) -> Pool:
        return self.small if rounded <= SMALL_SIZE else self.large

    def segments(self) -> tuple[Segment, ...]:
        """All that is reserved, the large pool's first."""
        found = []
        for pool in (self.large, self.small):
            name, starts = "small" if pool.small else "large", sorted(pool.starts)
            for address, size in pool.segments():
                inside = starts[bisect_left(starts, address) : bisect_left(starts, address + size)]
                free = [pool.starts[start] for start in inside]
                found.append(Segment(size, name, sum(free), max(free, default=0)))
        return tuple(found)

    def failure(self, event: int, storage: int, size: int) -> Failure:
        """How things stand when there is no memory for so many bytes."""
        return Failure(
            event, storage, size, segment_size(rounded_size(size)), self.requested, self.allocated, self.device.reserved
        )

    def _retry(self, pool: Pool, rounded: int) -> Block | None:
        self.large.release()
        self.small.release()
        self.retries += 1
        return pool.grow(rounded)


def simulate(
    events: Iterable[Event], *, expandable: bool = False, capacity: int | None = None, series: bool = False
) -> Simulation:
    """Run the allocations and frees of one stream of a fresh process through the allocator.

    Args:
        events: (storage, bytes) allocates, (storage, -1) frees; a storage may be allocated again once freed.
        expandable: as with ``PYTORCH_ALLOC_CONF=expandable_segments:True``.
        capacity: bytes that the allocator can get from the device, where the first failure ends the run; None: all.
        series: keep the bytes after every event.

    Raises:
        InvalidGraph: a storage is allocated while alive, or freed while not.
    """
    allocator = Allocator(expandable=expandable, capacity=capacity)
    device = allocator.device
    requested, allocated, reserved = [], [], []
    failed, reserved_at = None, None
    for index, (storage, size) in enumerate(events):
        before = device.peak
        if size < 0:
            allocator.free(storage)
        elif not allocator.allocate(storage, size):
            failed = allocator.failure(index, storage, size)
        if device.peak > before:
            reserved_at = index
        if failed:
            break
        requested.append(allocator.requested)
        allocated.append(allocator.allocated)
        reserved.append(device.reserved)
    return Simulation(
        *_peak(requested), allocator.requested,
        *_peak(allocated), allocator.allocated,
        device.peak, reserved_at, device.reserved,
        allocator.segments(), allocator.retries, failed,
        Series(tuple(requested), tuple(allocated), tuple(reserved)) if series else None,
    )  # fmt: skip


def _peak(amounts: list[int]) -> tuple[int, int | None]:
    """The largest amount, and where it first is."""
    peak = max(amounts, default=0)
    return peak, amounts.index(peak) if peak else None
