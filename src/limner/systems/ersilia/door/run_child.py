"""A precalculation in a process of its own beside a server: told what to do by a line, tells how far it is by lines."""

import os
import signal
import sys
import threading

import msgspec

from limner.app.app import App
from limner.app.running import Interrupted, Progress
from limner.errors import LimnerError
from limner.systems.ersilia.door.run_lines import Tells, Told
from limner.systems.ersilia.precalc.run import PUBLISHING, Precalc


def main() -> int:
    """Do what the first line of the input says; end with the input, since whoever holds its other end is gone then."""
    told = msgspec.json.decode(sys.stdin.buffer.readline(), type=Told, dec_hook=_path)
    threading.Thread(target=_heed, name="input", daemon=True).start()
    last: list[tuple[str, int, int]] = []

    def progress(now: Progress) -> None:
        if now.doing == PUBLISHING:
            # Whoever asks is told of the job, whose records have ended by then.
            return
        counts = now.counts
        seen = (now.job, counts.records, counts.records - counts.open)
        if last != [seen]:
            last[:] = [seen]
            _tell(Tells(job=now.job, records=seen[1], ended=seen[2]))

    try:
        with App(told.project) as app:
            _tell(Tells(outcome=Precalc(app, progress=progress).run(told.ask)))
    except (Interrupted, KeyboardInterrupt):
        return 130
    except LimnerError as error:
        _tell(Tells(error=str(error)))
    return 0


def _heed() -> None:
    while sys.stdin.buffer.read(1024):
        pass
    os.kill(os.getpid(), signal.SIGINT)


def _tell(what: Tells) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


def _path(kind: type, value: object) -> object:
    """A value of a type that JSON does not have."""
    return kind(value)


if __name__ == "__main__":
    sys.exit(main())
