"""Messages between a worker and its child process: MessagePack behind eight bytes of length, over a socket pair."""

import socket
from collections.abc import Iterator

import msgspec

from limner.domain.versions import Description
from limner.worker.calls import Answered, Asked, Call, Describe, Done, Load, Loaded, Trouble, Unusable

_HEAD = 8

_encoder = msgspec.msgpack.Encoder()
_asked: msgspec.msgpack.Decoder[Asked] = msgspec.msgpack.Decoder(Load | Call | Describe)
_answered: msgspec.msgpack.Decoder[Done | Trouble | Unusable | Loaded] = msgspec.msgpack.Decoder(
    Done | Trouble | Unusable | Loaded
)
_description = msgspec.msgpack.Decoder(Description)


def frame(message: Asked | Answered) -> bytes:
    """*message* as the bytes that travel."""
    body = _encoder.encode(message)
    return len(body).to_bytes(_HEAD, "little") + body


def decode_asked(body: bytes) -> Asked:
    """What a child process is asked."""
    return _asked.decode(body)


def decode_answered(body: bytes) -> Done | Trouble | Unusable | Loaded:
    """What a child process answers, but for descriptions."""
    return _answered.decode(body)


def decode_description(body: bytes) -> Description:
    """What a child process says of an inferrer."""
    return _description.decode(body)


def bodies(connection: socket.socket) -> Iterator[bytes]:
    """The bodies of the frames that come, until the other side hangs up; a child waits as long as it takes."""
    reader = connection.makefile("rb")
    while True:
        head = reader.read(_HEAD)
        if len(head) < _HEAD:
            return
        yield reader.read(int.from_bytes(head, "little"))


class Assembly:
    """A frame that comes in pieces."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def add(self, piece: bytes) -> bytes | None:
        """The body, once it is whole."""
        self._buffer += piece
        if len(self._buffer) < _HEAD:
            return None
        end = _HEAD + int.from_bytes(self._buffer[:_HEAD], "little")
        return bytes(self._buffer[_HEAD:end]) if len(self._buffer) >= end else None
