"""Copies of fetched files on disk: shared by stages, bounded in bytes, and never taken from who is using them."""

import contextlib
import hashlib
import os
import shutil
import threading
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path, PurePosixPath
from types import TracebackType

import msgspec
from msgspec import Struct, structs

from limner.clock import Clock
from limner.errors import ConfigurationError
from limner.worker.own_folder import OwnFolder, remove_the_dead
from limner.worker.room import Space

GIGABYTE = 1_000_000_000

#: Revisions of one address that are remembered to have had the same bytes.
_REVISIONS = 8
#: An eviction goes on until this share of the bound is left, so that not every new copy starts one.
_LEAVE = 0.9


def keep_for(policy: str | float) -> timedelta:
    """
    How long a copy is kept after its last use: ``done`` (until the process ends), ``always``, or a number of days.

    Raises:
        ConfigurationError: *policy* is none of these.
    """
    named = {"done": timedelta(), "always": timedelta.max}
    if isinstance(policy, str) and policy in named:
        return named[policy]
    try:
        days = timedelta(days=float(policy))
    except (ValueError, OverflowError):
        days = timedelta(-1)
    if days < timedelta():
        raise ConfigurationError(f"The setting keep is {policy!r}; use done, always, or a number of days.")
    return days


class Copy(Struct, frozen=True, kw_only=True):
    """What is known of the bytes that an address had when it was asked last."""

    url: str
    #: Revisions for which the source is known to have had these bytes, oldest first.
    revisions: tuple[str | None, ...]
    sha256: str
    size: int
    etag: str | None = None
    last_modified: str | None = None


class Hold:
    """Files that one task uses; each stays where it is until the hold is closed."""

    def __init__(self, whole: "Hold | None" = None) -> None:
        """*whole* is the hold that this one is a part of."""
        #: Files that were fetched over the network for this hold and its parts.
        self.downloads = 0
        self.closed = False
        #: The room that its files take, or will.
        self.spaces: list[Space] = []
        self._whole = whole
        self._parts: list[Hold] = []
        self._paths: list[Path] = []
        self._after: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def __enter__(self) -> "Hold":
        """Hold until the block ends."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go."""
        self.close()

    def part(self) -> "Hold":
        """A hold that may be closed before this one, and is closed with it."""
        part = Hold(self)
        with self._lock:
            self._parts.append(part)
        return part

    def add(self, path: Path, *, after: Callable[[], None] = lambda: None) -> None:
        """Remove the link *path* and call *after* when the hold is closed; at once, if it is closed already."""
        with self._lock:
            if not self.closed:
                self._paths.append(path)
                self._after.append(after)
                return
        path.unlink(missing_ok=True)
        after()

    def count_download(self) -> None:
        """One more file came over the network for this hold."""
        with self._lock:
            self.downloads += 1
        if self._whole is not None:
            self._whole.count_download()

    def close(self) -> None:
        """Let go of the files; closing twice does nothing."""
        paths, after = self._emptied()
        for path in paths:
            path.unlink(missing_ok=True)
        for call in after:
            call()

    def _emptied(self) -> tuple[list[Path], list[Callable[[], None]]]:
        """What is to be done at the close; all parts are closed before any of it, so that none asks for more."""
        with self._lock:
            self.closed = True
            paths, self._paths = self._paths, []
            parts, self._parts = self._parts, []
            after, self._after = self._after, []
        for part in parts:
            of_part, after_part = part._emptied()
            paths += of_part
            after += after_part
        return paths, after


class FileCache:
    """
    Files by address under *folder*, which several processes may share.

    A body stands once, by its digest, and whoever uses it has a hard link of its own: what has more than one link is
    in use and is not evicted, and a file in use stays readable whatever another process does. The links of a process,
    and with *keep* zero its bodies too, lie in a folder that is locked while it lives, and that the next process to
    start removes when it was killed.
    """

    def __init__(self, folder: Path, *, clock: Clock, keep: timedelta = timedelta(), max_bytes: int = GIGABYTE) -> None:
        self._clock = clock
        self._keep = keep
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._numbers = count(1)
        live = folder / "live"
        live.mkdir(parents=True, exist_ok=True)
        remove_the_dead(live)
        self._folder = OwnFolder(live)
        self._own = self._folder.path
        home = folder / "kept" if keep else self._own / "kept"
        self._bodies, self._known = home / "bodies", home / "known"
        self._bodies.mkdir(parents=True, exist_ok=True)
        self._known.mkdir(exist_ok=True)
        self._forget_the_old()
        self._bytes = sum(path.stat().st_size for path in self._bodies.iterdir())

    def aside(self, url: str) -> Path:
        """A path of this process's own, with the ending of *url*, for a new file or a link."""
        ending = PurePosixPath(url.partition("?")[0].partition("#")[0]).suffix
        safe = ending if len(ending) <= 8 and ending[1:].isalnum() else ""
        return self._own / f"{next(self._numbers)}{safe}"

    def knows(self, url: str, *, revision: str | None) -> bool:
        """Whether a copy of *url* as of *revision* is at hand."""
        try:
            copy = msgspec.json.decode(self._note(url).read_bytes(), type=Copy)
        except (FileNotFoundError, msgspec.DecodeError):
            return False
        return revision in copy.revisions and (self._bodies / copy.sha256).exists()

    def find(self, url: str) -> tuple[Copy, Path] | None:
        """What is known of *url*, with a link to its bytes that the caller removes; None if no copy is at hand."""
        try:
            copy = msgspec.json.decode(self._note(url).read_bytes(), type=Copy)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        body = self._bodies / copy.sha256
        link = self.aside(url)
        try:
            whole = body.stat().st_size == copy.size
            if whole and not self._old(body):
                os.utime(body, (self._clock.now(), self._clock.now()))
                self.link(body, to=link)
                return copy, link
        except FileNotFoundError:
            pass
        return None

    def add(self, copy: Copy, *, aside: Path) -> None:
        """Keep the new file *aside*, which stays as a link to be removed by the caller."""
        body = self._bodies / copy.sha256
        fresh = self.aside("")
        self.link(aside, to=fresh)
        os.utime(fresh, (self._clock.now(), self._clock.now()))
        fresh.replace(body)
        # A rename onto a link of the same file does nothing and leaves both names.
        fresh.unlink(missing_ok=True)
        self._write(copy)
        with self._lock:
            self._bytes += copy.size
            full = self._bytes > self._max_bytes
        if full:
            self._evict()

    def confirm(self, copy: Copy, *, revision: str | None) -> Copy:
        """Remember that the source has the same bytes at *revision* too."""
        known = [known for known in copy.revisions if known != revision]
        renewed = structs.replace(copy, revisions=(*known, revision)[-_REVISIONS:])
        self._write(renewed)
        return renewed

    def link(self, path: Path, *, to: Path) -> None:
        """Give the file at *path* the further name *to*; a copy, where the disk knows no links."""
        try:
            to.hardlink_to(path)
        except FileNotFoundError:
            raise
        except OSError:
            shutil.copyfile(path, to)

    def close(self) -> None:
        """Remove what this process alone used, and what was kept for longer than it is to be."""
        self._forget_the_old()
        self._folder.close()

    def _note(self, url: str) -> Path:
        return self._known / hashlib.blake2b(url.encode(), digest_size=16).hexdigest()

    def _write(self, copy: Copy) -> None:
        aside = self.aside("")
        aside.write_bytes(msgspec.json.encode(copy))
        aside.replace(self._note(copy.url))

    def _old(self, body: Path) -> bool:
        return self._keep > timedelta() and self._clock.now() - body.stat().st_mtime > self._keep.total_seconds()

    def _evict(self) -> None:
        """Remove bodies, the longest unused first, until the rest is within bounds; never one that has a user."""
        with self._lock:
            found = sorted((body.stat().st_mtime, body) for body in self._bodies.iterdir() if body.exists())
            self._bytes = sum(body.stat().st_size for _, body in found)
            for _, body in found:
                if self._bytes <= self._max_bytes * _LEAVE:
                    break
                status = body.stat()
                if status.st_nlink == 1:
                    body.unlink()
                    self._bytes -= status.st_size

    def _forget_the_old(self) -> None:
        """Remove bodies that nobody used for as long as they are kept, and notes of bodies that are gone."""
        if not self._keep:
            return
        for body in self._bodies.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if self._old(body) and body.stat().st_nlink == 1:
                    body.unlink()
        for note in self._known.iterdir():
            with contextlib.suppress(FileNotFoundError):
                try:
                    sha256 = msgspec.json.decode(note.read_bytes(), type=Copy).sha256
                except msgspec.DecodeError:
                    sha256 = "damaged"
                if not (self._bodies / sha256).exists():
                    note.unlink()
