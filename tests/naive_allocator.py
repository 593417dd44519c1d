"""The caching allocator once more, after the C++ text, by linear search: slow, and plain to compare with it.

A segment is a list of cells in the order of their addresses. Nothing is indexed, everything is looked for.
Named as in c10/cuda/CUDACachingAllocator.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass, field

MB = 1024 * 1024


@dataclass
class Cell:
    size: int
    state: str  # used, free, unmapped
    key: int | None = None


@dataclass
class Stretch:
    """What one cudaMalloc gave, or one ExpandableSegment."""

    small: bool
    cells: list[Cell] = field(default_factory=list)


class NaiveAllocator:
    def __init__(self, expandable: bool, capacity: int | None) -> None:
        self.expandable = expandable
        self.capacity = capacity
        self.stretches: list[Stretch] = []  # by address: later ones lie higher
        self.reserved = 0

    @property
    def allocated(self) -> int:
        return sum(cell.size for stretch in self.stretches for cell in stretch.cells if cell.state == "used")

    def malloc(self, key: int, orig_size: int) -> bool:
        if orig_size == 0:
            return True
        size = 512 if orig_size < 512 else 512 * ((orig_size + 511) // 512)
        small = size <= 1 * MB
        place = self.get_free_block(small, size) or self.alloc_block(small, size)
        if place is None:
            self.release_cached_blocks()
            place = self.alloc_block(small, size)
        if place is None:
            return False
        stretch, index = place
        cell = stretch.cells[index]
        assert cell.state == "free"
        remaining = cell.size - size
        if remaining >= 512 if small or self.expandable else remaining > 1 * MB:
            stretch.cells[index : index + 1] = [Cell(size, "used", key), Cell(remaining, "free")]
        else:
            cell.state, cell.key = "used", key
        return True

    def free(self, key: int) -> None:
        for stretch in self.stretches:
            for index, cell in enumerate(stretch.cells):
                if cell.state == "used" and cell.key == key:
                    cell.state, cell.key = "free", None
                    self.try_merge_blocks(stretch, index)
                    return

    def try_merge_blocks(self, stretch: Stretch, index: int) -> int:
        """Merge the cell with neighbours of its state; where it then is."""
        cells = stretch.cells
        if index + 1 < len(cells) and cells[index + 1].state == cells[index].state:
            cells[index].size += cells.pop(index + 1).size
        if index > 0 and cells[index - 1].state == cells[index].state:
            cells[index - 1].size += cells.pop(index).size
            index -= 1
        return index

    def get_free_block(self, small: bool, size: int) -> tuple[Stretch, int] | None:
        found = [
            (cell.size, number, index)
            for number, stretch in enumerate(self.stretches)
            for index, cell in enumerate(stretch.cells)
            if stretch.small == small and cell.state == "free" and cell.size >= size
        ]
        found.sort()
        if not found:
            return None
        it = 0
        while self.expandable and it + 1 < len(found) and self.growth(found[it + 1]) < self.growth(found[it]):
            it += 1
        return self.stretches[found[it][1]], found[it][2]

    def growth(self, place: tuple[int, int, int]) -> int:
        _, number, index = place
        cells = self.stretches[number].cells
        behind = cells[index + 1] if index + 1 < len(cells) else None
        return cells[index].size + (behind.size if behind is not None and behind.state == "unmapped" else 0)

    def alloc_block(self, small: bool, size: int) -> tuple[Stretch, int] | None:
        if self.expandable:
            return self.try_allocate_expandable_block(small, size)
        if small:
            segment = 2 * MB
        elif size < 10 * MB:
            segment = 20 * MB
        else:
            segment = 2 * MB * ((size + 2 * MB - 1) // (2 * MB))
        if not self.cuda_malloc(segment):
            return None
        self.stretches.append(Stretch(small, [Cell(segment, "free")]))
        return self.stretches[-1], 0

    def cuda_malloc(self, size: int) -> bool:
        if self.capacity is not None and self.reserved + size > self.capacity:
            return False
        self.reserved += size
        return True

    def find_expandable_block(self, small: bool, size: int) -> tuple[Stretch, int]:
        for stretch in self.stretches:
            if stretch.small != small:
                continue
            for index, cell in enumerate(stretch.cells):
                if cell.state != "unmapped":
                    continue
                candidate = index - 1 if index > 0 and stretch.cells[index - 1].state == "free" else index
                available = 0
                for other in stretch.cells[candidate:]:
                    if available >= size or other.state == "used":
                        break
                    available += other.size
                if available >= size:
                    return stretch, candidate
        page = 2 * MB if small else 20 * MB
        total = 1 << 50 if self.capacity is None else max(1, self.capacity + self.capacity // 8)
        self.stretches.append(Stretch(small, [Cell(page * ((total + page - 1) // page), "unmapped")]))
        return self.stretches[-1], 0

    def map_block(self, stretch: Stretch, index: int, size: int) -> int | None:
        page = 2 * MB if stretch.small else 20 * MB
        mapped = page * ((size + page - 1) // page)
        if not self.cuda_malloc(mapped):
            return None
        cell = stretch.cells[index]
        assert cell.state == "unmapped" and mapped <= cell.size
        if mapped < cell.size:
            stretch.cells.insert(index + 1, Cell(cell.size - mapped, "unmapped"))
        cell.size, cell.state = mapped, "free"
        return self.try_merge_blocks(stretch, index)

    def try_allocate_expandable_block(self, small: bool, size: int) -> tuple[Stretch, int] | None:
        stretch, at = self.find_expandable_block(small, size)
        index: int | None = at
        if stretch.cells[at].state == "unmapped":
            index = self.map_block(stretch, at, min(stretch.cells[at].size, size))
        while index is not None and stretch.cells[index].size < size:
            remaining = size - stretch.cells[index].size
            index = self.map_block(stretch, index + 1, min(remaining, stretch.cells[index + 1].size))
        return None if index is None else (stretch, index)

    def release_cached_blocks(self) -> None:
        for small in (False, True):
            if self.expandable:
                self.unmap_blocks(small)
            else:
                gone = [s for s in self.stretches if s.small == small and [c.state for c in s.cells] == ["free"]]
                self.reserved -= sum(stretch.cells[0].size for stretch in gone)
                self.stretches = [stretch for stretch in self.stretches if all(stretch is not other for other in gone)]

    def unmap_blocks(self, small: bool) -> None:
        """Pages, one after the other, that lie wholly in a free block."""
        page = 2 * MB if small else 20 * MB
        for stretch in [stretch for stretch in self.stretches if stretch.small == small]:
            cells, address, unmapped = [], 0, 0
            for cell in stretch.cells:
                begin, end = -(-address // page) * page, (address + cell.size) // page * page
                if cell.state == "free" and begin < end:
                    before, after = begin - address, address + cell.size - end
                    cells += [Cell(before, "free"), Cell(end - begin, "unmapped"), Cell(after, "free")]
                    unmapped += end - begin
                else:
                    cells.append(cell)
                address += cell.size
            stretch.cells = [cell for cell in cells if cell.size]
            index = 0
            while index < len(stretch.cells):
                index = index + 1 if stretch.cells[index].state != "unmapped" else self.joined(stretch, index) + 1
            self.reserved -= unmapped
            if unmapped and [cell.state for cell in stretch.cells] == ["unmapped"]:
                self.stretches = [other for other in self.stretches if other is not stretch]

    def joined(self, stretch: Stretch, index: int) -> int:
        while index + 1 < len(stretch.cells) and stretch.cells[index + 1].state == "unmapped":
            stretch.cells[index].size += stretch.cells.pop(index + 1).size
        return index
