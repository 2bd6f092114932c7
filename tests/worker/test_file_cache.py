"""Copies of fetched files are bounded, kept as the policy says, and cleaned up after the dead."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from limner.clock import MovedClock
from limner.domain.failures import FailedRecord
from limner.domain.reads import FileRead
from limner.domain.tasks import FileRef
from limner.errors import ConfigurationError
from limner.testing.picture_server import PictureServer, Reply
from limner.worker.cache import keep_for
from limner.worker.fetch import Fetcher
from tests.worker.fetching import PICTURE, fetch_all, files_in

#: Fetches a picture, says so, and waits for ever.
_OTHER = """
import sys, time
from pathlib import Path
from limner.addresses import AddressGuard
from limner.clock import SystemClock
from limner.domain.reads import FileRead
from limner.domain.tasks import FileRef
from limner.worker.cache import FileCache
from limner.worker.fetch import Fetcher

folder, host, url = sys.argv[1:]
clock = SystemClock()
fetcher = Fetcher(FileCache(Path(folder), clock=clock), guard=AddressGuard(allow_hosts=[host]), clock=clock)
print(fetcher.fetch(FileRef(url=url), FileRead(), hold=fetcher.hold()).path, flush=True)
time.sleep(60)
"""


def test_the_cache_is_bounded_and_drops_the_longest_unused(
    make: Callable[..., Fetcher], server: PictureServer, clock: MovedClock, tmp_path: Path
) -> None:
    """Beyond the bound the copy that was unused for longest goes, but never one in use."""
    # given room for five pictures, and a hold on the first
    fetcher = make(max_bytes=5 * len(PICTURE) + 100)
    hold = fetcher.hold()
    held = fetcher.fetch(FileRef(url=server.url("0.jpg")), FileRead(), hold=hold)

    # when five more come, and the second is used again before the last one
    for number in (1, 2, 3, 4, 1, 5):
        clock.move(timedelta(seconds=1))
        fetch_all(fetcher, server, range(number, number + 1))

    # then the held one and the one used lately are there, and the oldest is not
    assert Path(held.path).exists()
    fetch_all(fetcher, server, range(2))
    assert (server.requests["0.jpg"], server.requests["1.jpg"]) == (1, 1)
    fetch_all(fetcher, server, range(2, 3))
    assert server.requests["2.jpg"] == 2
    hold.close()
    assert sum(path.stat().st_size for path in tmp_path.rglob("bodies/*")) <= 5 * len(PICTURE) + 100


def test_done_leaves_nothing(make: Callable[..., Fetcher], server: PictureServer, tmp_path: Path) -> None:
    """With the policy `done` the cache is empty when the process ends, whether pictures came or failed."""
    server.plan("3.jpg", Reply(status=404))
    fetcher = make()
    with pytest.raises(FailedRecord):
        fetch_all(fetcher, server, range(5))

    assert files_in(tmp_path / "cache")
    fetcher.close()

    assert list((tmp_path / "cache" / "live").iterdir()) == []
    assert files_in(tmp_path / "cache") == []


def test_always_serves_the_next_process(make: Callable[..., Fetcher], server: PictureServer, tmp_path: Path) -> None:
    """With the policy `always` the next run finds the pictures of the one before."""
    first = make(keep="always")
    fetch_all(first, server, range(3))
    first.close()

    fetch_all(make(keep="always"), server, range(3))

    assert server.total() == 3


def test_days_forget_what_was_not_used(make: Callable[..., Fetcher], server: PictureServer, clock: MovedClock) -> None:
    """A copy lives for so many days after its last use."""
    fetcher = make(keep="2")
    fetch_all(fetcher, server, range(2))
    clock.move(timedelta(days=1.5))
    fetch_all(fetcher, server, range(1))
    clock.move(timedelta(days=1))

    fetch_all(fetcher, server, range(2))

    assert (server.requests["0.jpg"], server.requests["1.jpg"]) == (1, 2)


@pytest.mark.parametrize("policy", ["never", "-1", -0.5, "nan"])
def test_a_wrong_policy_is_refused(policy: str | float) -> None:
    """A policy is done, always, or a number of days."""
    with pytest.raises(ConfigurationError, match="setting keep"):
        keep_for(policy)


def test_what_a_killed_process_left_is_removed(
    make: Callable[..., Fetcher], server: PictureServer, tmp_path: Path
) -> None:
    """The next start cleans up after a killed process, and leaves a living one alone."""
    command = [sys.executable, "-c", _OTHER, str(tmp_path / "cache"), server.host, server.url("1.jpg")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        held = Path(other.stdout.readline().strip())

        # when a process starts and ends beside the living one, then its file stays
        make().close()
        assert held.exists()

        # when it is killed, then the next start removes what it left
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
    make().close()

    assert list((tmp_path / "cache" / "live").iterdir()) == []
    assert files_in(tmp_path / "cache") == []


def test_many_threads_share_the_cache(make: Callable[..., Fetcher], server: PictureServer) -> None:
    """Eight threads that ask for twenty pictures in other orders make twenty requests."""
    fetcher = make()
    start = threading.Barrier(8)
    digests: list[set[str]] = []

    def ask(shift: int) -> None:
        start.wait()
        with fetcher.hold() as hold:
            refs = [FileRef(url=server.url(f"{(number + shift) % 20}.jpg")) for number in range(20)]
            found = [future.result() for future in [fetcher.begin(ref, FileRead(), hold=hold) for ref in refs]]
            digests.append({file.sha256 for file in found if Path(file.path).stat().st_size == len(PICTURE) + 1})

    threads = [threading.Thread(target=ask, args=(3 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(digests) == 8
    assert all(len(found) == 20 for found in digests)
    assert server.total() == 20
