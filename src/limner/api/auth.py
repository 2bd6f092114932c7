"""Who asks: a token's project and scopes; without any token, whoever reaches the loopback address."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from fastapi import Request
from msgspec import Struct
from starlette.types import Scope

from limner.api.problems import Refused
from limner.app.hosting import Host
from limner.app.projects import Projects
from limner.app.tokens import ANY_PROJECT, SCOPES, Grant, Tokens
from limner.errors import Forbidden

if TYPE_CHECKING:
    from limner.app.online import Online

#: Names the project for a token that reaches all of them.
PROJECT_HEADER = "limner-project"
DEFAULT = "default"
ALL = frozenset(SCOPES)
#: What the online door needs: the scope ``submit``, unless the settings open it to everybody.
INFER = "infer"
#: For so long it is not looked again whether a first token was made, in seconds.
_FRESH = 1.0
_MOST = 10_000


class Caller(Struct, frozen=True, kw_only=True):
    """Who asks, and what of the server that reaches."""

    project: str
    #: None where no token exists at all, or the route needs none.
    token_id: str | None
    scopes: frozenset[str]
    host: Host
    online: "Online"


class Auth:
    """Looks tokens up; one for each server."""

    def __init__(
        self,
        projects: Projects,
        *,
        online: "Callable[[Host], Online]",
        rate: float = 0.0,
        anonymous: frozenset[str] = frozenset(),
    ) -> None:
        """*rate* bounds the requests a second of one token or address; *anonymous* scopes need no token."""
        self._projects = projects
        self._tokens = Tokens(projects.root.store, projects.root.clock)
        self._online = online
        self._anonymous = anonymous
        self._rates = Rates(rate) if rate else None
        self._looked, self._exist = 0.0, False

    def caller(self, headers: Mapping[str, str], *, scope: str, address: str = "") -> Caller:
        """
        Who asks with these headers, if they may do what *scope* allows.

        Raises:
            Unauthorized: there is no token, or it is none of ours any more.
            Forbidden: it does not reach so far.
            Refused: it asks too often.
        """
        raw = headers.get("authorization", "").strip()
        if self._rates and not scope.startswith("work"):
            # A worker polls as fast as there is work.
            self._rates.take(raw or address)
        if not raw and not self._needed(scope):
            return self._reaching(DEFAULT, token=None, scopes=ALL if not self._exist else frozenset({scope}))
        grant = self._tokens.check(raw)
        if not _allows(grant, scope):
            held = ", ".join(sorted(grant.scopes))
            wanted = "submit" if scope == INFER else scope
            raise Forbidden(f"This needs a token with the scope {wanted}; this one has {held}.")
        project = headers.get(PROJECT_HEADER, DEFAULT) if grant.project == ANY_PROJECT else grant.project
        return self._reaching(project, token=grant.token_id, scopes=grant.scopes)

    def _needed(self, scope: str) -> bool:
        """Whether whoever has no token is refused: as soon as there is one, but for what is open to all."""
        now = time.monotonic()
        if not self._exist and now - self._looked >= _FRESH:
            self._exist, self._looked = self._tokens.exist(), now
        return self._exist and scope not in self._anonymous

    def _reaching(self, project: str, *, token: str | None, scopes: frozenset[str]) -> Caller:
        host = self._projects.host(project)
        return Caller(project=project, token_id=token, scopes=scopes, host=host, online=self._online(host))


class Rates:
    """Counts requests a second by who asks: a bucket that holds as many as one second allows."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, who: str) -> None:
        """
        Count one request.

        Raises:
            Refused: they were too many (429).
        """
        now = time.monotonic()
        most = max(1.0, self._rate)
        with self._lock:
            if len(self._left) > _MOST:
                self._left.clear()
            left, at = self._left.get(who, (most, now))
            left = min(most, left + (now - at) * self._rate)
            self._left[who] = (left - 1 if left >= 1 else left, now)
        if left < 1:
            told = f"More than {self._rate:g} requests a second came from here, the setting rate_limit."
            raise Refused(429, told, headers={"retry-after": "1"})


def needs(scope: str) -> Callable[[Request], Caller]:
    """The dependency of a route that only those may call whose token has *scope*."""

    def caller(request: Request) -> Caller:
        auth: Auth = request.app.state.auth
        return auth.caller(request.headers, scope=scope, address=address_of(request.scope))

    return caller


def address_of(scope: Scope) -> str:
    """The address that a request comes from."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def _allows(grant: Grant, scope: str) -> bool:
    """Whether *grant* permits *scope*; what needs ``work`` is open to ``work:STAGE``, and looks at the stage itself."""
    if scope == INFER:
        return grant.allows("submit")
    return grant.allows(scope) or (scope == "work" and any(one.startswith("work:") for one in grant.scopes))
