"""Collections over HTTP: lines in, records with their values out."""

import json
from urllib.parse import quote

import pytest

from tests.api.served import Served

NDJSON = {"content-type": "application/x-ndjson"}


def test_wrong_lines_are_set_aside(served: Served) -> None:
    """Each line is judged by itself; wrong ones are counted and named by their number."""
    # given
    body = b'{"id": "lines-1", "text": "one"}\nno json\n\n{"text": "no id"}\n[1]\n{"id": "lines-2", "text": "two"}\n'

    # when
    answer = served.client.put("/api/v1/collections/words/records", content=body, headers=NDJSON)

    # then
    told = answer.json()
    assert answer.status_code == 202
    assert (told["records"], told["set_aside"]) == (2, 3)
    assert [row["row"] for row in told["rows"]] == [2, 4, 5]
    assert all(row["reason"] and row["code"] == "INPUT_INVALID" for row in told["rows"])
    job = served.client.get(f"/api/v1/jobs/{served.ended(told['job'])}").json()
    assert (job["counts"]["records"], job["set_aside"]) == (2, 3)


def test_many_lines_go_through_a_file(served: Served) -> None:
    """More lines than fit into one request of the engine are all taken in, wrong ones keep their numbers."""
    # given
    rows = [f'{{"id": "many-{n}", "text": "w{n}"}}' if n % 1000 else "wrong" for n in range(3000)]

    # when
    answer = served.client.put("/api/v1/collections/words/records", content="\n".join(rows), headers=NDJSON).json()

    # then
    assert (answer["records"], answer["set_aside"]) == (2997, 3)
    job = served.client.get(f"/api/v1/jobs/{served.ended(answer['job'])}").json()
    assert (job["counts"]["records"], job["counts"]["open"], job["set_aside"]) == (2997, 0, 3)
    lines = served.client.get(f"/api/v1/jobs/{job['id']}/errors").text.splitlines()
    assert [json.loads(line)["row"] for line in lines] == ["1", "1001", "2001"]


@pytest.mark.parametrize("identity", ["a/b", "x=1:2", "é ü?#&%", "..", "a/../b", "records/a", "%2F", "雪"])
def test_ids_of_any_letters(served: Served, identity: str) -> None:
    """An id is given back exactly, whatever letters it holds."""
    # given
    served.put("words", {"id": identity, "text": "word"})

    # when
    answer = served.client.get(f"/api/v1/collections/words/records/{quote(identity, safe='').replace('.', '%2E')}")

    # then
    assert answer.json()["id"] == identity
    assert answer.json()["values"]["shout"] == {"loud": "WORD"}


def test_record_says_where_its_values_came_from(served: Served) -> None:
    """Each value stands beside the version and the input that it was made from."""
    # given
    served.put("words", {"id": "origin", "text": "from"})

    # when
    record = served.client.get("/api/v1/collections/words/records/origin").json()

    # then
    version = record["provenance"]["shout"]["version"]
    assert len(version) == 32
    assert record["provenance"]["shout"]["input"]
    again = served.client.get("/api/v1/collections/words/records/origin", params={"version": version[:8]}).json()
    assert again["values"] == {"shout": {"loud": "FROM"}}
    assert served.client.get("/api/v1/collections/words/records/origin?version=ffff").status_code == 404


def test_pages_and_filters(served: Served) -> None:
    """A page says where the next one begins, and a filter narrows what it holds."""
    # given
    served.put("words", *({"id": f"page-{n}", "text": f"p{n}", "lot": "pages", "n": n} for n in range(7)))
    asked: dict[str, str] = {"where": "lot=pages", "limit": "3"}

    # when
    found, after = [], None
    while True:
        page = served.client.get(
            "/api/v1/collections/words/records", params=asked if after is None else {**asked, "after": after}
        )
        found += [record["id"] for record in page.json()["items"]]
        after = page.json()["next"]
        if after is None:
            break
    large = served.client.get("/api/v1/collections/words/records", params={"where": ["lot=pages", "n>=5"]}).json()

    # then
    assert found == [f"page-{n}" for n in range(7)]
    assert [record["id"] for record in large["items"]] == ["page-5", "page-6"]


def test_whole_collection_as_lines(served: Served) -> None:
    """A collection comes as JSON Lines where these are asked for."""
    # given
    served.put("words", {"id": "line", "text": "line", "lot": "lines"})

    # when
    answer = served.client.get(
        "/api/v1/collections/words/records", params={"where": "lot=lines"}, headers={"accept": "application/x-ndjson"}
    )

    # then
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert [json.loads(line)["id"] for line in answer.text.splitlines()] == ["line"]


def test_lookup_of_many(served: Served) -> None:
    """Many records are looked up in one call, in the order asked for; unknown ones are left out."""
    # given
    served.put("words", {"id": "look-1", "text": "one"}, {"id": "look-2", "text": "two"})

    # when
    answer = served.client.post(
        "/api/v1/collections/words/records:lookup", json={"ids": ["look-2", "nobody", "look-1"], "stages": ["shout"]}
    ).json()

    # then
    assert [(item["id"], item["values"]) for item in answer["items"]] == [
        ("look-2", {"shout": {"loud": "TWO"}}),
        ("look-1", {"shout": {"loud": "ONE"}}),
    ]


def test_same_record_again_infers_nothing(served: Served) -> None:
    """A record that is sent again as it is costs no inferring."""
    # given
    served.put("words", {"id": "same", "text": "samesame"})

    # when
    job = served.put("words", {"id": "same", "text": "samesame"})

    # then
    assert served.client.get(f"/api/v1/jobs/{job}").json()["inferred"] == 0
    assert served.calls().count("samesame") == 1


def test_collections_are_listed(served: Served) -> None:
    """A listing names each collection with its records and who looks at them."""
    # given
    served.put("words", {"id": "listed", "text": "word"})

    # when
    found = {one["name"]: one for one in served.client.get("/api/v1/collections").json()["items"]}

    # then
    assert found["words"]["records"] >= 1
    assert found["letters"]["pipelines"] == ["words"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/collections/nothing/records", 404),
        ("/api/v1/collections/words/records/nobody", 404),
        ("/api/v1/collections/words/records?after=%%%", 422),
        ("/api/v1/collections/words/records?limit=0", 422),
        ("/api/v1/collections/words/records?where=nonsense", 422),
    ],
)
def test_what_is_not_there(served: Served, path: str, status: int) -> None:
    """What does not exist or cannot be asked is told as a problem with a sentence."""
    # when
    answer = served.client.get(path)

    # then
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


def test_empty_body(served: Served) -> None:
    """A body without a record is refused."""
    # when
    answer = served.client.put("/api/v1/collections/words/records", content=b"\n\n", headers=NDJSON)

    # then
    assert answer.status_code == 422
