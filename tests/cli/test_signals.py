"""A signal stops a verb whatever its main thread does at that moment."""

import signal
import subprocess
import sys

import pytest

#: Looks at the event all the time, and so holds its lock half of the time.
_WAITS = """
import threading
from limner.cli.signals import heed_signals

stopping = threading.Event()
heed_signals(stopping)
print("ready", flush=True)
while not stopping.wait(0):
    pass
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT] * 3)
def test_a_signal_is_never_lost(number: signal.Signals) -> None:
    """A handler that waited for a lock which its own thread holds would stand still for ever."""
    # given
    with subprocess.Popen([sys.executable, "-c", _WAITS], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

        # when
        process.send_signal(number)

        # then
        try:
            assert process.wait(30) == 0
        finally:
            process.kill()
