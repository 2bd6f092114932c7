"""Searching over HTTP: one question for words, filters and likeness; a failing index is an error."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.served import Served, serving, write_project
from tests.damage import damage_index
from tests.waiting import until

FILES = {"zeros": bytes(64), "ones": bytes([1]) * 64, "both": bytes([0, 1]) * 32, "threes": bytes([3]) * 64}


@pytest.fixture(scope="module")
def filed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server whose index holds four files."""
    folder = write_project(tmp_path_factory.mktemp("filed"))
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    with serving(folder) as up:
        up.put(
            "files",
            *(
                {"id": name, "url": str(folder / name), "title": f"the {name}", "kind": "even" if n % 2 else "odd"}
                for n, name in enumerate(FILES)
            ),
        )
        until(lambda: up.client.get("/api/v1/search?collection=files&similar=zeros").json().get("total") == 3)
        yield up


def ids(answer: dict[str, object]) -> list[str]:
    """The ids that were found."""
    hits = answer["hits"]
    assert isinstance(hits, list)
    return [hit["id"] for hit in hits]


def test_words_filters_and_likeness(filed: Served) -> None:
    """Words, filters and likeness are one question, asked by GET or as JSON alike."""
    # when
    by_get = filed.client.get("/api/v1/search?collection=files&similar=zeros&where=kind=even&limit=5").json()
    by_post = filed.client.post(
        "/api/v1/search", json={"collection": "files", "similar": "zeros", "where": ["kind=even"], "limit": 5}
    ).json()
    words = filed.client.get("/api/v1/search?collection=files&text=threes").json()

    # then
    assert by_get == by_post
    assert set(ids(by_get)) == {"ones", "threes"}
    assert ids(words) == ["threes"]


def test_like_a_file(filed: Served) -> None:
    """A file that is sent along is inferred now and compared; nothing is stored for it."""
    # when
    answer = filed.client.post(
        "/api/v1/search/file", files={"file": bytes([1]) * 70}, data={"collection": "files", "limit": "1"}
    )

    # then
    assert ids(answer.json()) == ["ones"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("collection=nothing", 404),
        ("collection=files&where=size=1", 422),
        ("collection=files&on=weigh.nothing&similar=zeros", 422),
        ("collection=files&by=colour", 422),
        ("collection=files&similar=nobody", 404),
        ("text=a", 422),
        ("collection=files&limit=-1", 422),
    ],
)
def test_what_cannot_be_asked(filed: Served, query: str, status: int) -> None:
    """A question that cannot be asked is refused with a sentence."""
    # when
    answer = filed.client.get(f"/api/v1/search?{query}")

    # then
    assert answer.status_code == status
    assert answer.json()["detail"]


def test_failing_index_is_no_empty_answer(tmp_path: Path) -> None:
    """An index that cannot be read is 503 with the time to ask again, never an empty list."""
    folder = write_project(tmp_path / "project")
    (folder / "one").write_bytes(b"abc")
    with serving(folder) as served:
        # given
        served.put("files", {"id": "one", "url": str(folder / "one"), "title": "one"})
        until(lambda: served.client.get("/api/v1/search?collection=files&text=one").status_code == 200)
        damage_index(folder)

        # when
        answer = served.client.get("/api/v1/search?collection=files&text=one")

        # then
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
