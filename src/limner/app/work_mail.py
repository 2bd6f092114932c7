"""The server's side of workers that reach a broker alone: reads their letters from the bus, and answers."""

import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec
import structlog
from msgspec import Struct

from limner.app.held import MOST_BYTES, held_artifact, keep_artifact
from limner.app.work_desk import WorkDesk
from limner.app.work_wanted import wanted
from limner.app.work_wire import Named, TakeAsk
from limner.artifacts.base import checked
from limner.bus import letters
from limner.bus.base import Delivery
from limner.bus.letters import CHUNK, WORKERS, Ask, Chunk, Letter, Reply
from limner.domain.digests import digest
from limner.domain.workers import BY_BROKER, Beat, Hello
from limner.errors import ArtifactMissing, ArtifactsUnavailable, BusUnavailable, LimnerError, NotFound, StoreUnavailable
from limner.store.files import HeldArtifact

if TYPE_CHECKING:
    from limner.app.hosting import Host

_log = structlog.get_logger(__name__)

#: Letters that are read together, and one look for them.
_GROUP, _LOOK = 16, timedelta(seconds=0.5)
_AGAIN = 1.0
#: Letters about artifacts wait in so many lanes, beside all others, since an object store may take minutes; in each of
#: them no more than so many.
_LANES, _WAITING = 4, 32
#: What workers write most often.
_EXTEND = "tasks:extend"
#: What is answered to whoever wrote the letter.
_PROBLEMS = (msgspec.DecodeError, LimnerError, OSError)
#: Whoever may write to the broker may work, and may bring nothing that no pipeline declares.
_SCOPES = frozenset({"work"})


class HoldAsk(Struct, frozen=True, kw_only=True):
    """A worker says which tasks it holds."""

    worker_id: str
    tasks: list[int]


class AdmitAsk(Struct, frozen=True, kw_only=True):
    """A worker asks what it may do."""

    worker_id: str
    serves: list[Named]


class Mail:
    """
    Answers letters, one after the other, in a thread of its host; those about artifacts in threads of their own.

    The letters of one worker stay in their order.
    """

    def __init__(self, host: "Host", *, stopping: threading.Event) -> None:
        self._host = host
        self._stopping = stopping
        systems = host.app.declared.systems.values()
        names = {name: stage for system in systems for name, stage in system.stage_names.items()}
        self._desk = WorkDesk(host, names=names)
        #: By worker: records that it said it has done.
        self._done: dict[str, int] = {}
        self._parts = host.app.project.home / "handed-in"
        self._lanes: Sequence[Queue[Letter]] = [Queue(_WAITING) for _ in range(_LANES)]
        self._calls: Mapping[str, Callable[[Letter], bytes]] = {
            "work/implementations": self._wanted,
            "workers:hello": self._hello,
            "workers:heartbeat": self._heartbeat,
            "tasks:admit": self._admit,
            "artifacts:has": self._has,
            "artifacts:get": self._get,
            "artifacts:put": self._put,
        }

    def run(self) -> None:
        """Read and answer until the host stops."""
        # What was handed in in part goes on from its beginning.
        shutil.rmtree(self._parts, ignore_errors=True)
        self._parts.mkdir(parents=True, exist_ok=True)
        for number, lane in enumerate(self._lanes):
            name = f"mail {number} {self._host.name}"
            threading.Thread(target=self._serve, args=(lane,), name=name, daemon=True).start()
        while not self._stopping.is_set():
            if not self._host.leading:
                self._stopping.wait(_AGAIN)
                continue
            try:
                self._turn()
            except (BusUnavailable, StoreUnavailable) as error:
                _log.warning("mail_waits", project=self._host.name, reason=str(error))
                self._stopping.wait(_AGAIN)
            except Exception:  # noqa: BLE001  workers that nobody answers would wait in silence
                _log.exception("mail_broke", project=self._host.name)
                self._stopping.wait(_AGAIN)

    def _turn(self) -> None:
        bus = self._host.app.bus
        found = [(self._opened(delivery), delivery) for delivery in bus.take([WORKERS], limit=_GROUP, wait=_LOOK)]
        self._extend([letter for letter, _ in found if letter is not None and letter.path == _EXTEND])
        for letter, delivery in found:
            if letter is not None and letter.path != _EXTEND:
                self._answer(letter)
            # One by one: whatever breaks the next one, this one was answered.
            bus.acknowledge([delivery])

    def _opened(self, delivery: Delivery) -> Letter | None:
        """The letter; None where nobody can read it."""
        try:
            return letters.letter_of(delivery.body)
        except msgspec.DecodeError as error:
            _log.error("letter_unreadable", project=self._host.name, reason=str(error))
            return None

    def _answer(self, letter: Letter) -> None:
        if not letter.path.startswith("artifacts:"):
            self._write(letter, self._reply(letter))
            return
        try:
            self._lanes[crc32(letter.worker.encode()) % _LANES].put_nowait(letter)
        except Full:
            told = "Too many files are handed in and fetched at once."
            self._write(letter, Reply(id=letter.id, status=503, problem=told))

    def _serve(self, lane: "Queue[Letter]") -> None:
        """Answer what waits in a lane; a worker whose letter is lost in here asks again."""
        while not self._stopping.is_set():
            try:
                letter = lane.get(timeout=_LOOK.total_seconds())
            except Empty:
                continue
            try:
                self._write(letter, self._reply(letter))
            except (BusUnavailable, StoreUnavailable) as error:
                _log.warning("mail_waits", project=self._host.name, reason=str(error))
            except Exception:  # noqa: BLE001  those behind it are answered all the same
                _log.exception("mail_broke", project=self._host.name)

    def _write(self, letter: Letter, reply: Reply) -> None:
        if letter.reply:
            self._host.app.bus.publish(letter.reply, [letters.encode(reply)])

    def _reply(self, letter: Letter) -> Reply:
        """What is answered; an error of the worker's is an answer, too."""
        call = self._calls.get(letter.path)
        if call is None:
            return Reply(id=letter.id, status=404, problem=f"There is no call {letter.path}.")
        try:
            return Reply(id=letter.id, body=call(letter))
        except _PROBLEMS as error:
            return _problem(letter, error)

    def _wanted(self, _: Letter) -> bytes:
        return msgspec.json.encode({"implementations": wanted(self._host)})

    def _hello(self, letter: Letter) -> bytes:
        hello = msgspec.json.decode(letter.body, type=Hello)
        self._done.setdefault(hello.worker_id, 0)
        seen = msgspec.structs.replace(hello, ip="", client=BY_BROKER)
        return msgspec.json.encode(self._desk.hello(seen, scopes=_SCOPES, token_id=None))

    def _heartbeat(self, letter: Letter) -> bytes:
        beat = msgspec.json.decode(letter.body, type=Beat)
        answer = self._desk.heartbeat(beat)
        # Its answers go to the engine and not by this desk, so what it did is known from what it says.
        before = self._done.get(beat.worker_id, beat.done_records)
        self._done[beat.worker_id] = beat.done_records
        if beat.done_records > before:
            with self._host.store.transaction() as tx:
                grown = beat.done_records - before
                tx.workers.progressed(beat.worker_id, records=grown, seconds=0.0, now=self._host.clock.now())
        return msgspec.json.encode(answer)

    def _admit(self, letter: Letter) -> bytes:
        ask = msgspec.json.decode(letter.body, type=AdmitAsk)
        admission = self._desk.admit(TakeAsk(worker_id=ask.worker_id, serves=ask.serves), scopes=_SCOPES)
        # A queue is there before anybody may take from it: a worker has no right to make one.
        for topic in admission.versions:
            self._host.app.bus.count(topic)
        versions = {topic: sorted(found) for topic, found in admission.versions.items()}
        return msgspec.json.encode({"versions": versions, "told": admission.told})

    def _extend(self, given: Sequence[Letter]) -> None:
        """Answer those who say what they hold: most letters are of this kind, so all are committed together."""
        asks: list[tuple[Letter, HoldAsk]] = []
        for letter in given:
            try:
                asks.append((letter, msgspec.json.decode(letter.body, type=HoldAsk)))
            except msgspec.DecodeError as error:
                self._write(letter, _problem(letter, error))
        if not asks:
            return
        try:
            cancelled = self._desk.hold([(ask.worker_id, ask.tasks) for _, ask in asks])
        except _PROBLEMS as error:
            for letter, _ in asks:
                self._write(letter, _problem(letter, error))
        else:
            for (letter, _), gone in zip(asks, cancelled, strict=True):
                self._write(letter, Reply(id=letter.id, body=msgspec.json.encode({"cancelled": gone})))

    # Artifacts, a part at a time

    def _has(self, letter: Letter) -> bytes:
        return msgspec.json.encode(self._holds(msgspec.json.decode(letter.body, type=Ask).sha256))

    def _holds(self, sha256: str) -> bool:
        try:
            held_artifact(self._host, sha256)
        except ArtifactMissing:
            return False
        return True

    def _get(self, letter: Letter) -> bytes:
        ask = msgspec.json.decode(letter.body, type=Ask)
        held_artifact(self._host, ask.sha256)
        with self._host.app.artifacts.open(ask.sha256) as file:
            total = file.seek(0, 2)
            file.seek(ask.offset)
            return letters.encode(Chunk(sha256=ask.sha256, offset=ask.offset, total=total, data=file.read(CHUNK)))

    def _put(self, letter: Letter) -> bytes:
        """Take a part in; how many bytes there are by now, which is where the next one begins."""
        chunk = letters.chunk_of(letter.body)
        if self._holds(chunk.sha256):
            return msgspec.json.encode(chunk.total)
        part = self._part(chunk.sha256, letter.worker)
        there = part.stat().st_size if part.exists() and chunk.offset else 0
        if chunk.offset == there and there + len(chunk.data) <= min(chunk.total, MOST_BYTES):
            with part.open("ab" if there else "wb") as file:
                file.write(chunk.data)
            there += len(chunk.data)
        if there == chunk.total:
            try:
                keep_artifact(self._host, part, HeldArtifact(sha256=chunk.sha256, size=chunk.total))
            finally:
                part.unlink(missing_ok=True)
        return msgspec.json.encode(there)

    def _part(self, sha256: str, worker: str) -> Path:
        return self._parts / f"{checked(sha256)}.{digest(worker.encode()).hex()[:12]}"


def _problem(letter: Letter, error: Exception) -> Reply:
    """The answer to a letter that met *error*."""
    status = 422
    if isinstance(error, NotFound):
        status = 404
    elif isinstance(error, ArtifactsUnavailable | BusUnavailable | StoreUnavailable | OSError):
        # What this machine has no room for is handed in again, too.
        status = 503
    return Reply(id=letter.id, status=status, problem=str(error))
