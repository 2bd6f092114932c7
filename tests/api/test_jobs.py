"""Jobs over HTTP: made in every way, watched with exact counts, stopped, tried again."""

import json
from pathlib import Path

import httpx
import pytest

from limner.testing.picture_server import PictureServer
from tests.api.served import Served, serving
from tests.waiting import until


def job_of(served: Served, **body: object) -> httpx.Response:
    """The answer to a new job."""
    return served.client.post("/api/v1/jobs", json=body)


def words(*names: str) -> list[dict[str, object]]:
    """Records with these words, which are their ids too."""
    return [{"id": name, "text": name} for name in names]


def adds_up(counts: dict[str, int]) -> bool:
    """Whether every record has exactly one fate."""
    return counts["records"] == sum(counts[name] for name in ("open", "done", "failed", "skipped", "cancelled"))


def test_job_of_records(served: Served) -> None:
    """Records in the body become a job, which is watched to its end; its counts add up in every read."""
    # when
    answer = job_of(served, pipeline="words", records=words("inline-1", "inline-2"), detail={"whose": "ours"})

    # then
    made = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == made["href"] == f"/api/v1/jobs/{made['id']}"
    reads = [served.client.get(made["href"]).json()]
    while reads[-1]["ended"] is None:
        reads.append(served.client.get(made["href"]).json())
    assert all(adds_up(read["counts"]) for read in reads)
    done = [read["counts"]["done"] for read in reads]
    assert done == sorted(done)
    assert reads[-1]["state"] == "done"
    assert reads[-1]["progress"] == "2/2"
    assert reads[-1]["detail"]["whose"] == "ours"


def test_job_of_lines(served: Served) -> None:
    """Records may be sent as JSON Lines; wrong lines are counted and named."""
    # when
    answer = served.client.post(
        "/api/v1/jobs?pipeline=words",
        content=b'{"id": "up-1", "text": "a"}\nwrong\n',
        headers={"content-type": "application/x-ndjson"},
    )

    # then
    made = answer.json()
    assert (answer.status_code, made["records"], made["set_aside"]) == (202, 1, 1)
    assert made["rows"][0]["row"] == 2
    served.ended(made["id"])
    errors = [json.loads(line) for line in served.client.get(f"{made['href']}/errors").text.splitlines()]
    assert [(line["row"], line["error"]["code"]) for line in errors] == [("2", "INPUT_INVALID")]


def test_job_of_a_list_behind_an_address(project: Path) -> None:
    """A job's records may stand in a file of JSON Lines behind an address, which is fetched through the guard."""
    lines = {"list.jsonl": b'{"id": "m-1", "text": "a"}\nnonsense\n{"id": "m-2", "text": "b"}\n'}
    with PictureServer(lines) as files, serving(project, allow_hosts=[files.host]) as served:
        # when
        made = job_of(served, pipeline="words", manifest={"url": files.url("list.jsonl")}).json()

        # then
        job = served.client.get(f"/api/v1/jobs/{served.ended(made['id'])}").json()
        assert (job["counts"]["done"], job["set_aside"]) == (2, 1)


def test_list_behind_a_private_address_is_refused(served: Served) -> None:
    """An address that the guard refuses is refused at once, with the setting that would allow it."""
    # when
    answer = job_of(served, pipeline="words", manifest={"url": "http://169.254.169.254/list.jsonl"})

    # then
    assert answer.status_code == 403
    assert "allow_hosts" in answer.json()["detail"]


def test_job_of_stored_records(served: Served) -> None:
    """Stored records are named by their ids; what is current is not inferred again."""
    # given
    served.put("words", *words("kept-1", "kept-2"))

    # when
    made = job_of(served, pipeline="words", ids=["kept-1", "kept-2"]).json()

    # then
    job = served.client.get(f"/api/v1/jobs/{served.ended(made['id'])}").json()
    assert (job["counts"]["done"], job["inferred"]) == (2, 0)
    found = {stage["stage"]: stage for stage in job["stages"]}
    of_roots = found["shout"]
    assert sum(of_roots[way] for way in ("done", "failed", "skipped", "open", "elsewhere")) == 2
    assert (of_roots["elsewhere"], found["code"]["elsewhere"]) == (2, None)


def test_number_beyond_64_bits(served: Served) -> None:
    """A number that no store holds spoils its own record only, in whatever way it comes."""
    # when
    inline = job_of(served, pipeline="words", records=[{"id": "huge", "text": "a", "n": 2**70}])
    fields = job_of(served, pipeline="words", records=[{"id": "huge", "fields": {"text": "a", "n": [2**70]}}])
    lines = served.client.put(
        "/api/v1/collections/words/records",
        content=b'{"id": "huge", "text": "a", "n": %d}\n{"id": "small", "text": "b"}\n' % (2**70),
        headers={"content-type": "application/x-ndjson"},
    )

    # then
    assert {inline.status_code, fields.status_code} <= {202, 422}
    assert (lines.status_code, lines.json()["records"], lines.json()["set_aside"]) == (202, 1, 1)


def test_idempotency_key(served: Served) -> None:
    """The same key with the same request gives the same job; with another one it is refused."""
    # given
    headers = {"idempotency-key": "key-1"}
    body = {"pipeline": "words", "records": words("key-word")}

    # when
    first = served.client.post("/api/v1/jobs", json=body, headers=headers).json()["id"]
    again = served.client.post("/api/v1/jobs", json=body, headers=headers).json()["id"]
    other = served.client.post("/api/v1/jobs", json={**body, "priority": 1}, headers=headers)

    # then
    assert first == again
    assert other.status_code == 422


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"pipeline": "words", "records": [{"id": "a"}, {"id": "b"}, {"id": "c"}, {"text": "x"}]}, "records[3].id"),
        ({"pipeline": "words", "records": [{"id": "a"}, {"id": "a"}]}, "records[1].id"),
        ({"pipeline": "words", "records": [{"id": "a", "fields": {"title": 1}, "revision": 7}]}, "records[0].revision"),
        ({"records": [{"id": "a"}]}, "pipeline"),
        ({"pipeline": "words", "records": []}, "records"),
        ({"pipeline": "words", "records": [{"id": "a"}], "ids": ["b"]}, "records"),
        ({"pipeline": "words", "ids": ["a"], "callback": {"url": ""}}, "callback.url"),
        ({"pipeline": "words", "ids": ["a"], "priorty": 1}, "priorty"),
    ],
)
def test_wrong_field_is_named(served: Served, body: dict[str, object], field: str) -> None:
    """A job that is not right is refused with the whole path of each wrong field, and nothing is stored."""
    # given
    before = [job["id"] for job in served.client.get("/api/v1/jobs").json()["items"]]

    # when
    answer = served.client.post("/api/v1/jobs", json=body)

    # then
    assert answer.status_code == 422
    assert field in [error["field"] for error in answer.json()["errors"]]
    assert [job["id"] for job in served.client.get("/api/v1/jobs").json()["items"]] == before


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"pipeline": "none", "ids": ["a"]}, 404, "known are"),
        ({"pipeline": "words", "records": words("a"), "choices": {"shout": ["x"]}}, 404, "it has: default"),
        ({"pipeline": "words", "records": words("a"), "choices": {"sing": ["x"]}}, 404, "it has: shout"),
        ({"pipeline": "words", "records": words("a"), "choices": {"shout": []}}, 422, "shout"),
    ],
)
def test_unknown_names_are_told_with_the_known(served: Served, body: dict[str, object], status: int, told: str) -> None:
    """An unknown pipeline, stage or implementation is refused with the names that there are."""
    # when
    answer = served.client.post("/api/v1/jobs", json=body)

    # then
    assert answer.status_code == status
    assert told in answer.json()["detail"]


def test_items_and_stages(project: Path) -> None:
    """Each record has a status for each stage, those over its children as counts; a failure says all about itself."""
    (project / "broken").write_text("bad", encoding="utf-8")
    with serving(project) as served:
        # given
        job = served.put(
            "words", {"id": "good", "text": "abba"}, {"id": "bad", "text": "bad"}, {"id": "odd", "text": "x!"}
        )

        # when
        items = {item["id"]: item for item in served.client.get(f"/api/v1/jobs/{job}/items").json()["items"]}
        failed = served.client.get(f"/api/v1/jobs/{job}/items?status=failed&limit=1").json()
        rest = served.client.get(f"/api/v1/jobs/{job}/items?status=failed&limit=1&after={failed['next']}").json()
        stages = {stage["stage"]: stage for stage in served.client.get(f"/api/v1/jobs/{job}").json()["stages"]}

        # then
        assert items["good"]["status"] == "done"
        by_stage = {stage["stage"]: stage for stage in items["good"]["stages"]}
        assert by_stage["shout"]["status"] == "done"
        assert by_stage["code"]["counts"] == {"done": 2, "failed": 0, "skipped": 0, "open": 0}
        assert items["bad"]["error"]["code"] == "MODEL_ERROR"
        assert items["bad"]["error"]["stage"] == "shout"
        assert items["odd"]["status"] == "failed"
        assert items["odd"]["error"]["stage"] == "code"
        assert {failed["items"][0]["id"], rest["items"][0]["id"]} == {"bad", "odd"}
        assert (stages["shout"]["done"], stages["shout"]["failed"], stages["shout"]["open"]) == (2, 1, 0)


def test_results_and_errors_as_lines(project: Path) -> None:
    """A job's results hold every record, its children after it; its errors every failure with its code."""
    (project / "broken").write_text("bad", encoding="utf-8")
    with serving(project) as served:
        # given
        job = served.put("words", {"id": "ab", "text": "ab"}, {"id": "bad", "text": "bad"})

        # when
        results = [json.loads(line) for line in served.client.get(f"/api/v1/jobs/{job}/results").text.splitlines()]
        errors = [json.loads(line) for line in served.client.get(f"/api/v1/jobs/{job}/errors").text.splitlines()]

        # then
        assert [(line["id"], line.get("status")) for line in results if line["collection"] == "words"] == [
            ("ab", "done"),
            ("bad", "failed"),
        ]
        children = [line for line in results if line["collection"] == "letters"]
        assert sorted(line["values"]["code"]["value"] for line in children) == [65, 66]
        assert all(line["parent"] == ["words", "ab"] for line in children)
        assert {line["error"]["code"] for line in errors} == {"MODEL_ERROR", "UPSTREAM_FAILED"}


def test_cancel(project: Path) -> None:
    """A job that is cancelled ends so; to cancel it again is refused with its state."""
    with serving(project, own_workers=False) as served:
        # given
        made = job_of(served, pipeline="words", records=words("one", "two")).json()

        # when
        answer = served.client.post(f"{made['href']}/cancel")
        again = served.client.post(f"{made['href']}/cancel")

        # then
        assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
        assert answer.json()["counts"]["cancelled"] == 2
        assert again.status_code == 409
        assert "cancelled" in again.json()["detail"]


def test_retry_only_what_failed(project: Path) -> None:
    """Failed records are tried again in a new round, the others are not; codes narrow it further."""
    (project / "broken").write_text("bad", encoding="utf-8")
    with serving(project) as served:
        # given
        job = served.put("words", {"id": "fine", "text": "fine"}, {"id": "bad", "text": "bad"})
        href = f"/api/v1/jobs/{job}"
        other = served.client.post(f"{href}/retry", json={"only": ["SOURCE_TIMEOUT"]})
        unknown = served.client.post(f"{href}/retry", json={"only": ["NO_CODE"]})
        (project / "broken").unlink()

        # when
        answer = served.client.post(f"{href}/retry", json={"only": "failed"})

        # then
        assert (other.status_code, unknown.status_code) == (422, 422)
        assert (answer.status_code, answer.json()["retried"]) == (202, 1)
        ended = served.client.get(f"/api/v1/jobs/{served.ended(job)}").json()
        assert (ended["state"], ended["round"], ended["counts"]["done"]) == ("done", 2, 2)
        assert served.calls().count("fine") == 1
        assert served.client.post(f"{href}/retry").status_code == 422


def test_retry_of_a_job_at_work_is_refused(project: Path) -> None:
    """A job that has not ended cannot be retried; the state is named."""
    with serving(project, own_workers=False) as served:
        # given
        made = job_of(served, pipeline="words", records=words("one")).json()

        # when
        answer = served.client.post(f"{made['href']}/retry")

        # then
        assert answer.status_code == 409
        assert "running" in answer.json()["detail"]


def test_why_it_waits(project: Path) -> None:
    """A job whose stage nobody serves says so, by stage and implementation."""
    with serving(project, own_workers=False) as served:
        # given
        made = job_of(served, pipeline="words", records=words("one")).json()

        # then
        until(lambda: served.client.get(made["href"]).json()["waiting_reason"] is not None)
        reason = served.client.get(made["href"]).json()["waiting_reason"]
        assert reason == "no live worker for shout/default (never seen)"


def test_events_are_followed(served: Served) -> None:
    """The events of a job come as they happen, until it has ended; afterwards in pages."""
    # given
    made = job_of(served, pipeline="words", records=words("event-1")).json()

    # when
    with served.client.stream("GET", f"{made['href']}/events?follow=1") as stream:
        followed = [json.loads(line)["kind"] for line in stream.iter_lines()]

    # then
    listed = served.client.get(f"{made['href']}/events").json()["items"]
    assert followed[0] == "created"
    assert followed[-1] == "done"
    assert [event["kind"] for event in listed] == followed
    first = served.client.get(f"{made['href']}/events?limit=1").json()
    second = served.client.get(f"{made['href']}/events?limit=1&after={first['next']}").json()
    assert [first["items"][0]["kind"], second["items"][0]["kind"]] == followed[:2]


def test_jobs_are_listed_in_pages(served: Served) -> None:
    """Jobs are listed the newest first, a page at a time."""
    # given
    made = [job_of(served, pipeline="words", records=words(f"list-{n}")).json()["id"] for n in range(3)]

    # when
    first = served.client.get("/api/v1/jobs?limit=2&pipeline=words").json()
    second = served.client.get(f"/api/v1/jobs?limit=2&pipeline=words&after={first['next']}").json()

    # then
    listed = [job["id"] for job in (*first["items"], *second["items"])]
    assert listed[:3] == made[::-1]
    assert served.client.get("/api/v1/jobs?state=expired").json()["items"] == []


def test_redeliver_without_callback(served: Served) -> None:
    """A job that asked for no callback has none to send again."""
    # given
    job = served.put("words", {"id": "silent", "text": "silent"})

    # when
    answer = served.client.post(f"/api/v1/jobs/{job}/redeliver")

    # then
    assert answer.status_code == 422
    assert served.client.get(f"/api/v1/jobs/{job}/callback").json()["state"] == "none"


def test_unknown_job(served: Served) -> None:
    """An unknown job is told as such, whatever is asked of it."""
    # when
    asked = [
        served.client.get(f"/api/v1/jobs/nobody{rest}") for rest in ("", "/items", "/events", "/results", "/errors")
    ]
    asked += [served.client.post(f"/api/v1/jobs/nobody/{move}") for move in ("cancel", "retry", "redeliver")]

    # then
    assert {answer.status_code for answer in asked} == {404}
