"""Shards: even, complete, and none ever empty, however many workers there are."""

from collections.abc import Iterator
from math import ceil

#: Records in one shard at most.
BATCH = 10_000


def shards_of(count: int, *, workers: int, batch: int = BATCH) -> list[int]:
    """
    The sizes of the shards of *count* records: as many as keep *workers* busy and none above *batch*.

    They differ by at most one, the larger ones first; there is none where there is no record.
    """
    if not count:
        return []
    shards = min(count, max(workers, ceil(count / batch)))
    size, larger = divmod(count, shards)
    return [size + 1] * larger + [size] * (shards - larger)


def spans_of(sizes: list[int]) -> Iterator[tuple[int, int]]:
    """Where each shard begins and ends, the end left out."""
    start = 0
    for size in sizes:
        yield start, start + size
        start += size
