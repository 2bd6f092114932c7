"""Many single records asked for at the same time: each answer is its own, whatever it was read with."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

import limner
from tests.api.served import Served
from tests.far.rig import Server

PIPELINE = """
from limner import Pipeline, Stage

pipeline = Pipeline("tiny", collection="things", stages=[
    Stage("double", infer="inferrers:double", reads={"n": "n"}, batch=64),
])
"""
INFERRERS = 'version = "1"\n\n\ndef double(n: list[int]) -> list[dict]:\n    return [{"x": 2 * one} for one in n]\n'


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server over a hundred results."""
    served = Server(tmp_path, pipeline=PIPELINE, inferrers=INFERRERS)
    lines = tmp_path / "in.jsonl"
    lines.write_text("".join(f'{{"id": "r/{n}", "n": {n}}}\n' for n in range(100)))
    with limner.open(tmp_path) as app:
        assert app.run("tiny", lines).done == 100
    with served:
        yield served


def test_each_of_many_is_answered_with_its_own_record(server: Server) -> None:
    """A hundred records and as many that are not there, asked for by twenty at once: each has its own answer."""
    # when
    with httpx.Client(base_url=f"{server.url}/api/v1", timeout=30) as client, ThreadPoolExecutor(20) as many:
        found = list(many.map(lambda n: client.get(f"collections/things/records/r%2F{n}"), range(200)))
        elsewhere = client.get("collections/others/records/r1")

    # then
    assert [one.status_code for one in found] == [200] * 100 + [404] * 100
    assert [one.json()["values"]["double"]["x"] for one in found[:100]] == [2 * n for n in range(100)]
    assert "things has no record r/150" in found[150].text
    assert elsewhere.status_code == 404
    assert "known are: things" in elsewhere.text


def test_one_by_one_and_together_say_the_same(server: Server) -> None:
    """The look-up of many ids in one call gives what single look-ups give, in the order asked for."""
    ids = ["r/7", "r/3", "r/999", "r/50"]
    together = server.post("collections/things/records:lookup", {"ids": ids}).json()["items"]
    alone = [
        server.get(f"collections/things/records/{one.replace('/', '%2F')}").json() for one in ids if "999" not in one
    ]
    assert together == alone
    assert [one["id"] for one in together] == ["r/7", "r/3", "r/50"]


def test_look_ups_and_pages_say_the_same(served: Served) -> None:
    """Arrays, children, parents, counts, letters of all alphabets: a record is told as in a page of its collection."""
    # given
    (served.folder / "a.bin").write_bytes(b"some bytes")
    served.put("files", {"id": "f", "url": (served.folder / "a.bin").as_uri(), "title": "Ärger, жар, 雪", "n": 1.5})
    served.put(
        "words", {"id": "w", "text": "look", "more": {"deep": [1, None, True, "é"]}}, {"id": "none", "text": "x"}
    )

    for collection in ("files", "words", "letters"):
        # when
        path = f"/api/v1/collections/{collection}/records"
        page = served.client.get(path).json()["items"]
        ids = [item["id"] for item in page]
        together = served.client.post(f"{path}:lookup", json={"ids": ids}).json()
        alone = [served.client.get(f"{path}/{quote(identity, safe='')}").json() for identity in ids]

        # then
        assert page
        assert together == {"items": page, "next": None}
        assert alone == page
    assert page[0]["parent"] == ["words", "w"]


def test_a_look_up_names_only_the_stages_that_were_asked_for(served: Served) -> None:
    """With ``stages`` the other stages' values and origins are left out."""
    # given
    served.put("words", {"id": "staged", "text": "two"})
    path = "/api/v1/collections/words/records:lookup"

    # when
    (item,) = served.client.post(path, json={"ids": ["staged", "absent"], "stages": ["letters"]}).json()["items"]

    # then
    assert item["values"] == {"letters": {"count": 3}}
    assert list(item["provenance"]) == ["letters"]


def test_a_look_up_sees_what_was_stored_a_moment_ago(served: Served) -> None:
    """What is remembered between look-ups never stands before what the store holds now."""
    # given
    path = "/api/v1/collections/words/records/changing"
    served.put("words", {"id": "changing", "text": "old"})
    before = served.client.get(path).json()["values"]["shout"]

    # when
    served.put("words", {"id": "changing", "text": "new"})

    # then
    assert before == {"loud": "OLD"}
    assert served.client.get(path).json()["values"]["shout"] == {"loud": "NEW"}


def test_many_ids_more_than_one_statement_takes(served: Served) -> None:
    """Two thousand ids in one call, some twice and some unknown: each stored one once, in the order asked for."""
    # given
    served.put("words", *({"id": f"many-{n}", "text": "same"} for n in range(1000)))
    ids = [f"many-{n}" for n in range(1999, -1, -1)] + ["many-5"]

    # when
    found = served.client.post("/api/v1/collections/words/records:lookup", json={"ids": ids}).json()["items"]

    # then
    assert [item["id"] for item in found] == [f"many-{n}" for n in range(999, -1, -1)]
    assert all(item["values"]["shout"] == {"loud": "SAME"} for item in found)
