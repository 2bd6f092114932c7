"""What a signal means to a verb that works until it is told to stop."""

import os
import signal
import threading


def heed_signals(stopping: threading.Event) -> None:
    """SIGTERM and Ctrl-C set *stopping*."""
    reading, writing = os.pipe()

    def listen() -> None:
        os.read(reading, 1)
        stopping.set()

    # Not set by the handler: it runs within whatever the main thread does, which may hold the event's own lock.
    threading.Thread(target=listen, name="signals", daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os.write(writing, b"."))
