"""The child process of a worker: loads one inferrer and answers calls, until its parent hangs up or dies."""

import gc
import os
import resource
import signal
import socket
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from limner.domain.versions import Description
from limner.errors import LimnerError
from limner.inferrers.host import Host
from limner.inferrers.own_source import read_from_source
from limner.worker.calls import Answered, Asked, Call, Describe, Load, Loaded, Unusable, call_host, load_host, no_memory
from limner.worker.frames import bodies, decode_asked, frame

_MEGABYTE = 1_000_000
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Serve the socket with this number, for the parent with this process id."""
    number, parent = map(int, arguments)
    _die_with(parent)
    # A service manager may send these to every process of a worker; when to end is for the worker to say.
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, _pass_over)
    connection = socket.socket(fileno=number)
    # What the inferrer starts must not hold the line open when this process is gone.
    os.set_inheritable(number, False)
    served = _Served()
    # A parent that has hung up meanwhile does not want the answer.
    with suppress(BrokenPipeError, ConnectionResetError):
        for body in bodies(connection):
            connection.sendall(served.answer(body))
    served.close()
    return 0


def _pass_over(sign: int, frame: object) -> None:
    """Go on; unlike an ignored signal, this is not handed on to programs that the inferrer starts."""


class _Served:
    """The inferrer of this process, once it is loaded."""

    def __init__(self) -> None:
        self._host: Host | None = None

    def answer(self, body: bytes) -> bytes:
        """The framed answer to one framed question; to find no memory is an answer too."""
        try:
            return frame(self._answer(decode_asked(body)))
        except MemoryError as error:
            # The traceback holds what filled the memory.
            answer = no_memory(error.with_traceback(None))
        gc.collect()
        return frame(answer)

    def close(self) -> None:
        """Let go of the inferrer."""
        if self._host is not None:
            self._host.close()

    def _answer(self, asked: Asked) -> Answered:
        if isinstance(asked, Load):
            return self._load(asked)
        if isinstance(asked, Describe):
            return _describe(asked)
        return self._call(asked)

    def _load(self, load: Load) -> Loaded | Unusable:
        sys.path.insert(0, load.project)
        read_from_source(load.project)
        if load.runtime.memory_mb is not None:
            _limit_memory(load.runtime.memory_mb)
        try:
            # The temporary folder is this process's own, and goes with it.
            self._host = load_host(load, scratch=Path(tempfile.gettempdir()))
        except MemoryError:
            return Unusable(reason=f"{load.runtime.infer} cannot be loaded within memory_mb={load.runtime.memory_mb}.")
        except LimnerError as error:
            return Unusable(reason=str(error))
        except (Exception, SystemExit) as error:  # noqa: BLE001  a user's code may raise anything while it is loaded
            return Unusable(reason=f"{load.runtime.infer} cannot be loaded: {type(error).__name__}: {error}")
        return Loaded()

    def _call(self, call: Call) -> Answered:
        if self._host is None:
            return Unusable(reason="The process was called before it was told what to load.")
        return call_host(self._host, call.columns, prior=call.prior)


def _describe(asked: Describe) -> Description:
    """What the inferrer says of itself; what is wrong with it stands in the description."""
    from limner.inferrers.connect import describe

    if asked.project not in sys.path:
        sys.path.insert(0, asked.project)
    read_from_source(asked.project)
    try:
        if asked.infer != "http":
            return describe(asked.infer, params=asked.params)
        from limner.addresses import AddressGuard

        with AddressGuard(allow_hosts=asked.allow_hosts).client() as client:
            return describe(asked.infer, params=asked.params, client=client)
    except (Exception, SystemExit) as error:  # noqa: BLE001  a user's module may raise anything when it is imported
        return Description(code="", problem=f"{asked.infer} cannot be described: {type(error).__name__}: {error}")


def _limit_memory(megabytes: int) -> None:
    """Let this process use so many megabytes more than now: what asks for more is given MemoryError, and lives."""
    status = Path("/proc/self/status")
    if not status.exists():
        return
    used = next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmData:"))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = used + megabytes * _MEGABYTE
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _die_with(parent: int) -> None:
    """Have the kernel end this process when its parent's thread ends, however that happens."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # It died before it could be watched.
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
