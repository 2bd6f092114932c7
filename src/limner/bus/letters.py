"""What a worker and a server write to each other where there is only a bus between them."""

import msgspec
from msgspec import Struct

#: Topic of what workers write to the server: hello, heartbeats, extends, questions.
WORKERS = "workers"
#: How the topic of the answers to one worker begins.
REPLIES = "replies"


class Letter(Struct, frozen=True, kw_only=True):
    """A worker says or asks something."""

    #: Comes back with the answer.
    id: str
    worker: str
    #: Topic of the answer; empty where none is wanted.
    reply: str
    #: What it is about: the names of the HTTP API's calls, ``workers:hello``.
    path: str
    #: What is said, encoded as JSON; a :class:`Chunk` where a file is handed in.
    body: bytes = b""


class Reply(Struct, frozen=True, kw_only=True):
    """The answer to a letter."""

    id: str
    #: As the HTTP API would answer it.
    status: int = 200
    body: bytes = b""
    #: Why it is refused, where it is.
    problem: str = ""


class Ask(Struct, frozen=True, kw_only=True):
    """Asks for a part of an artifact, or whether the server has it."""

    sha256: str
    offset: int = 0


class Chunk(Struct, frozen=True, kw_only=True):
    """A part of an artifact on its way."""

    sha256: str
    #: Where it begins, and bytes of the whole.
    offset: int
    total: int
    data: bytes


#: Bytes of an artifact in one message at most.
CHUNK = 1_000_000

encode = msgspec.msgpack.encode
#: A letter that says nothing and wants no answer: whether it is taken in is what its writer wants to know.
PROBE = encode(Letter(id="probe", worker="", reply="", path="probe"))
letter_of = msgspec.msgpack.Decoder(Letter).decode
reply_of = msgspec.msgpack.Decoder(Reply).decode
chunk_of = msgspec.msgpack.Decoder(Chunk).decode
