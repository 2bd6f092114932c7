"""Tokens over HTTP: scopes, projects that see nothing of one another, rates, and nothing of them in any log."""

from pathlib import Path

import pytest
import structlog
from structlog.testing import LogCapture

from limner.api.auth import Rates
from limner.api.problems import Refused
from limner.app.tokens import Tokens
from tests.api.served import Served, serving
from tests.waiting import until


def test_no_token_needed_before_there_is_one(served: Served) -> None:
    """As long as no token exists, whoever reaches the loopback address may do everything."""
    assert served.client.get("/api/v1/jobs").status_code == 200


def test_scopes(project: Path) -> None:
    """A token may do what its scopes say, with or without the word Bearer; without one nothing goes any more."""
    with serving(project) as served:
        # given
        read, submit, admin = served.token("read"), served.token("submit"), served.token("admin")
        raw = {"authorization": read["authorization"].removeprefix("Bearer ")}
        body = {"pipeline": "words", "records": [{"id": "a", "text": "a"}]}
        until(lambda: served.client.get("/api/v1/jobs").status_code == 401)

        # when
        statuses = {
            "none": served.client.get("/api/v1/jobs").status_code,
            "wrong": served.client.get("/api/v1/jobs", headers={"authorization": "Bearer lim_wrong"}).status_code,
            "read": served.client.get("/api/v1/jobs", headers=read).status_code,
            "raw": served.client.get("/api/v1/jobs", headers=raw).status_code,
            "read submits": served.client.post("/api/v1/jobs", json=body, headers=read).status_code,
            "submit": served.client.post("/api/v1/jobs", json=body, headers=submit).status_code,
            "submit reads": served.client.get("/api/v1/jobs", headers=submit).status_code,
            "read infers": served.client.post("/v2/models/shout/infer", json={}, headers=read).status_code,
            "submit promotes": served.client.post(
                "/api/v1/models/m/promote", json={"version": 1}, headers=submit
            ).status_code,
            "admin": served.client.get("/api/v1/jobs", headers=admin).status_code,
            "health": served.client.get("/healthz").status_code,
        }

        # then
        assert statuses == {
            "none": 401,
            "wrong": 401,
            "read": 200,
            "raw": 200,
            "read submits": 403,
            "submit": 202,
            "submit reads": 403,
            "read infers": 403,
            "submit promotes": 403,
            "admin": 200,
            "health": 200,
        }
        assert served.client.get("/api/v1/jobs").headers["www-authenticate"] == "Bearer"


def test_projects_see_nothing_of_one_another(project: Path) -> None:
    """A token reaches its own project only: not the jobs, records or results of another, whatever it asks."""
    with serving(project) as served:
        # given
        mine = served.token("read", "submit")
        theirs = served.token("read", "submit", project="theirs")
        made = served.client.post(
            "/api/v1/jobs", json={"pipeline": "words", "records": [{"id": "secret", "text": "s"}]}, headers=mine
        ).json()
        until(lambda: served.client.get(made["href"], headers=mine).json()["ended"] is not None)

        # when
        seen = [
            served.client.get(f"{made['href']}{rest}", headers=theirs).status_code
            for rest in ("", "/items", "/results", "/errors", "/events")
        ]
        record = served.client.get("/api/v1/collections/words/records/secret", headers=theirs)
        listed = served.client.get("/api/v1/jobs", headers=theirs).json()["items"]
        named = served.client.get("/api/v1/jobs", headers={**theirs, "limner-project": "default"}).json()["items"]

        # then
        assert set(seen) == {404}
        assert record.status_code == 404
        assert (listed, named) == ([], [])


def test_admin_of_all_names_the_project(project: Path) -> None:
    """A token of all projects says by a header which one it means."""
    with serving(project) as served:
        # given
        theirs, everywhere = served.token("submit", project="theirs"), served.token("admin", project="*")
        body = {"pipeline": "words", "records": [{"id": "a", "text": "a"}]}
        made = served.client.post("/api/v1/jobs", json=body, headers=theirs).json()["id"]

        # when
        listed = served.client.get("/api/v1/jobs", headers={**everywhere, "limner-project": "theirs"}).json()["items"]
        none = served.client.get("/api/v1/jobs", headers={**everywhere, "limner-project": "nobody"})

        # then
        assert [job["id"] for job in listed] == [made]
        assert none.status_code == 404


def test_revoked_token(project: Path) -> None:
    """A token that was revoked works no longer than a second more."""
    with serving(project) as served:
        # given
        root = served.projects.root
        made = Tokens(root.store, root.clock).create("", scopes=["read"])
        headers = {"authorization": f"Bearer {made.token}"}
        assert served.client.get("/api/v1/jobs", headers=headers).status_code == 200

        # when
        Tokens(root.store, root.clock).revoke(made.id)

        # then
        until(lambda: served.client.get("/api/v1/jobs", headers=headers).status_code == 401)


def test_no_token_and_no_query_in_the_log(project: Path) -> None:
    """What a request's log line says holds neither its token nor its query."""
    captured, before = LogCapture(), structlog.get_config()
    structlog.configure(processors=[captured])
    try:
        with serving(project) as served:
            # given
            headers = served.token("read")

            # when
            served.client.get("/api/v1/search?collection=words&text=hidden-words", headers=headers)
    finally:
        structlog.configure(**before)

    # then
    told = repr(captured.entries)
    assert "/api/v1/search" in told
    assert "hidden-words" not in told
    assert headers["authorization"].removeprefix("Bearer ") not in told


def test_rate() -> None:
    """Whoever asks more often than the rate allows is refused with 429, and others are not."""
    # given
    rates = Rates(2)
    rates.take("one")
    rates.take("one")

    # then
    with pytest.raises(Refused, match="rate_limit") as caught:
        rates.take("one")
    rates.take("other")
    assert caught.value.status == 429


def test_anonymous_inference(project: Path) -> None:
    """The online door may be opened to everybody; nothing else is opened with it."""
    with serving(project, anonymous_infer=True) as served:
        # given
        served.token("read")
        until(lambda: served.client.get("/api/v1/jobs").status_code == 401)
        body = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}]}

        # when
        answer = served.client.post("/v2/models/shout/infer", json=body)
        kept = served.client.post("/v2/models/shout/infer", json={**body, "parameters": {"keep": True, "id": "x"}})

        # then
        assert answer.status_code == 200
        assert kept.status_code == 403
