"""Answers: nouns as JSON, and long ones as JSON Lines in a stream."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec
from starlette.responses import Response, StreamingResponse
from starlette.types import Send

from limner.api.schemas import builtins_of

NDJSON = "application/x-ndjson"
_encoder = msgspec.json.Encoder()
#: Bytes of lines that are sent at a time.
_PIECE = 65_536


def encoded(value: object) -> bytes:
    """*value* as JSON."""
    return _encoder.encode(builtins_of(value))


def answer(value: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """*value* as the JSON of an answer."""
    return Response(encoded(value), status_code=status, media_type="application/json", headers=headers)


async def send_json(send: Send, body: bytes, *, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
    """Answer 200 with *body*, which is JSON, without the making of a response: for what is asked all the time."""
    own = ((b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": body})


def paged(items: Iterable[object], following: str | None) -> Response:
    """One page of a listing."""
    return answer({"items": list(items), "next": following})


def lines(items: Iterable[object], *, filename: str | None = None) -> Response:
    """*items* as JSON Lines, made as they are sent."""
    headers = {} if filename is None else {"content-disposition": f'attachment; filename="{filename}"'}
    return StreamingResponse(_pieces(items), media_type=NDJSON, headers=headers)


def _pieces(items: Iterable[object]) -> Iterator[bytes]:
    gathered = bytearray()
    for item in items:
        gathered += encoded(item) + b"\n"
        if len(gathered) >= _PIECE:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)
