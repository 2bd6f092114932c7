"""Sources stay small, however long they are."""

import tracemalloc
from pathlib import Path

from limner.sources.connect import connect_source
from limner.sources.seen import Seen


def test_seen_tells_first_from_repeated() -> None:
    """A key is new once, through every growth of the table."""
    # given
    seen = Seen()

    # when
    first = [seen.first(f"id {n}", row=n) for n in range(20_000)]
    again = [seen.first(f"id {n}", row=99_999) for n in range(20_000)]

    # then
    assert first == again == list(range(20_000))


def test_a_long_list_in_little_memory(tmp_path: Path) -> None:
    """Thirty thousand lines take a page and about 30 bytes an id, not the file."""
    # given
    path = tmp_path / "long.jsonl"
    with path.open("w") as file:
        file.writelines(f'{{"id": "image-{n:08}", "title": "{"x" * 400}"}}\n' for n in range(30_000))
    source = connect_source(path, collection="images")

    # when
    tracemalloc.start()
    count = sum(len(page) for page in source.read(page=1_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    # then
    assert count == 30_000
    assert peak < 5_000_000
