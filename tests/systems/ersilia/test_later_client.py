"""The hub's later client: it asks where to put a file, posts a form, and reads files without header."""

import csv
import gzip
from collections.abc import Iterator, Mapping
from uuid import uuid4

import httpx
import pytest

from limner.testing.local_server import LocalServer
from tests.systems.ersilia.door_server import MOLECULES, serving, token, write_project
from tests.waiting import until

#: Each has a server, a worker and a model of its own.
pytestmark = pytest.mark.slow
ETHANOL, METHANE = "LFQSCWFLJHTTHZ-UHFFFAOYSA-N", "VNWKTOKETHGBQD-UHFFFAOYSA-N"


class LaterClient:
    """Does what the hub's later client does, call by call."""

    def __init__(self, server: LocalServer) -> None:
        self._client = server.client

    def put(self, lines: list[str], *, model: str = "eos3b5e") -> str:
        """Put a file without header, and say under which id."""
        request = str(uuid4())
        asked = {"modelid": model, "requestid": request}
        told = self._client.get("/upload-destination", params=asked).raise_for_status().json()
        file = {"file": ("input.csv", "\n".join(lines).encode())}
        # As to any address that was handed out: no key goes with it.
        assert httpx.post(told["url"], data=told["fields"], files=file).status_code == httpx.codes.NO_CONTENT
        return request

    def submit(self, request: str | None, *, fetch: str, samples: int = -1, model: str = "eos3b5e") -> httpx.Response:
        """Ask for the molecules of a file, or for what is stored."""
        asked = {"requestid": request, "modelid": model, "fetchtype": fetch, "nsamples": samples, "dim": 1}
        return self._client.post("/submit", json=asked)

    def fetched(self, submitted: httpx.Response) -> dict[str, str]:
        """How a job ended."""
        job = {"jobId": submitted.raise_for_status().json()["jobId"]}
        seen: list[dict[str, str]] = []

        def over() -> bool:
            seen.append(self._client.get("/status", params=job).raise_for_status().json())
            return seen[-1]["status"] not in ("PENDING", "RUNNING")

        until(over)
        return seen[-1]

    def rows(self, submitted: httpx.Response, *, fetch: str) -> list[list[str]]:
        """The rows of a result as the client keeps them."""
        assert self.fetched(submitted) == {"status": "SUCCEEDED", "errorMessage": None}
        job = {"jobId": submitted.json()["jobId"]}
        files: list[Mapping[str, str]] = self._client.get("/result", params=job).raise_for_status().json()["files"]
        kept = []
        for file in files:
            assert file["key"].endswith(".gz") or file["url"].endswith(".gz")
            data = gzip.decompress(httpx.get(file["url"]).raise_for_status().content)
            kept += list(csv.reader(data.decode().splitlines()))
        return [row[: len(row) // 2] for row in kept] if fetch == "filter" else kept


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server over the pipeline of molecules."""
    folder = write_project(tmp_path_factory.mktemp("project"), pipeline=MOLECULES)
    with serving(folder) as up:
        yield up


def test_e15_the_later_client_fetches_its_molecules(server: LocalServer) -> None:
    """What was put comes back, each molecule once with key and values, and nothing else; no row is a header."""
    client = LaterClient(server)
    request = client.put(["CCO", "C1CC", "C", "OCC"])

    rows = client.rows(client.submit(request, fetch="filter"), fetch="filter")

    assert [row[:2] for row in rows] == [[ETHANOL, "CCO"], [METHANE, "C"]]
    assert [float(row[2]) for row in rows] == [pytest.approx(46.069, abs=1e-3), pytest.approx(16.043, abs=1e-3)]
    assert {len(row) for row in rows} == {3}


def test_e15_the_later_client_fetches_all_that_is_stored(server: LocalServer) -> None:
    """Without a file it gets what is stored of the model, or as many molecules as it asks for."""
    client = LaterClient(server)
    client.rows(client.submit(client.put(["CCO", "C", "CC"]), fetch="filter"), fetch="filter")

    rows = client.rows(client.submit(None, fetch="all"), fetch="all")
    two = client.rows(client.submit(None, fetch="all", samples=2), fetch="all")

    assert {METHANE, ETHANOL} <= {row[0] for row in rows}
    assert len(rows) == len({row[0] for row in rows}) >= 3
    assert two == rows[:2]
    assert {len(row) for row in rows} == {3}


def test_e15_what_the_later_client_asked_for_is_found_after_a_restart(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All that is stored was asked for, and the server ended before it was written: the next one writes it."""
    folder = write_project(tmp_path_factory.mktemp("restarted"), pipeline=MOLECULES)
    with serving(folder) as server:
        client = LaterClient(server)
        client.rows(client.submit(client.put(["CCO"]), fetch="filter"), fetch="filter")
        # given
        submitted = client.submit(None, fetch="all")
        client.fetched(submitted)
        state = folder / ".limner" / "requests" / submitted.json()["jobId"] / "request.json"
        written = state.read_text()
    assert '"files":[{' in written
    state.write_text(written[: written.index('"files"')] + '"files":null,' + written[written.index('"answered"') :])

    # when
    with serving(folder) as again:
        rows = LaterClient(again).rows(submitted, fetch="all")

    # then
    assert [row[:2] for row in rows] == [[ETHANOL, "CCO"]]


def test_e15_the_later_client_is_told_of_a_failure(server: LocalServer) -> None:
    """A file of which nothing can be predicted ends as FAILED, with a sentence."""
    client = LaterClient(server)
    ended = client.fetched(client.submit(client.put(["C1CC", "nothing"]), fetch="filter"))
    assert (ended["status"], "None of the 2 molecules" in ended["errorMessage"]) == ("FAILED", True)


def test_e15_the_later_client_step_by_step(server: LocalServer) -> None:
    """Whoever asks for what there is not, or out of turn, is told so."""
    client, http = LaterClient(server), server.client
    asked = {"modelid": "eos3b5e", "requestid": "of mine"}

    assert http.get("/upload-destination", params={**asked, "modelid": "eos0zzz"}).status_code == httpx.codes.NOT_FOUND
    first, second = (http.get("/upload-destination", params=asked).json() for _ in range(2))
    assert first == second
    assert http.get("/upload-destination", params={**asked, "modelid": "eos8a4x"}).status_code == httpx.codes.CONFLICT
    assert client.submit("of mine", fetch="filter").status_code == httpx.codes.CONFLICT
    assert client.submit("of nobody", fetch="filter").status_code == httpx.codes.NOT_FOUND
    assert client.submit(None, fetch="filter").status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert client.submit(None, fetch="some").status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert client.submit(None, fetch="all", model="eos8a4x").status_code == httpx.codes.NOT_FOUND
    for path in ("/status", "/result"):
        assert http.get(path, params={"jobId": "request-0"}).status_code == httpx.codes.NOT_FOUND
    assert httpx.post(first["url"], data={"key": "another"}, files={"file": b"CCO"}).status_code == 422
    assert httpx.post(first["url"], data=first["fields"]).status_code == httpx.codes.UNPROCESSABLE_ENTITY


def test_e15_the_later_client_needs_its_key(tmp_path_factory: pytest.TempPathFactory) -> None:
    """With tokens about, each call needs one in x-api-key; the form is signed, and read only then."""
    folder = write_project(tmp_path_factory.mktemp("guarded"), pipeline=MOLECULES)
    with serving(folder) as server:
        key = token(server, "submit", "read")
        asked = {"modelid": "eos3b5e", "requestid": "mine"}
        told = server.client.get("/upload-destination", params=asked, headers={"x-api-key": key}).json()
        posted = {"data": told["fields"], "files": {"file": b"CCO"}}

        refused = [
            server.client.get("/upload-destination", params=asked),
            server.client.post("/submit", json={"modelid": "eos3b5e", "fetchtype": "all"}),
            server.client.get("/status", params={"jobId": "request-0"}),
            server.client.get("/result", params={"jobId": "request-0"}),
            httpx.post(told["url"].partition("?")[0], **posted),
            httpx.post(told["url"].replace("signature=", "signature=x"), **posted),
        ]
        taken = httpx.post(told["url"], **posted)

    assert [answer.status_code for answer in refused] == [401] * 6
    assert taken.status_code == httpx.codes.NO_CONTENT


def test_e15_a_form_too_large_is_refused(server: LocalServer) -> None:
    """A file beyond a hundred megabytes is refused while it comes, and nothing of it stays."""
    asked = {"modelid": "eos3b5e", "requestid": "large"}
    told = server.client.get("/upload-destination", params=asked).json()

    answer = httpx.post(told["url"], data=told["fields"], files={"file": b"C" * 101_000_000}, timeout=60)

    assert answer.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE
    left = server.host.app.project.home / "requests" / told["fields"]["key"]
    assert [file.name for file in left.iterdir()] == ["request.json"]
