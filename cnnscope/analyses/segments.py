"""Where PyTorch's CUDA caching allocator finds memory: its pools of free blocks, and the segments behind them.

The rules are those of ``c10/cuda/CUDACachingAllocator.cpp``; the constants stand in ``c10/core/AllocatorConfig.h`` of
torch 2.13 and bear its names without the ``k``. Blocks are (address, size). Addresses only grow here, while a driver
may give any: among free blocks of equal size another one may then be the lowest.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

MIN_BLOCK_SIZE = 512
SMALL_SIZE = 1 << 20  # the largest request of the small pool
SMALL_BUFFER = 2 << 20
MIN_LARGE_ALLOC = 10 << 20
LARGE_BUFFER = 20 << 20  # large_segment_size
ROUND_LARGE = 2 << 20

Block = tuple[int, int]

_SHIFT = 60  # a free block is the number ``size << 60 | address``: such numbers sort as (size, address) does
_ADDRESS = (1 << _SHIFT) - 1
_ADDRESS_SPACE = 1 << 50  # of an expandable segment on a device without a limit


def rounded_size(size: int) -> int:
    """Bytes of the block that a request of more than nothing asks for."""
    return -(-size // MIN_BLOCK_SIZE) * MIN_BLOCK_SIZE


def segment_size(rounded: int) -> int:
    """Bytes of the segment that is made for a request when nothing cached fits."""
    if rounded <= SMALL_SIZE:
        return SMALL_BUFFER
    return LARGE_BUFFER if rounded < MIN_LARGE_ALLOC else -(-rounded // ROUND_LARGE) * ROUND_LARGE


class Device:
    """The memory of a GPU, as far as this allocator has it: ``reserved`` bytes of ``capacity`` (None: no limit).

    peak: the most that was reserved, also for a moment within one allocation.
    """

    def __init__(self, capacity: int | None = None) -> None:
        self.capacity = capacity
        self.reserved = self.peak = 0
        self._next = LARGE_BUFFER

    def grants(self, size: int) -> bool:
        """Reserve so many bytes, or say that they are not there."""
        if self.capacity is not None and self.reserved + size > self.capacity:
            return False
        self.reserved += size
        self.peak = max(self.peak, self.reserved)
        return True

    def addresses(self, size: int) -> int:
        """The first of so many addresses, at a page's beginning, next to no others."""
        start = self._next
        self._next += (size // LARGE_BUFFER + 2) * LARGE_BUFFER
        return start

    @property
    def address_space(self) -> int:
        """Addresses that an expandable segment claims: 1 1/8 of the device's memory."""
        return _ADDRESS_SPACE if self.capacity is None else max(1, self.capacity + self.capacity // 8)


class Pool:
    """The free blocks of small or of large requests, in segments that are each one ``cudaMalloc``."""

    def __init__(self, device: Device, *, small: bool) -> None:
        self.device = device
        self.small = small
        self.starts: dict[int, int] = {}  # free blocks: first address -> size
        self._ends: dict[int, int] = {}  # the same by the address behind the last
        self._order: list[int] = []  # the same by size, then address
        self._segments: dict[int, int] = {}
        self._least_rest = MIN_BLOCK_SIZE if small else SMALL_SIZE + 1

    def take(self, size: int) -> Block | None:
        """The smallest free block that holds the size, the rest cut off; None when the cache has none."""
        at = bisect_left(self._order, size << _SHIFT)
        return self._cut(self._order.pop(at), size) if at < len(self._order) else None

    def grow(self, size: int) -> Block | None:
        """A block of a new segment; None when the device does not grant it."""
        segment = segment_size(size)
        if not self.device.grants(segment):
            return None
        address = self.device.addresses(segment)
        self._segments[address] = segment
        self._put(address, segment)
        return self._cut(self._order.pop(bisect_left(self._order, segment << _SHIFT | address)), size)

    def free(self, address: int, size: int) -> None:
        """Put a block back, merged with the free ones beside it. Segments are never neighbours."""
        before = self._ends.get(address)
        if before is not None:
            address -= before
            size += before
            self._remove(address, before)
        after = self.starts.get(address + size)
        if after is not None:
            self._remove(address + size, after)
            size += after
        self._put(address, size)

    def release(self) -> None:
        """Give every segment back that is one free block."""
        for address, size in list(self.starts.items()):
            if self._segments.get(address) == size:
                self._remove(address, size)
                del self._segments[address]
                self.device.reserved -= size

    def segments(self) -> Iterator[Block]:
        """Address and size of what is reserved, by address."""
        yield from sorted(self._segments.items())

    def _put(self, address: int, size: int) -> None:
        self.starts[address] = size
        self._ends[address + size] = size
        insort(self._order, size << _SHIFT | address)

    def _remove(self, address: int, size: int) -> None:
        del self.starts[address], self._ends[address + size]
        del self._order[bisect_left(self._order, size << _SHIFT | address)]

    def _cut(self, found: int, size: int) -> Block:
        """Take the size from the front of a free block (no longer in order); a rest too small goes along."""
        address, whole = found & _ADDRESS, found >> _SHIFT
        del self.starts[address], self._ends[address + whole]
        if whole - size < self._least_rest:
            return address, whole
        self._put(address + size, whole - size)
        return address, size


class ExpandablePool(Pool):
    """With ``expandable_segments:True``: a range of addresses, and memory mapped into it page by page.

    A segment of ``segments()`` is then a stretch that is mapped without a gap.
    """

    def __init__(self, device: Device, *, small: bool) -> None:
        super().__init__(device, small=small)
        self._least_rest = MIN_BLOCK_SIZE
        self._page = SMALL_BUFFER if small else LARGE_BUFFER
        self._unmapped: dict[int, int] = {}

    def take(self, size: int) -> Block | None:
        """Best fit, where a block counts as large as it could grow into the unmapped addresses behind it."""
        order = self._order
        at = bisect_left(order, size << _SHIFT)
        if at == len(order):
            return None
        while at + 1 < len(order) and self._growable(order[at + 1]) < self._growable(order[at]):
            at += 1
        return self._cut(order.pop(at), size)

    def _growable(self, free: int) -> int:
        size = free >> _SHIFT
        return size + self._unmapped.get((free & _ADDRESS) + size, 0)

    def grow(self, size: int) -> Block | None:
        """A block at the lowest address where free and unmapped memory are enough together.

        None when the device does not grant a page; what was mapped until then stays, as a free block.
        """
        start = self._room(size)
        if start in self._unmapped and not self._map(start, size):
            return None
        while (mapped := self.starts[start]) < size:
            if not self._map(start + mapped, size - mapped):
                return None
        return self._cut(self._order.pop(bisect_left(self._order, mapped << _SHIFT | start)), size)

    def release(self) -> None:
        """Unmap every page on which nothing lives."""
        for address, size in list(self.starts.items()):
            first, last = self._pages(address), (address + size) // self._page * self._page
            if first >= last:
                continue
            self._remove(address, size)
            if address < first:
                self._put(address, first - address)
            if last < address + size:
                self._put(last, address + size - last)
            self.device.reserved -= last - first
            self._unmap(first, last)

    def segments(self) -> Iterator[Block]:
        for address, size in sorted(self._segments.items()):
            end = address + size
            gaps = sorted(gap for gap in self._unmapped if address <= gap < end)
            for gap in [*gaps, end]:
                if address < gap:
                    yield address, gap - address
                address = gap + self._unmapped.get(gap, 0)

    def _pages(self, size: int) -> int:
        return -(-size // self._page) * self._page

    def _room(self, size: int) -> int:
        """Where free and unmapped blocks next to one another hold the size, if need be in a new range."""
        for gap in sorted(self._unmapped):
            start = end = gap - self._ends.get(gap, 0)
            while end - start < size and (more := self.starts.get(end) or self._unmapped.get(end)):
                end += more
            if end - start >= size:
                return start
        space = self._pages(self.device.address_space)
        start = self.device.addresses(space)
        self._segments[start] = self._unmapped[start] = space
        return start

    def _map(self, start: int, size: int) -> bool:
        """Map pages from the beginning of an unmapped stretch, at most all of it."""
        room = self._unmapped[start]
        size = self._pages(min(room, size))
        if not self.device.grants(size):
            return False
        del self._unmapped[start]
        if size < room:
            self._unmapped[start + size] = room - size
        self.free(start, size)
        return True

    def _unmap(self, first: int, last: int) -> None:
        for start, size in list(self._unmapped.items()):
            if start + size == first or start == last:
                del self._unmapped[start]
                first, last = min(first, start), max(last, start + size)
        self._unmapped[first] = last - first
        if self._segments.get(first) == last - first:
            del self._segments[first], self._unmapped[first]
