"""Large objects in bounded memory, and a server that is killed while it takes one in."""

import contextlib
import hashlib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.artifacts.stores import s3_at
from tools.services import ObjectStore

pytestmark = pytest.mark.slow

MEGABYTE = 1 << 20
#: Bytes of a file that goes up in parts.
LARGE = 80 * MEGABYTE


@pytest.fixture
def store(tmp_path: Path, require_service: Callable[[str], str], s3_keys: None) -> Iterator[ObjectStore]:
    """An object store of the test's own, which it may kill."""
    require_service("s3")
    (tmp_path / "store").mkdir()
    made = ObjectStore(tmp_path / "store")
    made.start()
    yield made
    made.kill()


class Relay:
    """Passes connections on to a server, and calls *when* once so many bytes went there."""

    def __init__(self, port: int, *, after: int, when: Callable[[], None]) -> None:
        self._port, self._left, self._when = port, after, when
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                near.close()
                continue
            for one, other, counts in ((near, far, True), (far, near, False)):
                threading.Thread(target=self._pass, args=(one, other, counts), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket, counts: bool) -> None:
        try:
            while data := one.recv(65536):
                other.sendall(data)
                if counts:
                    self._count(len(data))
        except OSError:
            pass
        finally:
            for end in (one, other):
                # Closing alone would not reach a peer as long as the other thread waits for it.
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def _count(self, size: int) -> None:
        with self._lock:
            before, self._left = self._left, self._left - size
        if before > 0 >= self._left:
            self._when()


def test_a_server_that_is_killed_in_mid_upload_loses_nothing(store: ObjectStore, tmp_path: Path) -> None:
    """It is started again: the upload begins anew by itself, and nobody ever sees half a file."""
    # given a server that is killed when half of the file is there, and started again
    seen: list[bool] = []
    direct = s3_at(store.url, copies=tmp_path / "reader")
    data = bytes(bytearray(range(256))) * (24 * MEGABYTE // 256)
    sha256 = hashlib.sha256(data).hexdigest()

    def restart() -> None:
        store.kill()
        store.start()
        seen.append(direct.has(sha256))

    relay = Relay(store.port, after=12 * MEGABYTE, when=restart)
    writer = s3_at(f"s3://{store.BUCKET}?endpoint_url=http://127.0.0.1:{relay.port}", copies=tmp_path / "writer")

    # when
    assert writer.put(data) == sha256
    relay.close()

    # then it was not there in between, and is there whole now
    assert seen == [False]
    assert direct.path(sha256).read_bytes() == data
    assert [one.size for one in direct.stored()] == [len(data)]


def test_a_download_that_is_cut_is_begun_again(store: ObjectStore, tmp_path: Path) -> None:
    """The server dies while a file comes down: the reader waits for it, and reads the whole file."""
    data = bytes(bytearray(range(256))) * (24 * MEGABYTE // 256)
    sha256 = s3_at(store.url, copies=tmp_path / "writer").put(data)
    began: list[int] = []

    def restart() -> None:
        began.append(1)
        store.kill()
        store.start()

    # given a relay that counts what is asked: the request itself is what sets it off, in the middle of the answer
    reader = s3_at(store.url, copies=tmp_path / "reader")
    relay = Relay(store.port, after=1, when=lambda: threading.Timer(0.05, restart).start())
    far = s3_at(f"s3://{store.BUCKET}?endpoint_url=http://127.0.0.1:{relay.port}", copies=tmp_path / "far")

    assert far.path(sha256).read_bytes() == data
    assert reader.path(sha256).read_bytes() == data
    relay.close()


#: Puts a file, fetches it into another folder, and says by how many bytes its memory grew at most meanwhile.
_CHILD = """
import sys
from pathlib import Path
from tests.artifacts.stores import s3_at

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))

url, file, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
up, down = s3_at(url, copies=folder / "up"), s3_at(url, copies=folder / "down")
down.path(up.put(b"loads what is loaded late"))
before = peak()
sha256 = up.put_file(file)
down.path(sha256)
down.verify(sha256)
print(sha256, peak() - before)
"""


def test_a_large_file_goes_up_and_down_in_bounded_memory(s3_url: str, tmp_path: Path, repository: Path) -> None:
    """A file of many parts goes up and comes back, and most of it is never in memory."""
    # given
    file = tmp_path / "large"
    digest = hashlib.sha256()
    with file.open("wb") as written:
        for at in range(LARGE // MEGABYTE):
            part = hashlib.sha256(bytes([at])).digest() * (MEGABYTE // 32)
            written.write(part)
            digest.update(part)

    # when
    words = [sys.executable, "-c", _CHILD, s3_url, str(file), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=repository, timeout=110)

    # then it came back whole, and less than the file was ever in memory: two parts, and what signs and sends them
    assert done.returncode == 0, done.stderr
    sha256, grown = done.stdout.split()
    assert sha256 == digest.hexdigest()
    assert int(grown) < LARGE * 3 // 4, grown
