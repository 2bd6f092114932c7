"""Samples are streams: stored results in the order of their ids, pictures one at a time."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.domain.reads import FileRead
from limner.domain.tasks import Status
from limner.errors import NotFound, UsageError
from limner.models.samples import Handed, PictureSamples, StoredSamples
from limner.store.store import Store
from tests.models.cases import CATALOGUE, keep_results, vectors


def test_stored_values_come_in_the_order_of_their_ids(store: Store) -> None:
    """Whatever the order in which they were stored, over as many pages as it takes, and again in a second pass."""
    values = vectors(2_300)
    shuffled = dict(sorted(values.items(), key=lambda pair: pair[0][::-1]))
    digest = keep_results(store, shuffled)

    samples = StoredSamples(store, CATALOGUE, "features.vector")

    first, second = list(samples), list(samples)
    assert [identity for identity, _ in first] == sorted(values)
    assert all(np.array_equal(vector, values[identity]["vector"]) for identity, vector in first)
    assert [identity for identity, _ in second] == sorted(values)
    assert (samples.version, samples.source) == (digest, "catalogue.features.vector")


def test_only_the_active_version_is_read(store: Store) -> None:
    """Values of two versions never mix, also where another becomes active while the samples are read."""
    keep_results(store, {"a": {"vector": 1}, "b": {"vector": 1}}, code="1")
    keep_results(store, {"b": {"vector": 2}, "c": {"vector": 2}}, code="2")
    samples = StoredSamples(store, CATALOGUE, "features.vector")
    keep_results(store, {"a": {"vector": 3}}, code="3")

    assert list(samples) == [("b", 2), ("c", 2)]


def test_records_without_a_value_are_left_out(store: Store) -> None:
    """Failures, records retired since, and values without the field are no samples."""
    keep_results(store, {"a": {"vector": 1}, "b": {"other": 1}, "d": {"vector": {"deep": 4}}})
    keep_results(store, {"c": {"code": "MODEL_ERROR"}}, status=Status.FAILED)

    assert list(StoredSamples(store, CATALOGUE, "features.vector")) == [("a", 1), ("d", {"deep": 4})]
    assert list(StoredSamples(store, CATALOGUE, "features.vector.deep")) == [("d", 4)]


def test_a_stage_that_is_unknown_or_has_no_results_is_named(store: Store) -> None:
    """The sentence says what there is, or what to run."""
    with pytest.raises(NotFound, match="no stage palette to learn from; it has: features"):
        StoredSamples(store, CATALOGUE, "palette.vector")
    with pytest.raises(UsageError, match="limner run catalogue"):
        StoredSamples(store, CATALOGUE, "features.vector")
    keep_results(store, {"a": {"vector": 1}}, active=False)
    with pytest.raises(UsageError, match="limner run catalogue"):
        StoredSamples(store, CATALOGUE, "features.vector")


def test_a_stream_holds_a_page_and_not_the_store(store: Store) -> None:
    """Five thousand vectors of four kilobytes pass through a few megabytes."""
    keep_results(store, vectors(5_000, dims=1024))
    samples = StoredSamples(store, CATALOGUE, "features.vector")
    tracemalloc.start()
    try:
        count = sum(1 for _ in samples)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert count == 5_000
    assert peak < 12_000_000


def test_pictures_are_decoded_one_at_a_time_and_bad_ones_counted(tmp_path: Path) -> None:
    """One broken picture costs one picture; nothing is opened before it is its turn."""
    opened: list[str] = []
    Image.new("L", (4, 4), 200).save(tmp_path / "grey.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    Image.new("RGB", (4, 4), (0, 0, 0)).save(tmp_path / "black.png")

    def files() -> Iterator[tuple[str, Path]]:
        for name in ("grey", "broken", "black"):
            opened.append(name)
            yield name, tmp_path / f"{name}.png"

    samples = PictureSamples(files, read=FileRead(), source="images.image_url")
    stream = iter(samples)
    identity, picture = next(stream)

    assert (identity, picture.mode, opened) == ("grey", "RGB", ["grey"])
    assert [identity for identity, _ in stream] == ["black"]
    assert samples.unreadable == 1
    assert len(list(samples)) == 2
    assert samples.unreadable == 1


def test_a_snapshot_is_named_by_the_ids_that_were_handed_out(store: Store) -> None:
    """The same records have the same digest; one more record, or an end before the last, another."""
    keep_results(store, {"a": {"vector": 1}, "b": {"vector": 2}})
    samples = StoredSamples(store, CATALOGUE, "features.vector")
    whole, again, part = Handed(samples), Handed(samples), Handed(samples)

    assert list(whole) == [("a", 1), ("b", 2)]
    list(again)
    list(again)
    next(iter(part))
    keep_results(store, {"c": {"vector": 3}})
    more = Handed(samples)
    list(more)

    assert whole.snapshot == again.snapshot
    assert whole.snapshot.count == 2
    assert part.snapshot.count == 1
    assert len({one.snapshot.ids for one in (whole, part, more)}) == 3
