"""`limner doctor --url` says from a worker's machine which way to a server is open (row A43)."""

from pathlib import Path

import pytest

from limner.app.doctor import Finding, State
from limner.app.doctor_far import examine_ways
from limner.app.tokens import Tokens
from tests.far.proxy import Proxy
from tests.far.rig import Server
from tools.services import free_port


def by_part(findings: list[Finding]) -> dict[str, Finding]:
    """The findings by what they are about."""
    return {finding.part.partition(" ")[0]: finding for finding in reversed(findings)}


def wrong(findings: list[Finding]) -> list[str]:
    """What is wrong."""
    return [finding.part for finding in findings if finding.state is State.WRONG]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names no proxy of its own."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def test_an_open_way_is_sound(tmp_path: Path) -> None:
    """Direct, without a proxy; that the broker's ports are closed is worth a note and nothing more."""
    with Server(tmp_path / "project") as server:
        found = examine_ways(server.url, token="")

    assert wrong(found) == []
    assert [f.state for f in found if "direct" in f.part or f.part == "server"] == [State.SOUND, State.SOUND]


@pytest.mark.slow
def test_a_proxy_that_works_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is none here, but the proxy answers for it: that is said, and nothing is wrong with the ways."""
    with Server(tmp_path / "project") as server, Proxy("127.0.0.1") as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        found = examine_ways(server.url, token="")

    assert wrong(found) == []
    assert any(f.part.startswith("proxy 127.0.0.1") and f.state is State.SOUND for f in found)


def test_a_closed_way_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the port nor the proxy lets anything through: both are wrong, and the server cannot be reached."""
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")

    found = examine_ways(f"http://127.0.0.1:{free_port()}", token="")

    assert len(wrong(found)) == 3
    assert all(finding.remedy for finding in found if finding.state is State.WRONG)


@pytest.mark.slow
def test_a_token_that_is_not_taken_is_told(tmp_path: Path) -> None:
    """Without a token, and with one of another scope, it says what to do."""
    with Server(tmp_path / "project") as server:
        tokens = Tokens(server.host.store, clock=server.host.clock)
        reader = tokens.create("reader", scopes=["read"]).token
        worker = tokens.create("worker", scopes=["work"]).token
        without, reading, working = (examine_ways(server.url, token=token) for token in ("", reader, worker))

    assert wrong(without) == wrong(reading) == ["server"]
    assert "LIMNER_TOKEN" in by_part(without)["server"].remedy
    assert "scope work" in by_part(reading)["server"].remedy
    assert wrong(working) == []


@pytest.mark.parametrize("url", ["limner.example.org", "ftp://limner.example.org", "http://"])
def test_what_is_no_address_is_told(url: str) -> None:
    """An address that no worker could use is wrong at once."""
    (finding,) = examine_ways(url, token="")

    assert finding.state is State.WRONG


def test_a_broker_is_looked_at_by_its_own_address() -> None:
    """For amqp the broker's port is the way."""
    (finding,) = examine_ways(f"amqp://127.0.0.1:{free_port()}", token="")

    assert (finding.state, "broker" in finding.part) == (State.WRONG, True)
