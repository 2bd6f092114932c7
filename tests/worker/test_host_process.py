"""The child process by itself, as its parent's line sees it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from limner.worker.calls import Describe
from limner.worker.frames import frame


def test_a_parent_that_hangs_up_is_no_error(tmp_path: Path) -> None:
    """A process whose parent stopped listening, as after Ctrl-C, ends well and says nothing."""
    # given
    (tmp_path / "work.py").write_text("def double(n: int) -> dict:\n    return {'value': 2 * n}\n")
    ours, theirs = socket.socketpair()
    asked = Describe(infer="work:double", params={}, project=str(tmp_path), allow_hosts=())

    # when
    ours.sendall(frame(asked))
    # Both of the ways in which it can hear of it: there is nothing more to read, and nobody to tell.
    ours.close()
    with theirs:
        words = [sys.executable, "-P", "-m", "limner.worker.host_process", str(theirs.fileno()), str(os.getpid())]
        ended = subprocess.run(
            words, capture_output=True, cwd=tmp_path, pass_fds=[theirs.fileno()], timeout=30, check=False
        )

    # then
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
