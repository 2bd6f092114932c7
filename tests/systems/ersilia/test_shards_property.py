"""Shards are even, complete and never empty."""

import pytest

from limner.systems.ersilia.precalc.shards import shards_of, spans_of


def test_e2_shards_property_over_every_small_number() -> None:
    """For 0 to 200 records on 1 to 60 workers: disjoint, complete, none empty, and sizes differ by at most one."""
    for count in range(201):
        for workers in range(1, 61):
            sizes = shards_of(count, workers=workers)
            covered = [place for start, end in spans_of(sizes) for place in range(start, end)]
            assert covered == list(range(count))
            assert not sizes or (min(sizes) >= 1 and max(sizes) - min(sizes) <= 1)
            assert len(sizes) == min(count, workers)


@pytest.mark.parametrize(
    ("count", "workers", "shards"),
    [(10, 50, 10), (100, 50, 50), (1_355_160, 50, 136), (1_999_999, 50, 200), (0, 50, 0)],
)
def test_shards_property_of_known_sizes(count: int, workers: int, shards: int) -> None:
    """The numbers that the original's libraries have."""
    sizes = shards_of(count, workers=workers)
    assert (len(sizes), sum(sizes)) == (shards, count)
    assert max(sizes, default=0) <= 10_000
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
