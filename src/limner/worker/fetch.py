"""Fetching: from a file's address to a file at hand, once for all who ask."""

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import httpx
import structlog

from limner.addresses import AddressGuard, parse
from limner.artifacts.base import Artifacts
from limner.clock import Clock
from limner.domain.failures import FailedRecord, FailureCode
from limner.domain.reads import FileRead
from limner.domain.tasks import FileRef, LocalFile
from limner.errors import AddressRefused, ArtifactMissing, ArtifactsUnavailable
from limner.worker.cache import Copy, FileCache, Hold
from limner.worker.download import download, too_large
from limner.worker.lanes import Lanes
from limner.worker.room import Room, Space

_log = structlog.get_logger(__name__)

GIBIBYTE = 1 << 30
#: Turns the address in a record into the one that is fetched.
Resolver: TypeAlias = Callable[[str], str]
_Key: TypeAlias = tuple[str, str | None, bool]
#: Name of an artifact's address: ``artifact:`` and its SHA-256.
_ARTIFACT = "artifact:"
#: The lane of files on this machine, which are read in place.
_HERE = ""


class _Flight:
    """One exchange with a source, and all who wait for it."""

    def __init__(self, ref: FileRef, *, url: str, host: str) -> None:
        self.ref = ref
        self.url = url
        self.host = host
        self.space: Space
        self.waiting: list[tuple[FileRef, FileRead, Hold, Future[LocalFile]]] = []

    def cap(self) -> int:
        """Bytes that the most patient of those who wait would read."""
        return max(read.max_bytes for _, read, _, _ in self.waiting)

    def wanted(self) -> bool:
        """Whether anybody still waits."""
        return not all(hold.closed for _, _, hold, _ in self.waiting)


class Fetcher:
    """
    Turns file references into files at hand, for all stages and threads of a worker.

    Files on this machine are read in place. What comes over the network is fetched once for an address and revision,
    however many ask at the same moment, and lies in *cache*. At most *at_once* requests go to one host at a time, and
    not more than *rate* a second. What is fetched ahead waits while files of tasks that are not done have
    *max_bytes_in_flight*. Nothing is tried twice here: a failure is answered, and the engine tries again by the stage's
    retry policy, as a new task.
    """

    def __init__(
        self,
        cache: FileCache,
        *,
        guard: AddressGuard,
        clock: Clock,
        artifacts: Artifacts | None = None,
        resolvers: Mapping[str, Resolver] | None = None,
        at_once: int = 8,
        rate: float | None = None,
        connect: timedelta = timedelta(seconds=5),
        total: timedelta = timedelta(seconds=30),
        max_bytes_in_flight: int = GIBIBYTE,
    ) -> None:
        self._cache = cache
        self._guard = guard
        self._clock = clock
        self._artifacts = artifacts
        self._resolvers = dict(resolvers or {})
        self._connect, self._total = connect, total
        self._lanes = Lanes(at_once=at_once, rate=rate)
        #: What is fetched ahead waits here while the tasks in hand hold as many bytes as they may.
        self.room = Room(max_bytes_in_flight)
        #: By host, the largest file that came from it.
        self._largest: dict[str, int] = {}
        self._lock = threading.Lock()
        self._flights: dict[_Key, _Flight] = {}
        self._downloads = 0

    @property
    def downloads(self) -> int:
        """Files that came over the network so far; "not modified" counts for none."""
        return self._downloads

    def hold(self) -> Hold:
        """A new hold: what is fetched for it stays at hand until it is closed."""
        return Hold()

    def fetch(self, ref: FileRef, read: FileRead, *, hold: Hold) -> LocalFile:
        """
        The file at hand.

        Raises:
            FailedRecord: why there is none.
        """
        return self.begin(ref, read, hold=hold).result()

    def begin(self, ref: FileRef, read: FileRead, *, hold: Hold, ahead: bool = False) -> Future[LocalFile]:
        """
        Start to fetch; the future ends with the file at hand, or with a :class:`FailedRecord`.

        What is fetched *ahead* waits for room, see :meth:`hurry`.
        """
        future: Future[LocalFile] = Future()
        try:
            url = self._resolved(ref.url, resolver=read.resolver)
            if url.startswith(("/", _ARTIFACT)) or url[:5].lower() == "file:":
                self._lanes.submit(_HERE, lambda: _settle(future, lambda: self._here(url, ref, read, hold=hold)))
            else:
                self._join(url, ref, read, hold=hold, future=future, ahead=ahead)
        except FailedRecord as error:
            future.set_exception(error)
        return future

    def hurry(self, holds: Iterable[Hold]) -> None:
        """The files of *holds* are waited for, so they are fetched before what is only fetched ahead."""
        self.room.hurry(space for hold in holds for space in hold.spaces)

    def close(self) -> None:
        """Stop fetching, and clean the cache as its policy says."""
        self.room.close()
        self._lanes.close()
        if "_client" in self.__dict__:
            self._client.close()
        self._cache.close()

    @cached_property
    def _client(self) -> httpx.Client:
        return self._guard.client(connect=self._connect, total=self._total)

    def _resolved(self, url: str, *, resolver: str | None) -> str:
        if resolver is None:
            return url
        if resolver not in self._resolvers:
            known = ", ".join(self._resolvers) or "none"
            raise FailedRecord(FailureCode.INPUT_INVALID, f"No resolver is called {resolver}; known are: {known}.")
        try:
            return self._resolvers[resolver](url)
        except Exception as error:
            told = f"The resolver {resolver} cannot make an address of {url!r}: {error}"
            raise FailedRecord(FailureCode.INPUT_INVALID, told) from error

    def _join(
        self, url: str, ref: FileRef, read: FileRead, *, hold: Hold, future: Future[LocalFile], ahead: bool
    ) -> None:
        """Wait for the exchange that is under way for the same bytes, or start one."""
        host = _host(url)
        key = (url, ref.revision, ref.fresh)
        with self._lock:
            flight = self._flights.get(key)
            new = flight is None
            if flight is None:
                flight = self._flights[key] = self._flight(key, ref, host=host)
            flight.waiting.append((ref, read, hold, future))
            hold.spaces.append(flight.space)
        if new and ahead:
            self.room.ask(flight.space)
        elif new:
            self.room.begin(flight.space)
        elif not ahead:
            self.room.hurry([flight.space])

    def _flight(self, key: _Key, ref: FileRef, *, host: str) -> _Flight:
        """A flight that starts when there is room for it."""
        flight = _Flight(ref, url=key[0], host=host)
        flight.space = Space(
            lambda: self._lanes.submit(host, lambda: self._fly(key, flight, lane=host)),
            wanted=flight.wanted,
            guess=lambda: self._largest.get(host) or flight.cap(),
        )
        return flight

    def _fly(self, key: _Key, flight: _Flight, *, lane: str) -> None:
        """Get the bytes of one flight and give them to all who wait for it."""
        aside: Path | None = None
        error: FailedRecord | None = None
        copy: Copy | None = None
        try:
            copy, aside = self._bytes_of(flight, lane=lane)
        except FailedRecord as failed:
            error = failed
        except Exception as unforeseen:  # noqa: BLE001  whatever happens, those who wait are told
            _log.exception("fetch_broke", url=flight.url)
            error = FailedRecord(FailureCode.SOURCE_UNAVAILABLE, f"{flight.url} could not be kept: {unforeseen}")
        with self._lock:
            del self._flights[key]
            if copy is not None:
                self._largest[flight.host] = max(copy.size, self._largest.get(flight.host, 0))
        self.room.fill(flight.space, size=copy.size if copy else 0, holders=len(flight.waiting))
        for waiting in flight.waiting:
            self._give(*waiting, copy=copy, aside=aside, error=error, space=flight.space)
        if aside is not None:
            aside.unlink(missing_ok=True)

    def _bytes_of(self, flight: _Flight, *, lane: str) -> tuple[Copy, Path]:
        """The copy at hand or a new one, with a link to it that stays until the flight has ended."""
        found = None if flight.ref.fresh else self._cache.find(flight.url)
        if found is not None and flight.ref.revision in found[0].revisions:
            return found
        try:
            if not flight.wanted():
                raise FailedRecord(FailureCode.CANCELLED, f"Nobody waits for {flight.url} any more.")
            self._lanes.pace(lane)
            return self._download(flight, found=found)
        except BaseException:
            if found is not None:
                found[1].unlink(missing_ok=True)
            raise

    def _download(self, flight: _Flight, *, found: tuple[Copy, Path] | None) -> tuple[Copy, Path]:
        """Ask the source; what it sends is kept, and what is at hand is kept if that is still right."""
        aside = self._cache.aside(flight.url)
        try:
            received = download(
                self._client,
                flight.url,
                to=aside,
                cap=lambda: self._cap(flight),
                clock=self._clock,
                known=found[0] if found else None,
            )
            if received is None and found is not None:
                return self._cache.confirm(found[0], revision=flight.ref.revision), found[1]
            if received is None:
                raise AssertionError("a source cannot confirm what it was not asked about")
            copy = Copy(
                url=flight.url,
                revisions=(flight.ref.revision,),
                sha256=received.sha256,
                size=received.size,
                etag=received.etag,
                last_modified=received.last_modified,
            )
            self._cache.add(copy, aside=aside)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        if found is not None:
            found[1].unlink(missing_ok=True)
        self._count(flight)
        return copy, aside

    def _cap(self, flight: _Flight) -> int:
        with self._lock:
            return flight.cap()

    def _count(self, flight: _Flight) -> None:
        """One more download, on the account of who asked first."""
        with self._lock:
            self._downloads += 1
        flight.waiting[0][2].count_download()

    def _give(
        self,
        ref: FileRef,
        read: FileRead,
        hold: Hold,
        future: Future[LocalFile],
        *,
        copy: Copy | None,
        aside: Path | None,
        error: FailedRecord | None,
        space: Space,
    ) -> None:
        """Give one of those who wait a link of its own, or its failure."""
        held = False

        def made() -> LocalFile:
            nonlocal held
            if error is not None or copy is None or aside is None:
                raise error or AssertionError("a flight ends with a copy or an error")
            if copy.size > read.max_bytes:
                raise too_large(ref.url, max_bytes=read.max_bytes)
            _check(copy.sha256, ref=ref)
            link = self._cache.aside(ref.url)
            self._cache.link(aside, to=link)
            held = True
            hold.add(link, after=lambda: self.room.leave(space))
            return LocalFile(path=str(link), sha256=copy.sha256)

        _settle(future, made)
        if not held:
            self.room.leave(space)

    def _here(self, url: str, ref: FileRef, read: FileRead, *, hold: Hold) -> LocalFile:
        """The file at a path of this machine, or an artifact: read where it lies, and never copied."""
        if hold.closed:
            raise FailedRecord(FailureCode.CANCELLED, f"Nobody waits for {url} any more.")
        try:
            path = self._place(url)
            if not path.is_file():
                raise FailedRecord(FailureCode.SOURCE_NOT_FOUND, f"There is no file at {url}.")
            size = path.stat().st_size
            if size > read.max_bytes:
                raise too_large(url, max_bytes=read.max_bytes)
            if not size:
                raise FailedRecord(FailureCode.SOURCE_TRUNCATED, f"{url} is an empty file.", reason="empty")
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        except AddressRefused as error:
            raise FailedRecord(FailureCode.SOURCE_REFUSED, str(error)) from error
        except PermissionError as error:
            raise FailedRecord(FailureCode.SOURCE_FORBIDDEN, f"{url} may not be read: {error.strerror}.") from error
        except (FileNotFoundError, ArtifactMissing) as error:
            raise FailedRecord(FailureCode.SOURCE_NOT_FOUND, f"There is no file at {url}.") from error
        except ArtifactsUnavailable as error:
            raise FailedRecord(FailureCode.SOURCE_UNAVAILABLE, str(error)) from error
        except OSError as error:
            raise FailedRecord(FailureCode.SOURCE_UNAVAILABLE, f"{url} cannot be read: {error.strerror}.") from error
        _check(sha256, ref=ref)
        return LocalFile(path=str(path), sha256=sha256)

    def _place(self, url: str) -> Path:
        if not url.startswith(_ARTIFACT):
            return self._guard.path(url)
        if self._artifacts is None:
            raise ArtifactMissing(url.removeprefix(_ARTIFACT))
        return self._artifacts.path(url.removeprefix(_ARTIFACT))


def _settle(future: Future[LocalFile], make: Callable[[], LocalFile]) -> None:
    """End *future* with what *make* returns or raises."""
    try:
        made = make()
    except FailedRecord as error:
        future.set_exception(error)
    except Exception as error:  # noqa: BLE001  a future that never ends would hang its task
        _log.exception("fetch_broke")
        future.set_exception(FailedRecord(FailureCode.SOURCE_UNAVAILABLE, f"The file could not be kept: {error}"))
    else:
        future.set_result(made)


def _check(sha256: str, *, ref: FileRef) -> None:
    """Raise where the source declares another checksum."""
    if ref.checksum is not None and ref.checksum.lower() != sha256:
        raise FailedRecord(
            FailureCode.CHECKSUM_MISMATCH,
            f"The bytes of {ref.url} have the SHA-256 {sha256}, but {ref.checksum.lower()} was declared.",
        )


def _host(url: str) -> str:
    """The host of *url*, whose lane it takes."""
    try:
        return parse(url).host
    except AddressRefused as error:
        raise FailedRecord(FailureCode.SOURCE_REFUSED, str(error)) from error
