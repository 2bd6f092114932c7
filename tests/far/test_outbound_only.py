"""A worker that can reach nothing but a proxy, in a network of its own, does its work through it (row A18)."""

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Struct

from limner.testing.picture_server import PictureServer
from tests.far.proxy import Proxy
from tests.far.rig import Server
from tests.far.workers import WorkerProcess
from tests.waiting import until

PIPELINE = """
from limner import Artifact, Number, Pipeline, Stage, file

pipeline = Pipeline("far", collection="things", standing=False, stages=[
    Stage("weigh", infer="inferrers:Weigh", reads={"picture": file("url")}, batch=2,
          outputs={"size": Number(), "copy": Artifact()}),
])
"""
INFERRERS = """
import time
from pathlib import Path


class Weigh:
    version = "1"

    def infer(self, picture: list[Path]) -> list[dict]:
        Path("began").touch()
        while Path("hold").exists():
            time.sleep(0.01)
        return [{"size": one.stat().st_size, "copy": one.read_bytes()[::-1]} for one in picture]
"""


class Site(Struct, frozen=True, kw_only=True):
    """A network of its own: one link, and nothing else."""

    name: str
    #: Address of this machine at the other end of the link.
    outside: str


@pytest.fixture
def site() -> Iterator[Site]:
    """A network namespace that is linked to this machine, and to nothing beyond it."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("a network of its own needs root and the command ip")
    mark = secrets.token_hex(3)
    number = secrets.randbelow(250)
    name, here, there = f"limner-{mark}", f"lo{mark}", f"li{mark}"
    outside, inside = f"10.213.{number}.1", f"10.213.{number}.2"

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    try:
        ip("netns", "add", name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network of its own can be made here: {error.stderr.decode().strip()}")
    try:
        ip("link", "add", here, "type", "veth", "peer", "name", there)
        ip("link", "set", there, "netns", name)
        ip("addr", "add", f"{outside}/30", "dev", here)
        ip("link", "set", here, "up")
        ip("-n", name, "addr", "add", f"{inside}/30", "dev", there)
        ip("-n", name, "link", "set", there, "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield Site(name=name, outside=outside)
    finally:
        subprocess.run(["ip", "link", "del", here], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@pytest.mark.slow
def test_a18_all_goes_through_the_proxy(site: Site, tmp_path: Path) -> None:
    """Tasks, pictures, uploads and answers: the job is done, nothing listens, and only the proxy was spoken to."""
    pictures = PictureServer({f"{n}.jpg": b"p" * (n + 1) for n in range(6)})
    with (
        pictures,
        Server(tmp_path / "project", pipeline=PIPELINE, inferrers=INFERRERS) as server,
        Proxy(site.outside) as proxy,
    ):
        job = server.submit([{"url": pictures.url(f"{n}.jpg")} for n in range(6)])
        (tmp_path / "w").mkdir()
        (tmp_path / "w" / "hold").touch()
        proxied = {"HTTP_PROXY": proxy.url, "http_proxy": proxy.url}
        with WorkerProcess(
            tmp_path / "w",
            server.url,
            inferrers=INFERRERS,
            environment=proxied,
            prefix=("ip", "netns", "exec", site.name),
        ) as worker:
            until(lambda: (tmp_path / "w" / "began").exists() or worker.process.poll() is not None)
            connections = _connections(worker.process.pid)
            (tmp_path / "w" / "hold").unlink()
            assert server.wait(job) == "done", worker.said()
            connections += _connections(worker.process.pid)

        assert {state for _, state in connections} & {"0A"} == set(), "nothing listens in its whole network"
        assert {remote for remote, _ in connections} == {site.outside}
        assert proxy.requests[f"127.0.0.1:{server.port}"] > 5
        assert sum(proxy.requests[host] for host in proxy.requests if str(server.port) not in host) == 6
        values = server.values(job, stage="weigh")
        assert [values[f"r{n}"]["size"] for n in range(6)] == [1, 2, 3, 4, 5, 6]
        sha256 = values["r5"]["copy"]["sha256"]
        assert server.get(f"artifacts/{sha256}").content == b"p" * 6


@pytest.mark.slow
def test_without_the_proxy_it_reaches_nothing(site: Site, tmp_path: Path) -> None:
    """The network is really closed: the same worker without the proxy says that it waits for the server."""
    with (
        Server(tmp_path / "project", pipeline=PIPELINE, inferrers=INFERRERS) as server,
        WorkerProcess(
            tmp_path / "w", server.url, inferrers=INFERRERS, prefix=("ip", "netns", "exec", site.name)
        ) as worker,
    ):
        until(lambda: "Waiting for the server" in worker.said())


def _connections(pid: int) -> list[tuple[str, str]]:
    """Remote address and state of every TCP socket in the network of a process."""
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return [(socket.inet_ntoa(bytes.fromhex(row[2].partition(":")[0])[::-1]), row[3]) for row in rows]
