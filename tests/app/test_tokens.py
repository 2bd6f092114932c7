"""Tokens: made once, shown once, checked with every request."""

import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event
from structlog.testing import capture_logs

from limner.app.tokens import Grant, Tokens
from limner.clock import MovedClock
from limner.errors import Forbidden, NotFound, Unauthorized, UsageError
from limner.store.connect import connect_store
from limner.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store in a file."""
    made = connect_store(f"sqlite:///{tmp_path}/limner.db")
    yield made
    made.close()


@pytest.fixture
def clock() -> MovedClock:
    """A clock that is moved."""
    return MovedClock()


@pytest.fixture
def tokens(store: Store, clock: MovedClock) -> Tokens:
    """The tokens of an empty store."""
    return Tokens(store, clock)


def grant(*scopes: str, project: str = "default") -> Grant:
    """What a bearer may do."""
    return Grant(token_id="t", project=project, scopes=frozenset(scopes))


@pytest.mark.parametrize("given", ["{}", "Bearer {}", "bearer   {}", "Token {}", "  {} "])
def test_token_is_known_again(tokens: Tokens, given: str) -> None:
    """Alone or behind the word that a header puts before it."""
    made = tokens.create("web", project="site", scopes=["submit", "read"])

    found = tokens.check(given.format(made.token))

    assert found == Grant(token_id=made.id, project="site", scopes=frozenset({"submit", "read"}))


def test_tokens_look_like_tokens_and_never_like_each_other(tokens: Tokens) -> None:
    """Each begins with lim_ and goes on with 32 characters that fit an address."""
    made = {tokens.create("web", scopes=["read"]).token for _ in range(5)}

    assert len(made) == 5
    assert all(token.startswith("lim_") and len(token) == 36 for token in made)


@pytest.mark.parametrize(
    "given", ["", "   ", "Bearer ", "lim_", "x" * 100_000, "lim_" + "ä" * 32, "\udcff", "Bearer {} x"]
)
def test_what_is_no_token_is_refused(tokens: Tokens, given: str) -> None:
    """Nothing, something else and something endless are told from a token without ado."""
    made = tokens.create("web", scopes=["admin"])

    with pytest.raises(Unauthorized):
        tokens.check(given.replace("{}", made.token))


def test_expired_token_is_refused(tokens: Tokens, clock: MovedClock) -> None:
    """It holds until its end and not a second longer."""
    made = tokens.create("web", scopes=["read"], lifetime=timedelta(days=30))
    clock.move(timedelta(days=30) - timedelta(seconds=1))
    tokens.check(made.token)
    clock.move(timedelta(seconds=1))

    with pytest.raises(Unauthorized, match="expired"):
        tokens.check(made.token)
    assert [one.state for one in tokens.listing()] == ["expired"]


def test_revoked_token_is_refused_at_once(tokens: Tokens, store: Store, clock: MovedClock) -> None:
    """By every process that looks into the same store."""
    made = tokens.create("web", scopes=["read"])
    other = Tokens(store, clock)
    other.check(made.token)

    tokens.revoke(made.id)

    with pytest.raises(Unauthorized, match="revoked"):
        other.check(made.token)
    with pytest.raises(NotFound, match="token list"):
        tokens.revoke("token-nobody")


def test_server_that_ever_had_a_token_stays_closed(tokens: Tokens) -> None:
    """When the last token was revoked nobody does without one again."""
    assert not tokens.exist()
    made = tokens.create("web", scopes=["read"])
    tokens.revoke(made.id)

    assert tokens.exist()


def test_use_is_noted_once_a_minute(tokens: Tokens, store: Store, clock: MovedClock) -> None:
    """A busy token costs one write a minute, a refused one none."""
    made = tokens.create("web", scopes=["read"])
    written: list[str] = []
    with store.reading() as tx:
        engine = tx.connection.engine
    event.listen(engine, "before_cursor_execute", lambda *given: written.append(given[2]))

    seen = []
    for _ in range(5):
        tokens.check(made.token)
        seen.append(tokens.listing()[0].used)
        clock.move(timedelta(seconds=25))

    assert len([text for text in written if text.startswith("UPDATE")]) == 2
    start = clock.now() - 125
    assert seen == [start, start, start, start + 75, start + 75]


@pytest.mark.parametrize(
    ("scopes", "allowed", "refused"),
    [
        (["read"], ["read"], ["submit", "work", "work:detect", "admin"]),
        (["submit"], ["submit"], ["read", "admin"]),
        (["work"], ["work", "work:detect"], ["read", "submit", "admin"]),
        (["work:detect"], ["work", "work:detect"], ["work:classify", "read"]),
        (["admin"], ["admin", "read", "submit", "work", "work:detect"], []),
    ],
)
def test_scopes_allow_what_they_say(scopes: list[str], allowed: list[str], refused: list[str]) -> None:
    """A scope allows itself, work its stages, admin all; what is missing is named."""
    held = grant(*scopes)

    for scope in allowed:
        held.need(scope)
    for scope in refused:
        with pytest.raises(Forbidden, match=f"the scope {scope}"):
            held.need(scope)


def test_token_reaches_its_project_only() -> None:
    """Another project is out of reach but for a token of all of them."""
    assert grant("read", project="a").reaches("a")
    assert not grant("admin", project="a").reaches("b")
    assert grant("admin", project="*").reaches("b")


@pytest.mark.parametrize(
    ("project", "scopes", "days"),
    [
        ("../other", ["read"], None),
        ("..", ["read"], None),
        ("", ["read"], None),
        ("a/b", ["read"], None),
        ("*", ["read", "work"], None),
        ("p", [], None),
        ("p", ["write"], None),
        ("p", ["work:"], None),
        ("p", ["read submit"], None),
        ("p", ["read"], 0),
    ],
)
def test_token_that_cannot_be_is_not_made(tokens: Tokens, project: str, scopes: list[str], days: float | None) -> None:
    """A project that is no name, a scope that is none, a life that is over: nothing is stored."""
    lifetime = None if days is None else timedelta(days=days)

    with pytest.raises(UsageError):
        tokens.create("web", project=project, scopes=scopes, lifetime=lifetime)

    assert not tokens.exist()


def test_token_is_shown_once_and_kept_nowhere(tokens: Tokens, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither logs nor listings nor the text of an object nor the database hold it, not when it is refused either."""
    caplog.set_level(logging.DEBUG)
    with capture_logs() as logs:
        made = tokens.create("web", scopes=["read"])
        tokens.check(f"Bearer {made.token}")
        tokens.revoke(made.id)
        with pytest.raises(Unauthorized) as refused:
            tokens.check(made.token)

    secret = made.token.removeprefix("lim_")
    told = [repr(logs), caplog.text, repr(made), repr(tokens.listing()), str(refused.value)]
    assert [line["event"] for line in logs] == ["token_created", "token_revoked"]
    assert all(secret not in text for text in told)
    assert all(secret.encode() not in file.read_bytes() for file in tmp_path.glob("limner.db*"))
