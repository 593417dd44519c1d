"""The simulated caching allocator: its laws, sequences worked by hand from the C++ source, and a second one, naive.

The source is c10/cuda/CUDACachingAllocator.cpp; the functions named in comments are its.
"""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_allocator import NaiveAllocator

from cnnscope.analyses.allocator import Allocator, Event, simulate
from cnnscope.errors import InvalidGraph

KB, MB = 1024, 1024 * 1024
BOTH = pytest.mark.parametrize("expandable", [False, True], ids=["default", "expandable"])
EDGES = [1, 511, 512, 513, MB - 512, MB - 511, MB, MB + 1, 2 * MB, 10 * MB - 512, 10 * MB - 511, 10 * MB, 10 * MB + 1]
SIZES = st.one_of(
    st.sampled_from(EDGES),
    st.integers(0, 4 * KB),
    st.integers(1, 30 * MB),
    st.integers(1, 20).map(lambda n: n * MB),
    st.integers(1, 60).map(lambda n: n * 256 * KB),
)


@st.composite
def streams(draw: st.DrawFn, *, freeing_all: bool = False) -> list[Event]:
    """Allocations, and frees in any order of what is alive."""
    steps = draw(st.lists(st.one_of(SIZES, st.integers(-50, -1)), max_size=60))
    events: list[Event] = []
    alive: list[int] = []
    for step in steps:
        if step >= 0:
            alive.append(len(events))
            events.append((len(events), step))
        elif alive:
            events.append((alive.pop(step % len(alive)), -1))
    if freeing_all:
        events += [(storage, -1) for storage in draw(st.permutations(alive))]
    return events


def step(allocator: Allocator, event: Event) -> bool:
    storage, size = event
    if size < 0:
        allocator.free(storage)
        return True
    return allocator.allocate(storage, size)


# Laws


@BOTH
@given(streams())
def test_bytes_are_ordered_and_reserved_never_shrinks(expandable: bool, events: list[Event]):
    series = simulate(events, expandable=expandable, series=True).series
    assert series is not None
    alive: dict[int, int] = {}
    for index, (storage, size) in enumerate(events):
        alive.pop(storage) if size < 0 else alive.update({storage: size})
        assert series.requested[index] == sum(alive.values())
        assert series.requested[index] <= series.allocated[index] <= series.reserved[index]
        assert series.allocated[index] % 512 == 0
    assert list(series.reserved) == sorted(series.reserved)


@BOTH
@given(streams())
def test_peaks_and_ends_are_those_of_the_series(expandable: bool, events: list[Event]):
    done = simulate(events, expandable=expandable, series=True)
    assert done.series is not None
    ends = [done.requested_end, done.allocated_end, done.reserved_end]
    peaks = [done.requested_peak, done.allocated_peak, done.reserved_peak]
    places = [done.requested_at, done.allocated_at, done.reserved_at]
    for series, peak, at, end in zip(done.series, peaks, places, ends, strict=True):
        assert peak == max(series, default=0)
        assert end == (series[-1] if series else 0)
        assert at == (series.index(peak) if peak else None)
    assert simulate(events, expandable=expandable).series is None


@BOTH
@given(streams(freeing_all=True))
def test_all_freed_in_any_order_leaves_each_segment_one_free_block(expandable: bool, events: list[Event]):
    done = simulate(events, expandable=expandable)
    assert done.requested_end == done.allocated_end == 0
    assert all(segment.free == segment.largest == segment.size for segment in done.segments)
    assert sum(segment.size for segment in done.segments) == done.reserved_end == done.reserved_peak
    if expandable:
        assert len(done.segments) <= 2, "one growing segment a pool"


@BOTH
@given(streams())
def test_live_blocks_lie_apart_and_inside_one_segment_of_their_pool(expandable: bool, events: list[Event]):
    allocator = Allocator(expandable=expandable)
    for event in events:
        step(allocator, event)
        blocks = sorted(block for block in allocator.blocks.values() if block[1])
        assert all(address + size <= later for (address, size, _), (later, _, _) in pairwise(blocks))
        for address, size, requested in blocks:
            pool = allocator.small if requested <= MB else allocator.large
            assert any(first <= address and address + size <= first + all_ for first, all_ in pool.segments())
        taken = sum(size for _, size, _ in blocks)
        assert taken == allocator.allocated
        assert taken + sum(segment.free for segment in allocator.segments()) == allocator.device.reserved


@BOTH
@given(streams())
def test_an_allocation_freed_and_repeated_gets_the_same_place_and_nothing_new(expandable: bool, events: list[Event]):
    """The merge has made the block anew of which it was cut; or it is in the only block that is large enough."""
    allocator = Allocator(expandable=expandable)
    for event in events:
        step(allocator, event)
    for size in EDGES:
        allocator.allocate(-1, size)
        place, reserved = allocator.blocks[-1], allocator.device.reserved
        allocator.free(-1)
        allocator.allocate(-1, size)
        assert (allocator.blocks[-1], allocator.device.reserved) == (place, reserved)
        allocator.free(-1)


@BOTH
@given(streams(), st.integers(0, 150))
def test_capacity_is_kept_and_changes_nothing_where_it_is_enough(expandable: bool, events: list[Event], budget: int):
    free, tight = simulate(events, expandable=expandable), simulate(events, expandable=expandable, capacity=budget * MB)
    assert tight.reserved_peak <= budget * MB
    if free.reserved_peak <= budget * MB:
        assert tight == free
    if tight.failed:
        failed = tight.failed
        assert events[failed.event] == (failed.storage, failed.bytes)
        assert failed.requested <= failed.allocated <= failed.reserved <= budget * MB
        assert expandable or failed.reserved + failed.tried > budget * MB
        assert tight.retries >= 1
        assert simulate(events[: failed.event], expandable=expandable, capacity=budget * MB).failed is None
    else:
        assert tight.requested_peak == free.requested_peak


# The same by another program


def layout(allocator: Allocator) -> list[list[tuple[int, int, int]]]:
    """Per segment in the order of addresses: offset, size and storage of the live blocks."""
    found = []
    for pool in (allocator.small, allocator.large):
        for first, size in pool.segments():
            inside = [(a - first, n, k) for k, (a, n, _) in allocator.blocks.items() if n and first <= a < first + size]
            found.append(sorted(inside))
    return found


def naive_layout(naive: NaiveAllocator) -> list[list[tuple[int, int, int]]]:
    found: list[list[tuple[int, int, int]]] = []
    for stretch in sorted(naive.stretches, key=lambda stretch: not stretch.small):
        offset, mapped = 0, False
        for cell in stretch.cells:
            if cell.state == "unmapped":
                mapped = False
                continue
            if not mapped:
                found.append([])
                offset, mapped = 0, True
            if cell.key is not None:
                found[-1].append((offset, cell.size, cell.key))
            offset += cell.size
    return found


def same_in_both(events: list[Event], expandable: bool, capacity: int | None) -> None:
    fast, slow = Allocator(expandable=expandable, capacity=capacity), NaiveAllocator(expandable, capacity)
    refused: set[int] = set()  # the program goes on after an OutOfMemoryError
    for event in events:
        storage, size = event
        if storage in refused:
            continue
        if size < 0:
            fast.free(storage)
            slow.free(storage)
        else:
            done = fast.allocate(storage, size)
            assert done == slow.malloc(storage, size)
            refused |= set() if done else {storage}
        assert (fast.allocated, fast.device.reserved) == (slow.allocated, slow.reserved)
        assert layout(fast) == naive_layout(slow)


@BOTH
@settings(max_examples=200, deadline=None)
@given(streams())
def test_every_block_is_where_a_naive_allocator_puts_it(expandable: bool, events: list[Event]):
    same_in_both(events, expandable, None)


@BOTH
@settings(max_examples=300, deadline=None)
@given(streams(), st.integers(0, 150))
def test_the_same_when_memory_runs_out(expandable: bool, events: list[Event], budget: int):
    same_in_both(events, expandable, budget * MB)


@BOTH
@pytest.mark.parametrize("capacity", [None, 90 * MB, 150 * MB, 240 * MB, 330 * MB])
def test_the_same_on_long_streams_that_fill_and_empty_the_memory(expandable: bool, capacity: int | None):
    dice = random.Random(capacity)
    events: list[Event] = []
    alive: list[int] = []
    for number in range(800):
        freeing = 0.25 if number % 100 < 60 else 0.8
        if alive and dice.random() < freeing:
            events.append((alive.pop(dice.randrange(len(alive))), -1))
        else:
            events.append((number, dice.choice([dice.randrange(4 * MB), dice.randrange(60 * MB), dice.choice(EDGES)])))
            alive.append(number)
    same_in_both(events, expandable, capacity)


@BOTH
@pytest.mark.parametrize("seed", [*range(20), 753, 1786, 2261])
def test_the_same_for_requests_of_up_to_half_the_memory(expandable: bool, seed: int):
    """Refused requests leave expandable segments behind; with the last seeds it matters that empty ones go back."""
    dice = random.Random(seed)
    capacity = dice.choice([60, 100, 120, 160, 200]) * MB
    events: list[Event] = []
    alive: list[int] = []
    for number in range(60):
        if alive and dice.random() < (0.3 if number % 30 < 18 else 0.8):
            events.append((alive.pop(dice.randrange(len(alive))), -1))
        else:
            events.append((number, dice.randrange(1, capacity // 2)))
            alive.append(number)
    same_in_both(events, expandable, capacity)


# By hand


def bytes_of(*sizes: int, expandable: bool = False) -> tuple[int, int]:
    done = simulate(enumerate(sizes), expandable=expandable)
    return done.allocated_end, done.reserved_end


@pytest.mark.parametrize(
    ("size", "allocated", "segment"),
    [
        (0, 0, 0),  # no block for nothing
        (1, 512, 2 * MB),  # kMinBlockSize; kSmallBuffer
        (513, 1024, 2 * MB),
        (MB, MB, 2 * MB),  # kSmallSize is the largest small one
        (MB + 1, MB + 512, 20 * MB),  # kLargeBuffer
        (10 * MB - 512, 10 * MB - 512, 20 * MB),
        (10 * MB - 511, 10 * MB, 10 * MB),  # the rounded size decides; kMinLargeAlloc is exclusive
        (10 * MB + 1, 10 * MB + 512, 12 * MB),  # kRoundLarge; the rest of 2 MiB - 512 is split off
        (11 * MB, 12 * MB, 12 * MB),  # should_split: a rest of 1 MiB is not above kSmallSize, and goes along
        (11 * MB - 512, 11 * MB - 512, 12 * MB),  # 512 more and it is
    ],
)
def test_one_request(size: int, allocated: int, segment: int):
    assert bytes_of(size) == (allocated, segment)


@pytest.mark.parametrize(
    ("size", "allocated", "mapped"),
    [
        (1, 512, 2 * MB),  # a page of the small pool
        (MB + 1, MB + 512, 20 * MB),  # a page of the large pool
        (20 * MB, 20 * MB, 20 * MB),
        (20 * MB + 1, 20 * MB + 512, 40 * MB),
        (11 * MB, 11 * MB, 20 * MB),  # should_split: any rest of 512 bytes is split off
        (40 * MB - 512, 40 * MB - 512, 40 * MB),
    ],
)
def test_one_request_with_expandable_segments(size: int, allocated: int, mapped: int):
    assert bytes_of(size, expandable=True) == (allocated, mapped)


def test_small_requests_share_a_segment_of_2_mib_and_the_two_pools_share_nothing():
    assert bytes_of(MB, MB) == (2 * MB, 2 * MB)
    assert bytes_of(MB, MB, 1) == (2 * MB + 512, 4 * MB)
    assert bytes_of(2 * MB, 1) == (2 * MB + 512, 22 * MB), "18 MiB are free, in the large pool"


def test_requests_below_10_mib_share_a_segment_of_20_mib():
    # 6 of 20 leave 14; 6 more leave 8; 7.5 leave 0.5, which is not split off
    assert bytes_of(6 * MB, 6 * MB, 7 * MB + 512 * KB) == (20 * MB, 20 * MB)
    assert bytes_of(6 * MB, 14 * MB) == (20 * MB, 20 * MB), "a larger request may have the rest"


def test_best_fit_takes_the_smallest_block_that_fits():
    events = [(0, 30 * MB), (1, 12 * MB), (2, 20 * MB), (0, -1), (1, -1), (2, -1), (3, 11 * MB)]
    allocator = Allocator()
    for event in events[:3]:
        step(allocator, event)
    twelve = allocator.blocks[1][0]
    for event in events[3:]:
        step(allocator, event)
    assert allocator.blocks[3] == (twelve, 12 * MB, 11 * MB), "the rest of 1 MiB goes along"


def test_equal_blocks_are_taken_from_the_lowest_address():
    allocator = Allocator()
    for storage in range(3):
        allocator.allocate(storage, 12 * MB)
    lowest = allocator.blocks[0][0]
    for storage in (2, 0, 1):
        allocator.free(storage)
    allocator.allocate(3, 12 * MB)
    assert allocator.blocks[3][0] == lowest


def test_a_freed_block_merges_with_both_neighbours_at_once():
    events: list[Event] = [(0, 6 * MB), (1, 6 * MB), (2, 8 * MB)]
    one = simulate([*events, (0, -1), (2, -1), (3, 19 * MB)])
    assert one.reserved_end == 40 * MB, "6 and 8 are free, with 6 between them"
    assert simulate([*events, (0, -1), (2, -1), (1, -1), (3, 19 * MB)]).reserved_end == 20 * MB


def test_fragmentation_is_seen_in_the_segments():
    done = simulate([(0, 6 * MB), (1, 6 * MB), (2, 8 * MB), (0, -1), (2, -1), (3, 1000)])
    (large, small) = done.segments
    assert large == (20 * MB, "large", 14 * MB, 8 * MB)
    assert small == (2 * MB, "small", 2 * MB - 1024, 2 * MB - 1024)


def test_expandable_best_fit_prefers_a_block_that_cannot_grow():
    # A page of 20: A 12, B 4, free 4 at the end. A freed: 12 free, 4 free. 3 MiB would best fit the 4 at the end, but
    # those could grow (expandable_size), so A's place is taken; then 12 fit nowhere and 20 more are mapped.
    events: list[Event] = [(0, 12 * MB), (1, 4 * MB), (0, -1), (2, 3 * MB)]
    allocator = Allocator(expandable=True)
    for event in events[:1]:
        step(allocator, event)
    first = allocator.blocks[0][0]
    for event in events[1:]:
        step(allocator, event)
    assert allocator.blocks[2][0] == first
    assert simulate([*events, (3, 12 * MB)], expandable=True).reserved_end == 40 * MB
    # Before B was there, the free block of 20 ended at unmapped addresses as well, and was the only one.
    assert simulate([(0, 12 * MB), (0, -1), (2, 3 * MB), (3, 12 * MB)], expandable=True).reserved_end == 20 * MB


def test_expandable_grows_from_the_free_end_of_what_is_mapped():
    # 15 of 20 leave 5 at the end; for 30, 25 more are needed: two pages. Without them: 20 + 30 in segments.
    assert bytes_of(15 * MB, 30 * MB, expandable=True) == (45 * MB, 60 * MB)
    assert bytes_of(15 * MB, 30 * MB) == (16 * MB + 30 * MB, 46 * MB)


def test_expandable_needs_less_for_sizes_that_grow_a_little_each_time():
    """The example in the source's Note [Expandable Segments]: batches that get larger."""
    events: list[Event] = []
    for step_, size in enumerate(range(100 * MB, 200 * MB, 4 * MB)):
        events += [(step_, size), (step_, -1)]
    assert simulate(events).reserved_end == sum(range(100 * MB, 200 * MB, 4 * MB))
    assert simulate(events, expandable=True).reserved_end == 200 * MB


def test_cached_segments_go_back_when_memory_runs_out():
    # release_cached_blocks, then once more: 30 do not fit beside the cached 20 in 40.
    done = simulate([(0, 20 * MB), (0, -1), (1, 30 * MB)], capacity=40 * MB)
    assert (done.failed, done.retries, done.reserved_end) == (None, 1, 30 * MB)


def test_a_segment_in_use_cannot_go_back_and_the_failed_request_is_named():
    events: list[Event] = [(7, 6 * MB), (8, 6 * MB), (7, -1), (9, 5 * MB), (5, 9 * MB)]
    done = simulate(events, capacity=39 * MB)
    # Storage 9 takes the hole of 6 whole. 20 reserved, 12 allocated, 8 free: no 9, and no 20 more.
    assert done.failed == (4, 5, 9 * MB, 20 * MB, 11 * MB, 12 * MB, 20 * MB)
    assert done.failed.requested + done.failed.bytes <= 39 * MB, "by the sum alone it would have fitted"
    assert simulate(events, capacity=40 * MB).failed is None
    assert simulate(events, capacity=39 * MB, expandable=True).failed is not None, "pages have 20 MiB too"


def test_expandable_gives_back_the_pages_between_live_blocks():
    # Three pages: A on the first, B on all three but a little, C behind it on the third. B freed: the second page goes
    # back (unmap takes whole pages only), and the small pool can have it.
    events: list[Event] = [(0, 10 * MB), (1, 40 * MB), (2, 10 * MB), (1, -1)]
    small = [(10 + i, MB) for i in range(20)]
    done = simulate([*events, *small], expandable=True, capacity=60 * MB)
    assert (done.failed, done.retries, done.reserved_end) == (None, 1, 60 * MB)
    assert [segment.size for segment in done.segments] == [20 * MB, 20 * MB, 20 * MB]
    again = simulate([*events, *small, (3, 40 * MB)], expandable=True, capacity=80 * MB)
    assert again.failed is None
    assert again.retries == 0, "80 MiB hold them all"


def test_a_second_step_that_does_the_same_may_reserve_more():
    # First step: 6 and 12 share a segment of 20, 16 has its own: 36. Second: 6 best fits the cached 16, 12 goes to the
    # 20, and 16 needs a new segment. Who asks for the steady state has to simulate several steps.
    one: list[Event] = [(0, 6 * MB), (1, 12 * MB), (2, 16 * MB), (0, -1), (1, -1), (2, -1)]
    assert [simulate(one * steps).reserved_end // MB for steps in (1, 2, 3)] == [36, 52, 52]


def test_nothing_asked_for_is_nothing_had():
    done = simulate([])
    assert done.reserved_peak == 0 and done.reserved_at is None and done.segments == ()
    assert simulate([(0, 0), (0, -1)], series=True).series == ((0, 0), (0, 0), (0, 0))


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([(3, 10), (3, 20)], "storage 3 is allocated twice"),
        ([(4, -1)], "storage 4 is freed but not allocated"),
        ([(4, 10), (4, -1), (4, -1)], "storage 4 is freed but not allocated"),
    ],
)
def test_a_stream_that_makes_no_sense_is_refused(events: list[Event], words: str):
    with pytest.raises(InvalidGraph, match=words):
        simulate(events)
