"""The handle of a child process: starts it, calls it with a deadline, and tells apart how a call can end."""

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import structlog

from limner.domain.failures import FailureCode
from limner.worker.calls import Asked, Call, Done, Load, Loaded, Reply, Trouble, Unusable
from limner.worker.frames import Assembly, decode_answered, frame
from limner.worker.growth import MEGABYTE, Growth
from limner.worker.own_folder import SCRATCH, OwnFolder

#: How often a process that says nothing is looked at: something that it started may hold its line open.
_LOOK = 0.25
_CHUNK = 1 << 20
#: How long a process may take to go, in seconds, and how often it is looked whether it did.
_GRACE = 1.0
_PAUSE = 0.002
#: A process is replaced when it grew by this share of its stage's ``memory_mb``, before it meets the limit.
_OWN_SHARE = 0.75

_log = structlog.get_logger(__name__)


class ProcessOverran(Exception):
    """The process did not answer in time; it was killed."""


class ProcessDied(Exception):
    """The process ended without an answer; the text says how, as the end of a sentence."""


class HostProcess:
    """One child process; start it in the thread that goes on using it, since it ends with that thread."""

    def __init__(self, *, project: Path, log: Path | None = None) -> None:
        """
        Start it in the folder *project*.

        What the user's code prints goes to the end of the file *log*, or to this process's standard error. Its
        temporary files lie in a folder of their own, which goes with it.
        """
        self._scratch = OwnFolder(Path(tempfile.gettempdir()), prefix=SCRATCH)
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as opened:
            opened.enter_context(theirs)
            output = opened.enter_context(log.open("ab")) if log else 2
            number, parent = str(theirs.fileno()), str(os.getpid())
            # -P: a file of the project must not stand in for a module of Python while the child starts.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-u", "-X", "faulthandler", "-m", "limner.worker.host_process", number, parent],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=project,
                env=os.environ | {"TMPDIR": str(self._scratch.path)},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._connection = ours
        self._patience = 0.0

    @property
    def pid(self) -> int:
        """Its process id, which is that of its group too."""
        return self._process.pid

    @property
    def scratch(self) -> Path:
        """Where the user's code makes its temporary files."""
        return self._scratch.path

    def ask(self, asked: Asked, *, within: timedelta) -> bytes:
        """
        The body of its answer.

        Raises:
            ProcessOverran: it did not answer in time, and was killed.
            ProcessDied: it ended, of itself or by a signal.
        """
        ends = time.monotonic() + within.total_seconds()
        try:
            self._send(frame(asked), ends=ends)
            return self._receive(ends=ends)
        except (BrokenPipeError, ConnectionResetError):
            raise self._died() from None

    def exited(self) -> bool:
        """Whether it has ended; until it is closed it stays a zombie, so that its number is not given to another."""
        try:
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def kill(self) -> None:
        """End it and all that it started, at once; from any thread."""
        # Once it was waited for, its number may be another's.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._process.returncode is None:
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self, *, grace: float = _GRACE) -> None:
        """Hang up, wait a moment for it to go, and end what is left of it and of what it started."""
        self._connection.close()
        ends = time.monotonic() + grace
        while not self.exited() and time.monotonic() < ends:
            time.sleep(_PAUSE)
        self.kill()
        self._process.wait()
        self._scratch.close()

    def _send(self, data: bytes, *, ends: float) -> None:
        rest, gone = memoryview(data), False
        self._wait_at_most(ends - time.monotonic())
        while rest:
            try:
                rest = rest[self._connection.send(rest, socket.MSG_DONTWAIT if gone else 0) :]
            except BlockingIOError:
                gone = self._waited(gone, ends=ends)

    def _receive(self, *, ends: float) -> bytes:
        assembly, gone = Assembly(), False
        while True:
            try:
                piece = self._connection.recv(_CHUNK, socket.MSG_DONTWAIT if gone else 0)
            except BlockingIOError:
                gone = self._waited(gone, ends=ends)
                continue
            if not piece:
                raise self._died()
            body = assembly.add(piece)
            if body is not None:
                return body

    def _waited(self, gone: bool, *, ends: float) -> bool:
        """After a wait in vain: whether the process has ended by now; what it said before is still to be read."""
        if gone:
            raise self._died() from None
        if self.exited():
            return True
        left = ends - time.monotonic()
        if left <= 0:
            self.kill()
            self.close(grace=0)
            raise ProcessOverran from None
        self._wait_at_most(left)
        return False

    def _wait_at_most(self, seconds: float) -> None:
        """
        Have the next send or receive end after so long, or sooner to look at the process.

        The kernel counts the time, so that to send and to receive is one call each: after every call a thread waits
        for its turn among the others, and a call for each look beforehand made a batch wait for three turns more.
        """
        wanted = min(max(seconds, 0.001), _LOOK)
        if wanted != self._patience:
            self._patience = wanted
            limit = struct.pack("ll", 0, int(1e6 * wanted))
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                self._connection.setsockopt(socket.SOL_SOCKET, option, limit)

    def _died(self) -> ProcessDied:
        """What became of the process, once it is gone with all that it started."""
        ends = time.monotonic() + _GRACE
        while not self.exited() and time.monotonic() < ends:
            time.sleep(_PAUSE)
        hung_up = not self.exited()
        self.close(grace=0)
        code = self._process.returncode
        if hung_up:
            return ProcessDied("hung up")
        if code >= 0:
            return ProcessDied(f"ended with exit status {code}")
        name = signal.Signals(-code).name
        hint = ", as the kernel does when memory runs out" if name == "SIGKILL" else ""
        return ProcessDied(f"was ended by {name}{hint}")


def _growth_limit(load: Load, max_growth: int | None) -> int | None:
    """Bytes that a child may grow by: most of what its stage allows it, and never more than the worker does."""
    own = load.runtime.memory_mb
    limits = [limit for limit in (max_growth, None if own is None else int(own * MEGABYTE * _OWN_SHARE)) if limit]
    return min(limits, default=None)


class ChildRunner:
    """Calls an inferrer in a child process, which is started when it is first needed and again after it was lost."""

    def __init__(
        self,
        load: Load,
        *,
        log: Path | None = None,
        load_limit: timedelta = timedelta(minutes=5),
        max_growth: int | None = None,
    ) -> None:
        self._load = load
        self._log = log
        self._load_limit = load_limit
        self._growth = Growth(_growth_limit(load, max_growth))
        self._process: HostProcess | None = None
        #: Processes started so far.
        self.starts = 0

    @property
    def pid(self) -> int | None:
        """The process id of the child that runs now."""
        return self._process.pid if self._process else None

    def run(self, columns: Mapping[str, list[bytes]], *, prior: list[bytes]) -> Reply:
        """The outcomes of these records, within the stage's time limit; a child that was lost is told as trouble."""
        reply = self._called(columns, prior=prior)
        if len(prior) > 1 or not self._growth.calls or not isinstance(reply, Trouble):
            return reply
        if reply.code is not FailureCode.OUT_OF_MEMORY:
            return reply
        # Earlier calls may have filled the memory: a record alone is blamed only for what it does to a new process.
        self.close()
        return self._called(columns, prior=prior)

    def _called(self, columns: Mapping[str, list[bytes]], *, prior: list[bytes]) -> Reply:
        """One call, of the process at hand or a new one."""
        if self._process is not None and (self._process.exited() or self._has_grown(self._process)):
            # It ended while nothing was asked of it, of which these records have no part, or it holds too much.
            self.close()
        if self._process is None:
            problem = self._start()
            if problem is not None:
                return problem
        limit = self._load.runtime.timeout
        answered = self._ask(Call(columns=columns, prior=prior), within=limit)
        if isinstance(answered, Loaded):
            return Unusable(reason=f"The process of {self._load.runtime.infer} answered a call as if it were loading.")
        if isinstance(answered, Done) and self._process is not None:
            self._growth.called(self._process.pid)
        return answered

    def _has_grown(self, process: HostProcess) -> bool:
        """Whether the process holds so much more memory than at its start that another one takes its place."""
        grown = self._growth.grown(process.pid)
        if grown:
            _log.info("inferrer_recycled", inferrer=self._load.runtime.infer, grown_bytes=grown)
        return bool(grown)

    def tidy(self, path: Path) -> None:
        """Remove *path*, which was uploaded, if it is one of the child's temporary files."""
        if self._process is not None and path.is_relative_to(self._process.scratch):
            path.unlink(missing_ok=True)

    def kill(self) -> None:
        """End the call that is under way."""
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """End the child."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _start(self) -> Unusable | None:
        """Start a child and have it load; why it cannot be used, if so."""
        infer = self._load.runtime.infer
        try:
            self._process = HostProcess(project=Path(self._load.project), log=self._log)
        except OSError as error:
            return Unusable(reason=f"No process can be started for {infer}: {error}")
        self.starts += 1
        self._growth.begin()
        answered = self._ask(self._load, within=self._load_limit)
        if isinstance(answered, Loaded):
            return None
        reason = answered.message if isinstance(answered, Trouble) else None
        if isinstance(answered, Unusable):
            reason = answered.reason
        self.close()
        return Unusable(reason=reason or f"The process of {infer} answered before it had loaded.")

    def _ask(self, asked: Load | Call, *, within: timedelta) -> Reply | Loaded:
        """The answer; what ends the process is an answer too."""
        if self._process is None:
            raise AssertionError("a child is asked after it was started")
        doing = "loading" if isinstance(asked, Load) else "inferring"
        try:
            return decode_answered(self._process.ask(asked, within=within))
        except ProcessOverran:
            told = f"{self._load.runtime.infer} was still {doing} after {within.total_seconds():g} s, the limit."
            code = FailureCode.STAGE_TIMEOUT
        except ProcessDied as died:
            told = f"The process of {self._load.runtime.infer} {died} while {doing}."
            code = FailureCode.WORKER_LOST
        self._process = None
        return Trouble(code=code, message=told)
