"""Tokens: made once, shown once, checked with every request."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta

import structlog
from msgspec import Struct

from limner.clock import Clock
from limner.errors import Forbidden, StoreUnavailable, Unauthorized, UsageError
from limner.ids import new_id
from limner.store.store import Store
from limner.store.tokens import StoredToken

ANY_PROJECT = "*"
SCOPES = ("submit", "read", "work", "admin")
#: How a token begins, so that scanners of repositories know one when they see it.
_BEGINS = "lim_"
_PROJECT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
_STAGE = re.compile(r"work:[A-Za-z0-9_.-]{1,128}")
_SCHEME = re.compile(r"(?:bearer|token) +", re.IGNORECASE)
#: Longer ones are refused without a look into the store.
_LONGEST = 512
#: Seconds between two notes of a token's use.
_NOTED_EVERY = 60.0

_log = structlog.get_logger()


class Created(Struct, frozen=True, kw_only=True):
    """A token that was just made: the only time that it is seen."""

    token: str
    id: str
    name: str
    project: str
    scopes: tuple[str, ...]
    expires: float | None

    def __repr__(self) -> str:
        """All but the token: a repr ends in logs."""
        return f"Created(id={self.id!r}, project={self.project!r}, scopes={self.scopes!r})"


class Listed(Struct, frozen=True, kw_only=True):
    """A token as a listing shows it."""

    id: str
    name: str
    project: str
    scopes: tuple[str, ...]
    created: float
    expires: float | None
    revoked: float | None
    #: When it was last used, to the minute.
    used: float | None
    #: ``valid``, ``expired`` or ``revoked``.
    state: str


class Grant(Struct, frozen=True, kw_only=True):
    """What the bearer of a token may do."""

    token_id: str
    #: The one project that it reaches; ``*`` is all of them.
    project: str
    scopes: frozenset[str]

    def allows(self, scope: str) -> bool:
        """
        Whether it permits *scope*: ``admin`` permits all, ``work`` every ``work:STAGE``.

        ``work`` itself is permitted by any ``work:STAGE``; whoever hands out work asks for each stage besides.
        """
        if "admin" in self.scopes or scope in self.scopes:
            return True
        kind, colon, _ = scope.partition(":")
        return kind in self.scopes if colon else scope == "work" and any(s.startswith("work:") for s in self.scopes)

    def need(self, scope: str) -> None:
        """
        Do nothing if it permits *scope*.

        Raises:
            Forbidden: it does not; the sentence names the scope.
        """
        if not self.allows(scope):
            held = ", ".join(sorted(self.scopes))
            raise Forbidden(f"This needs a token with the scope {scope}; this one has {held}.")

    def reaches(self, project: str) -> bool:
        """Whether it may be used in *project*."""
        return self.project in (project, ANY_PROJECT)


class Tokens:
    """The tokens of a server, in the store of its project ``default``."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def create(
        self, name: str, *, project: str = "default", scopes: Iterable[str], lifetime: timedelta | None = None
    ) -> Created:
        """
        Make a token; it is returned this once and cannot be had again.

        Raises:
            UsageError: the project, a scope or the lifetime cannot be.
        """
        wanted = tuple(dict.fromkeys(scopes))
        _check(project, wanted, lifetime)
        token = _BEGINS + secrets.token_urlsafe(24)
        now = self._clock.now()
        stored = StoredToken(
            id=new_id("token", now=now),
            name=name or project,
            project=project,
            scopes=wanted,
            digest=_digest(token),
            created=now,
            expires=None if lifetime is None else now + lifetime.total_seconds(),
        )
        with self._store.transaction() as tx:
            tx.tokens.add(stored)
        _log.info("token_created", token_id=stored.id, project=project, scopes=list(wanted))
        return Created(
            token=token, id=stored.id, name=stored.name, project=project, scopes=wanted, expires=stored.expires
        )

    def listing(self) -> list[Listed]:
        """All tokens, the oldest first; none of them can be used from what is shown."""
        now = self._clock.now()
        with self._store.reading() as tx:
            found = tx.tokens.listing()
        return [
            Listed(
                id=one.id,
                name=one.name,
                project=one.project,
                scopes=one.scopes,
                created=one.created,
                expires=one.expires,
                revoked=one.revoked,
                used=one.used,
                state=_state(one, now),
            )
            for one in found
        ]

    def exist(self) -> bool:
        """Whether a token was ever made: from then on nobody does without, though all may have been revoked."""
        with self._store.reading() as tx:
            return tx.tokens.any()

    def revoke(self, identity: str) -> None:
        """
        Let a token hold no longer.

        Raises:
            NotFound: there is none with this id.
        """
        with self._store.transaction() as tx:
            tx.tokens.revoke(identity, at=self._clock.now())
        _log.info("token_revoked", token_id=identity)

    def check(self, raw: str) -> Grant:
        """
        What the bearer of *raw* may do: the token alone, or as a header has it (``Bearer TOKEN``).

        Raises:
            Unauthorized: it is no token of this server, has expired or was revoked.
        """
        token = _SCHEME.sub("", raw.strip(), count=1).strip()
        if not token or len(token) > _LONGEST:
            raise Unauthorized("This needs a token, as the header Authorization: Bearer TOKEN.")
        now = self._clock.now()
        digest = _digest(token)
        with self._store.reading() as tx:
            stored = tx.tokens.find(digest)
        # The database compared digests, whose likeness tells nothing about tokens; what it found is compared once
        # more in constant time, and so is nothing.
        same = hmac.compare_digest(bytes(len(digest)) if stored is None else stored.digest, digest)
        state = _state(stored, now) if stored is not None and same else "unknown"
        if stored is None or state != "valid":
            raise Unauthorized(f"The token is {state}; `limner token create` makes one.")
        self._note(stored, now)
        return Grant(token_id=stored.id, project=stored.project, scopes=frozenset(stored.scopes))

    def _note(self, stored: StoredToken, now: float) -> None:
        """Note the use of a token, if the last note is old."""
        if stored.used is None or now - stored.used >= _NOTED_EVERY:
            # A replica with a read-only database answers all the same.
            with suppress(StoreUnavailable), self._store.transaction() as tx:
                tx.tokens.note_use(stored.id, at=now)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _state(token: StoredToken, now: float) -> str:
    if token.revoked is not None:
        return "revoked"
    return "expired" if token.expires is not None and token.expires <= now else "valid"


def check_project_name(name: str) -> str:
    """
    *name*, if a project may be called so.

    Raises:
        UsageError: it may not.
    """
    if not _PROJECT.fullmatch(name):
        raise UsageError(f"No project can be called {name!r}; use up to 64 letters, digits, _, - and . inside.")
    return name


def _check(project: str, scopes: tuple[str, ...], lifetime: timedelta | None) -> None:
    if project == ANY_PROJECT:
        if "admin" not in scopes:
            raise UsageError("Only a token with the scope admin reaches every project; name one project.")
    else:
        check_project_name(project)
    if not scopes:
        raise UsageError(f"A token needs at least one scope: {', '.join(SCOPES)} or work:STAGE.")
    for scope in scopes:
        if scope not in SCOPES and not _STAGE.fullmatch(scope):
            raise UsageError(f"There is no scope {scope!r}; known are: {', '.join(SCOPES)} and work:STAGE.")
    if lifetime is not None and lifetime <= timedelta():
        raise UsageError("A token that has expired before it is used is of no use; give it a longer life.")
