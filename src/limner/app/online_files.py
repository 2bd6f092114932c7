"""Files of records that are asked about online: fetched, or written down, for as long as they are needed."""

import hashlib
import threading
from collections.abc import Mapping

from limner.app.awaiting import Asking, Waited
from limner.app.online_inputs import FileBytes, Input
from limner.app.online_target import Target
from limner.app.parts import Parts
from limner.domain.tasks import FileRef, LocalFile
from limner.worker.cache import Hold
from limner.worker.fetch import Fetcher
from limner.worker.own_folder import OwnFolder


class OnlineFiles:
    """Has files at hand; what it needs for that is made when the first file comes."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._fetcher: Fetcher | None = None
        self._scratch: OwnFolder | None = None
        self._numbers = 0

    def fetch(self, target: Target, asking: Asking, at: int, row: Mapping[str, Input]) -> None:
        """Have the files of the record at *at* at hand; it is asked about when all of them are."""
        fetcher = self._fetching()
        waiting = Waited(asking, at, {name: value for name, value in row.items() if isinstance(value, bytes)})
        asking.holds.append(waiting.hold)
        for name, value in row.items():
            read = target.runtime.reads[name]
            if isinstance(value, FileBytes):
                waiting.have(name, self._written(value.data, waiting.hold))
            elif isinstance(value, FileRef) and read is not None:
                waiting.wait(name, fetcher.begin(value, read, hold=waiting.hold))
        waiting.begun()

    def close(self) -> None:
        """Remove what was written."""
        if self._fetcher is not None:
            self._fetcher.close()
        if self._scratch is not None:
            self._scratch.close()

    def _fetching(self) -> Fetcher:
        with self._lock:
            if self._fetcher is None:
                self._fetcher = self._parts.fetcher()
            return self._fetcher

    def _written(self, data: bytes, hold: Hold) -> LocalFile:
        """A file that was sent along, for as long as it is needed."""
        with self._lock:
            if self._scratch is None:
                folder = self._parts.project.path(self._parts.settings.cache)
                folder.mkdir(parents=True, exist_ok=True)
                self._scratch = OwnFolder(folder, prefix="online-")
            self._numbers += 1
            path = self._scratch.path / str(self._numbers)
        path.write_bytes(data)
        hold.add(path)
        return LocalFile(path=str(path), sha256=hashlib.sha256(data).hexdigest())
