"""Precalculations that a server was asked for: each in a process of its own, gone on with after a restart."""

import subprocess
import sys
import threading
from pathlib import Path
from secrets import token_hex
from typing import Literal

import msgspec
import structlog
from msgspec import Struct, structs

from limner.app.hosting import Host
from limner.app.projects import Projects
from limner.errors import LimnerError, NotFound
from limner.ids import new_id
from limner.systems.ersilia.door.on_request import served_release
from limner.systems.ersilia.door.run_lines import Tells, Told
from limner.systems.ersilia.precalc.nouns import Ask, Outcome

RUNNING = "running"
#: Seconds that a process is given to end in good order.
_GRACE = 10.0
#: Characters of what a process said that are told where it broke.
_SAID = 500
_log = structlog.get_logger(__name__)

State = Literal["running", "done", "done_with_failures", "stopped", "failed"]


class Run(Struct, frozen=True, kw_only=True):
    """One precalculation that was asked for."""

    id: str
    ask: Ask
    state: State = "running"
    started: float
    #: The job of the engine that it is at; at the end the one that predicted.
    job: str | None = None
    records: int = 0
    ended: int = 0
    outcome: Outcome | None = None
    #: Why it could not be done.
    error: str | None = None


class Runs:
    """The precalculations of a server's projects."""

    def __init__(self, projects: Projects) -> None:
        self._projects = projects
        self._lock = threading.RLock()
        self._processes: dict[tuple[str, str], subprocess.Popen[bytes]] = {}
        self._threads: list[threading.Thread] = []
        self._stopping = False

    def start(self) -> None:
        """Go on with what an earlier process of this server was at."""
        for name in self._projects.names():
            host = self._projects.host(name)
            if host.leads:
                for run in self.listing(host):
                    if run.state == RUNNING:
                        self._begin(host, run)

    def stop(self) -> None:
        """Have every process end in good order; the next start goes on with them."""
        with self._lock:
            self._stopping = True
            processes = list(self._processes.values())
        for process in processes:
            if process.stdin is not None:
                process.stdin.close()
        for process in processes:
            try:
                process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
        for thread in self._threads:
            thread.join()

    def ask(self, host: Host, ask: Ask) -> Run:
        """Begin a precalculation; it is written down when this returns."""
        now = host.clock.now()
        run = Run(id=new_id("precalc", now=now), ask=ask, started=now)
        self._keep(host, run)
        self._begin(host, run)
        return run

    def get(self, host: Host, identity: str) -> Run:
        """
        Where a precalculation stands.

        Raises:
            NotFound: there is none.
        """
        found = next((run for run in self.listing(host) if run.id == identity), None)
        if found is None:
            raise NotFound(f"There is no precalculation {identity}.")
        return found

    def listing(self, host: Host) -> list[Run]:
        """Every precalculation that this server was asked for, the newest first."""
        folder = _folder(host)
        files = sorted(folder.glob("precalc-*.json"), reverse=True) if folder.is_dir() else []
        return [msgspec.json.decode(file.read_bytes(), type=Run) for file in files]

    def _begin(self, host: Host, run: Run) -> None:
        with self._lock:
            if self._stopping:
                return
            thread = threading.Thread(target=self._work, args=(host, run), name=run.id, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self, host: Host, run: Run) -> None:
        try:
            # This server's workers are to know the model: a package that was never used here is checked first.
            served_release(host, run.ask.model)
            process = self._started(host, run)
        except LimnerError as error:
            self._keep(host, structs.replace(run, state="failed", error=str(error)))
            return
        if process is not None:
            self._follow(host, run, process)

    def _started(self, host: Host, run: Run) -> "subprocess.Popen[bytes] | None":
        """The process that does it; None where this server is stopping."""
        told = msgspec.json.encode(Told(project=host.app.project, ask=run.ask), enc_hook=str)
        with self._lock, _log_of(host).open("ab") as errors:
            if self._stopping:
                return None
            process = subprocess.Popen(
                [sys.executable, "-m", "limner.systems.ersilia.door.run_child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=host.app.project.folder,
                start_new_session=True,
            )
            assert process.stdin is not None, "it is a pipe"
            process.stdin.write(told + b"\n")
            process.stdin.flush()
            self._processes[host.name, run.id] = process
        _log.info("precalc_began", run=run.id, model=run.ask.model)
        return process

    def _follow(self, host: Host, run: Run, process: "subprocess.Popen[bytes]") -> None:
        """Write down what a process tells, until it ends."""
        assert process.stdout is not None, "it is a pipe"
        with process.stdout:
            for line in process.stdout:
                run = _after(run, msgspec.json.decode(line, type=Tells))
                self._keep(host, run)
        process.wait()
        with self._lock:
            self._processes.pop((host.name, run.id), None)
            stopping = self._stopping
            if process.stdin is not None and not process.stdin.closed:
                process.stdin.close()
        if run.state == RUNNING and not stopping:
            told = f"Its process ended with status {process.returncode}: {_last_words(_log_of(host))}"
            self._keep(host, structs.replace(run, state="failed", error=told))
        _log.info("precalc_ended", run=run.id, status=process.returncode)

    def _keep(self, host: Host, run: Run) -> None:
        """Write down where a run stands, whole or not at all."""
        folder = _folder(host)
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{token_hex(8)}"
        draft.write_bytes(msgspec.json.encode(run))
        draft.replace(folder / f"{run.id}.json")


def _after(run: Run, told: Tells) -> Run:
    if told.error is not None:
        return structs.replace(run, state="failed", error=told.error)
    if told.outcome is not None:
        state = msgspec.convert(told.outcome.state, State)
        return structs.replace(run, state=state, outcome=told.outcome, job=told.outcome.job)
    return structs.replace(run, job=told.job, records=told.records, ended=told.ended)


def _folder(host: Host) -> Path:
    return host.app.project.home / "precalc"


def _log_of(host: Host) -> Path:
    return host.app.project.home / "precalc.log"


def _last_words(log: Path) -> str:
    try:
        return log.read_text(encoding="utf-8", errors="replace")[-_SAID:].strip() or "it said nothing"
    except OSError:
        return "it said nothing"
