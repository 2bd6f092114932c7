"""Answers: nouns as JSON, and long ones as JSON Lines in a stream."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec
from starlette.responses import Response, StreamingResponse

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


class Encoded(Response):
    """200 with a body that is JSON and headers that are bytes already: for what is asked by the thousand a second."""

    def __init__(self, body: bytes, *, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self.status_code = 200
        self.background = None
        self.body = body
        length = (b"content-length", str(len(body)).encode())
        self.raw_headers = [(b"content-type", b"application/json"), length, *headers]


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
