"""An object store for tests as clusters have it: Ceph's gateway over one daemon of each kind, in memory."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from tools.services.base import Service, Unavailable, end, free_port, greets, wait_for
from tools.services.object_store import ObjectStore

#: Set to anything, tests find Ceph in place of rclone.
CHOSEN = "LIMNER_TEST_CEPH"

_CONFIGURATION = """
[global]
fsid = {cluster}
mon host = [v1:127.0.0.1:{monitor}]
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd crush chooseleaf type = 0
osd pool default pg num = 1
mon allow pool size one = true
run dir = {folder}/run
admin socket = {folder}/run/$name.asok
log file = {folder}/$name.log
keyring = {folder}/keyring
[mon.a]
mon data = {folder}/mon
[mgr.x]
mgr data = {folder}/mgr
[osd.0]
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 2147483648
[client.rgw.a]
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{gateway} tcp_nodelay=1
"""


class Ceph(Service):
    """A gateway that speaks S3, with the bucket and the key of :class:`ObjectStore`; what is put goes with it."""

    name = "s3"
    packages = ("radosgw", "ceph-mon", "ceph-mgr", "ceph-osd", "ceph-common")

    def installed(self) -> bool:
        """Whether all of its daemons are here."""
        return all(shutil.which(name) for name in ("radosgw", "ceph-mon", "ceph-mgr", "ceph-osd", "ceph"))

    def running(self, folder: Path) -> Iterator[str]:
        """Start it in *folder*, give its address, and stop it."""
        cluster = _Cluster(folder)
        try:
            cluster.start()
            yield f"s3://{ObjectStore.BUCKET}?endpoint_url=http://127.0.0.1:{cluster.gateway}"
        finally:
            cluster.kill()


class _Cluster:
    """Monitor, manager, one disk in memory, and the gateway, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cluster = str(uuid4())
        self._monitor, self.gateway = free_port(), free_port()
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start it, and make the user and the bucket."""
        for name in ("mon", "mgr", "osd", "rgw", "run"):
            (self._folder / name).mkdir()
        (self._folder / "keyring").touch()
        text = _CONFIGURATION.format(
            cluster=self._cluster, monitor=self._monitor, gateway=self.gateway, folder=self._folder
        )
        (self._folder / "ceph.conf").write_text(text)
        self._monitored()
        self._begin("ceph-mgr", "-i", "x")
        disk = str(uuid4())
        self._run("ceph", "osd", "new", disk, "0")
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        self._begin("ceph-osd", "-i", "0")
        gateway = self._begin("radosgw", "-n", "client.rgw.a")
        wait_for(lambda: greets(self.gateway, b"HEAD / HTTP/1.0\r\n\r\n"), process=gateway, told=self._told)
        keys = ("--access-key", ObjectStore.KEY, "--secret-key", ObjectStore.SECRET)
        self._run("radosgw-admin", "user", "create", "--uid", "limner", "--display-name", "limner", *keys)
        self._make_bucket()

    def kill(self) -> None:
        """End every daemon."""
        for daemon in reversed(self._daemons):
            end(daemon)

    def _monitored(self) -> None:
        """Start the monitor, which all others ask."""
        monitors = str(self._folder / "monitors")
        address = f"[v1:127.0.0.1:{self._monitor}]"
        self._run("monmaptool", "--create", "--fsid", self._cluster, "--addv", "a", address, monitors)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monitors)
        monitor = self._begin("ceph-mon", "-i", "a")
        wait_for(lambda: greets(self._monitor, b""), process=monitor, told=self._told)

    def _make_bucket(self) -> None:
        """Make the bucket; the client is an extra of Limner, so it is not here where nobody asks for this server."""
        from s3fs import S3FileSystem

        store = S3FileSystem(
            key=ObjectStore.KEY,
            secret=ObjectStore.SECRET,
            endpoint_url=f"http://127.0.0.1:{self.gateway}",
            config_kwargs={"s3": {"addressing_style": "path"}},
        )
        store.call_s3("create_bucket", Bucket=ObjectStore.BUCKET)

    def _begin(self, program: str, *words: str) -> "subprocess.Popen[bytes]":
        with (self._folder / "said").open("ab") as said:
            daemon = subprocess.Popen(
                [program, "-c", str(self._folder / "ceph.conf"), "-f", *words],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        self._daemons.append(daemon)
        return daemon

    def _run(self, program: str, *words: str) -> None:
        environment = {**os.environ, "CEPH_CONF": str(self._folder / "ceph.conf")}
        done = subprocess.run([program, *words], env=environment, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise Unavailable(f"{program} {words[0]} failed: {done.stderr.strip()[-500:]}")

    def _told(self) -> str:
        return (self._folder / "said").read_text(errors="replace")[-1000:]
