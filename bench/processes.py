"""Real processes that the benchmarks start and stop: a Limner server, far workers, any other server."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Nothing that is waited for takes longer, in seconds.
_LONG = 600.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(kw_only=True)
class Process:
    """One that runs."""

    popen: "subprocess.Popen[str]"
    url: str = ""

    def cpu(self) -> float:
        """Seconds of processor that it used, its children left out."""
        fields = Path(f"/proc/{self.popen.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def peak_mb(self) -> int:
        """The most memory that it held, in megabytes, its children left out."""
        lines = Path(f"/proc/{self.popen.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM:"))

    def kill(self) -> None:
        """Kill it as a crash would; what it started notices by itself."""
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait()

    def stop(self) -> None:
        """End it in good order."""
        self.popen.terminate()
        try:
            self.popen.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()


def limner(folder: Path, *options: str) -> "subprocess.Popen[str]":
    """The command line of this environment, in *folder*; what it says of errors stands in ``said.log`` there."""
    command = [str(Path(sys.executable).with_name("limner")), "--project", str(folder), *options]
    with (folder / "said.log").open("a") as log:
        return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True)


@contextmanager
def serving(folder: Path, *options: str, port: int = 0) -> Iterator[Process]:
    """``limner serve`` over *folder*, on a free port unless one is named."""
    process = start_server(folder, *options, port=port)
    try:
        yield process
    finally:
        process.stop()


def start_server(folder: Path, *options: str, port: int = 0) -> Process:
    """``limner serve`` over *folder*; whoever calls stops it."""
    popen = limner(folder, "serve", "--port", str(port), "--json", *options)
    assert popen.stdout is not None
    line = popen.stdout.readline()
    if not line:
        raise RuntimeError(f"The server did not start: {(folder / 'said.log').read_text()}")
    return Process(popen=popen, url=json.loads(line)["url"])


def start_worker(folder: Path, url: str, *options: str) -> Process:
    """``limner worker --url`` from *folder*; whoever calls stops it."""
    return Process(popen=limner(folder, "worker", "--url", url, *options), url=url)


@contextmanager
def listening(command: Sequence[str], *, port: int, folder: Path, ready: str = "/") -> Iterator[Process]:
    """A server of another make, once it answers at *ready*."""
    with (folder / "peer.log").open("a") as log:
        popen = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, text=True, start_new_session=True)
    process = Process(popen=popen, url=f"http://127.0.0.1:{port}")
    try:
        until(lambda: _answers(process.url + ready), within=60)
        yield process
    finally:
        process.stop()
        # Some servers leave processes of their own behind.
        with suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGKILL)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def call(url: str, body: object | bytes | None = None, *, kind: str = "application/json") -> dict[str, Any]:
    """What a server answers to GET, or to POST where there is a body."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    asked = urllib.request.Request(url, data=data, headers={"Content-Type": kind} if data is not None else {})
    with urllib.request.urlopen(asked, timeout=_LONG) as answer:
        told: dict[str, Any] = json.load(answer)
    return told


def submit(url: str, pipeline: str, lines: Path) -> str:
    """Make a job of the JSON lines of a file; its id."""
    asked = f"{url}/api/v1/jobs?pipeline={pipeline}"
    return str(call(asked, lines.read_bytes(), kind="application/x-ndjson")["id"])


def finished(url: str, job: str, *, pause: float = 0.1) -> dict[str, Any]:
    """Wait until a job has ended; where it stands then."""
    while True:
        found = call(f"{url}/api/v1/jobs/{job}")
        if found["ended"] is not None:
            return found
        time.sleep(pause)


def until(true: Callable[[], object], *, within: float = _LONG, pause: float = 0.05) -> None:
    """Wait for what another process does."""
    ends = time.monotonic() + within
    while not true():
        if time.monotonic() > ends:
            raise TimeoutError("What was waited for did not happen.")
        time.sleep(pause)
