"""Bodies of workers' calls: JSON, MessagePack or Limner's own messages, compressed or not, and never too large."""

import re
import zlib
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from fastapi import Request
from msgspec import Struct
from starlette.responses import Response

from limner.api.problems import FieldError, Refused
from limner.domain.values import Value
from limner.server_client import JSON, LIMIT_HEADER, MESSAGES

MSGPACK = "application/msgpack"
_AT = re.compile(r"^(?P<why>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_T = TypeVar("_T")


def kind_of(request: Request) -> str:
    """The media type of a request's body; JSON where none is named."""
    return request.headers.get("content-type", JSON).partition(";")[0].strip().lower() or JSON


async def body_of(request: Request, *, max_body_bytes: int) -> bytes:
    """
    The whole body, unpacked.

    Raises:
        Refused: it is larger than *max_body_bytes*, or is not compressed as it says.
    """
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", "gzip"):
        raise Refused(415, f"The body is compressed by {coding}; send it by gzip, or as it is.")
    unpack = zlib.decompressobj(wbits=31) if coding == "gzip" else None
    body = bytearray()
    async for chunk in request.stream():
        if unpack is None:
            body += chunk
        else:
            body += _unpacked(unpack, chunk, room=max_body_bytes - len(body))
        if len(body) > max_body_bytes or (unpack is not None and unpack.unconsumed_tail):
            raise too_large(max_body_bytes)
    if unpack is not None and not unpack.eof:
        raise Refused(400, "The body says that it is compressed by gzip, and ends too early.")
    return bytes(body)


def _unpacked(unpack: "zlib._Decompress", chunk: bytes, *, room: int) -> bytes:
    """What *chunk* unpacks to, at most one byte more than there is room for."""
    try:
        return unpack.decompress(chunk, room + 1)
    except zlib.error as error:
        raise Refused(400, f"The body says that it is compressed by gzip, and is not: {error}.") from error


def too_large(max_body_bytes: int) -> Refused:
    """The refusal of a body that is too large; it names the limit, and what to do."""
    told = (
        f"The body has more than {max_body_bytes} bytes (max_body_bytes). Send the results in several calls: any part "
        "of a task's records may be sent. What is large in one record is an artifact: PUT /api/v1/artifacts/{sha256}."
    )
    return Refused(413, told, headers={LIMIT_HEADER: str(max_body_bytes)})


def decoded(body: bytes, *, kind: str, type: type[_T]) -> _T:
    """
    *body* as a noun.

    Raises:
        Refused: it is malformed, or does not fit; the answer names the field.
    """
    if kind not in (JSON, MSGPACK, MESSAGES):
        raise Refused(415, f"The body is {kind[:80]}; send {JSON} or {MSGPACK}.")
    decode = msgspec.json.decode if kind == JSON else msgspec.msgpack.decode
    try:
        found: _T = decode(body, type=type)
    except msgspec.ValidationError as error:
        match = _AT.match(str(error))
        why, path = (match["why"], match["path"] or "") if match else (str(error), "")
        field = path.lstrip(".") or "body"
        raise Refused(
            422, f"The request is not right in: {field}.", errors=[FieldError(field=field, message=why)]
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, f"The body is no {'JSON' if kind == JSON else 'MessagePack'}: {error}.") from error
    return found


def answered(request: Request, value: object, *, status: int = 200) -> Response:
    """*value* in the form that the client accepts: MessagePack where it names that, else JSON."""
    accepted = request.headers.get("accept", "")
    if MSGPACK in accepted or (MESSAGES in accepted and isinstance(value, dict)):
        kind = MSGPACK if MSGPACK in accepted else MESSAGES
        return Response(msgspec.msgpack.encode(value), status_code=status, media_type=kind)
    return Response(msgspec.json.encode(value), status_code=status, media_type=JSON)


def described(type: type[Struct], *, messages: bool = False) -> dict[str, Value]:
    """What the OpenAPI document says of a body of this type."""
    schema = inlined(msgspec.json.schema(type))
    content: dict[str, Value] = {JSON: {"schema": schema}, MSGPACK: {"schema": schema}}
    if messages:
        content[MESSAGES] = {"schema": {"type": "string", "format": "binary"}}
    return {"requestBody": {"required": True, "content": content}}


def inlined(schema: Value) -> Value:
    """*schema* without references, each replaced by what it refers to: so it may stand in a document of others."""
    return _inlined(schema, {})


def _inlined(schema: Value, known: Mapping[str, Value]) -> Value:
    if isinstance(schema, list):
        return [_inlined(item, known) for item in schema]
    if not isinstance(schema, dict):
        return schema
    known = schema.get("$defs", known)
    if "$ref" in schema:
        return _inlined(known[schema["$ref"].rpartition("/")[2]], known)
    return {key: _inlined(item, known) for key, item in schema.items() if key != "$defs"}
