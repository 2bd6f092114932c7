"""An inferrer in the worker's own process, for stages that ask for it: nothing to start, and no deadline."""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from limner.errors import LimnerError
from limner.inferrers.host import Host
from limner.inferrers.own_source import read_from_source
from limner.worker.calls import Load, Reply, Unusable, call_host, load_host
from limner.worker.own_folder import SCRATCH, OwnFolder


class InlineRunner:
    """Calls an inferrer in the thread that asks; it is loaded when it is first needed."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._host: Host | None = None
        self._scratch: OwnFolder | None = None

    def run(self, columns: Mapping[str, list[bytes]], *, prior: list[bytes]) -> Reply:
        """The outcomes of these records, or what went wrong with the call as a whole."""
        try:
            host = self._loaded()
        except MemoryError:
            return Unusable(reason=f"There is no memory to load {self._load.runtime.infer} in.")
        except LimnerError as error:
            return Unusable(reason=str(error))
        except (Exception, SystemExit) as error:  # noqa: BLE001  a user's code may raise anything while it is loaded
            return Unusable(reason=f"{self._load.runtime.infer} cannot be loaded: {type(error).__name__}: {error}")
        return call_host(host, columns, prior=prior)

    def tidy(self, path: Path) -> None:
        """Remove *path*, which was uploaded, if it was written for that only; what the user's code wrote is its own."""
        if self._scratch is not None and path.is_relative_to(self._scratch.path):
            path.unlink(missing_ok=True)

    def kill(self) -> None:
        """Do nothing: a thread cannot be ended from outside."""

    def close(self) -> None:
        """Let go of the inferrer."""
        if self._host is not None:
            self._host.close()
            self._host = None
        if self._scratch is not None:
            self._scratch.close()
            self._scratch = None

    def _loaded(self) -> Host:
        if self._host is None:
            if self._load.project not in sys.path:
                sys.path.insert(0, self._load.project)
            read_from_source(self._load.project)
            self._scratch = self._scratch or OwnFolder(Path(tempfile.gettempdir()), prefix=SCRATCH)
            self._host = load_host(self._load, scratch=self._scratch.path)
        return self._host
