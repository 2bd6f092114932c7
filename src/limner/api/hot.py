"""Routes that are asked thousands of times a second, past the router: one stage inferred, one record looked up."""

import re
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from limner.api.answers import Encoded
from limner.api.auth import Auth, address_of
from limner.api.inference import inferred
from limner.api.lookups import LookUpDesks
from limner.api.mailbox import Mailbox
from limner.domain.tasks import Outcome

Handler: TypeAlias = Callable[[Auth, Scope, Receive, Send], Awaitable[None]]
_INFER = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/infer")
_RECORD = re.compile(r"/api/v1/collections/([^/]+)/records/(.+)", re.DOTALL)


class Hot:
    """Finds the handler of a hot route; everything about it is the same as behind the router."""

    def __init__(self, *, mailbox: Mailbox[list[Outcome]], lookups: LookUpDesks) -> None:
        self._mailbox = mailbox
        self._lookups = lookups

    def handler(self, scope: Scope) -> Handler | None:
        """What answers a request, if it is for a hot route."""
        if scope["method"] == "POST" and scope["path"].startswith("/v2/models/"):
            match = _INFER.fullmatch(scope["path"])
            if match is not None:
                return self._infer(match[1], match[2])
        elif scope["method"] == "GET" and not scope["query_string"] and scope["path"].startswith("/api/v1/coll"):
            match = _RECORD.fullmatch(scope["path"])
            if match is not None:
                return self._record(match[1], match[2])
        return None

    def _infer(self, stage: str, version: str | None) -> Handler:
        async def handle(auth: Auth, scope: Scope, receive: Receive, send: Send) -> None:
            caller = auth.caller(Headers(scope=scope), scope="infer", address=address_of(scope))
            response = await inferred(caller, await _body(receive), stage, version, mailbox=self._mailbox)
            await response(scope, receive, send)

        return handle

    def _record(self, collection: str, identity: str) -> Handler:
        async def handle(auth: Auth, scope: Scope, receive: Receive, send: Send) -> None:
            caller = auth.caller(Headers(scope=scope), scope="read", address=address_of(scope))
            found = await self._lookups.of(caller.host).find(collection, identity)
            await Encoded(found)(scope, receive, send)

        return handle


async def _body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body
    pieces = [body]
    while message.get("more_body"):
        message = await receive()
        pieces.append(message.get("body", b""))
    return b"".join(pieces)
