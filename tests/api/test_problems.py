"""Problems over HTTP: RFC 9457, with the status that fits, and never a traceback."""

import socket
from pathlib import Path

import pytest
import structlog
from structlog.testing import LogCapture

from limner.api.problems import field_path, problem_of
from limner.errors import (
    AddressRefused,
    ArtifactsUnavailable,
    BusUnavailable,
    ConfigurationError,
    Forbidden,
    IllegalMove,
    LimnerError,
    NotFound,
    SearchUnavailable,
    StoreUnavailable,
    Unauthorized,
    UsageError,
)
from tests.api.served import Served, serving
from tests.waiting import until


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Unauthorized("a"), 401),
        (Forbidden("a"), 403),
        (AddressRefused("a"), 403),
        (NotFound("a"), 404),
        (IllegalMove("a"), 409),
        (ConfigurationError("a"), 409),
        (UsageError("a"), 422),
        (ArtifactsUnavailable("a"), 503),
        (StoreUnavailable("a"), 503),
        (BusUnavailable("a"), 503),
        (SearchUnavailable("a"), 503),
    ],
)
def test_errors_have_their_status(error: LimnerError, status: int) -> None:
    """Each kind of error has one status; what may come back says when to ask again."""
    # when
    answer = problem_of(error)

    # then
    assert answer.status_code == status
    assert answer.media_type == "application/problem+json"
    assert ("retry-after" in answer.headers) is (status == 503)


def test_field_path() -> None:
    """The place of a mistake is written as one would write it in a program."""
    assert field_path(("body", "records", 3, "fields", "title")) == "records[3].fields.title"
    assert field_path(("query", "limit")) == "limit"


def test_a_sender_that_goes_away_breaks_nothing(served: Served) -> None:
    """Half a request, then nothing: a line of the log and no error, and others are answered at once."""
    # given a body that is announced, and ends half-way
    host, port = served.client.base_url.host, served.client.base_url.port or 0
    head = f"POST /api/v1/jobs HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    captured, before = LogCapture(), structlog.get_config()
    structlog.configure(processors=[captured])
    try:
        with socket.create_connection((host, port)) as link:
            link.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())

        # when its sender is gone
        until(lambda: any(line.get("status") == 499 for line in captured.entries))
    finally:
        structlog.configure(**before)

    # then
    assert [line["event"] for line in captured.entries if line.get("path") == "/api/v1/jobs"] == ["request"]
    assert served.client.get("/healthz").status_code == 200


def test_malformed_json(served: Served) -> None:
    """What is no JSON at all is 400 wherever it is sent."""
    for path in ("/api/v1/jobs", "/api/v1/search", "/v2/models/shout/infer"):
        # when
        answer = served.client.post(path, content=b'{"a":', headers={"content-type": "application/json"})

        # then
        assert answer.status_code == 400, path
        assert answer.headers["content-type"] == "application/problem+json"


def test_media_type(served: Served) -> None:
    """A body of another kind than is taken is 415."""
    for path in ("/api/v1/jobs", "/api/v1/search"):
        # when
        answer = served.client.post(path, content=b"a=1", headers={"content-type": "application/x-www-form-urlencoded"})

        # then
        assert answer.status_code == 415, path


def test_too_large(project: Path) -> None:
    """A body beyond the setting is 413, whether or not it says its length, and the way around is named."""
    with serving(project, max_request_bytes=2000) as served:
        # when
        declared = served.client.post("/api/v1/jobs", json={"pipeline": "words", "ids": ["x" * 3000]})
        chunked = served.client.post(
            "/api/v1/jobs",
            content=iter([b"{" + b" " * 1500, b" " * 1500 + b"}"]),
            headers={"content-type": "application/json"},
        )
        lines = served.client.put(
            "/api/v1/collections/words/records",
            content=b'{"id": "long", "text": "' + b"x" * 3000 + b'"}\n',
            headers={"content-type": "application/x-ndjson"},
        )

        # then
        assert (declared.status_code, chunked.status_code) == (413, 413)
        assert "max_request_bytes" in declared.json()["detail"]
        assert "JSON Lines" in chunked.json()["detail"]
        assert lines.status_code == 202


def test_unknown_address_and_method(served: Served) -> None:
    """An address that leads nowhere and a method that is not taken are problems too."""
    # when
    nowhere, method = served.client.get("/nowhere"), served.client.delete("/api/v1/jobs")

    # then
    assert (nowhere.status_code, method.status_code) == (404, 405)
    assert nowhere.json()["title"] == "Not found"
    assert method.headers["allow"]


def test_what_breaks_shows_no_traceback(project: Path) -> None:
    """A mistake of the server's own is 500 with a sentence; the traceback goes to the log."""
    with serving(project) as served:
        # given
        served.projects.root.store.close()
        (project / ".limner" / "limner.db").unlink()

        # when
        answer = served.client.get("/api/v1/jobs/x")

        # then
        assert answer.status_code in (404, 500, 503)
        assert "Traceback" not in answer.text
        assert answer.json()["detail"]
