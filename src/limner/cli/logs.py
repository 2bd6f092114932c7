"""Log lines of a command: all of them in a file as JSON, and warnings to standard error, each once."""

import os
import threading
import time
from pathlib import Path

import structlog
from structlog.typing import EventDict

from limner.cli.output import warn

#: Facts that differ from one line to the next although they say the same.
_FLEETING = {"timestamp", "level", "event", "task", "attempt", "exception"}
#: Seconds after which the file is opened anew: somebody may have moved it away.
_HELD = 1.0
_GRAVE = ("warning", "error", "critical")


def configure(file: Path) -> None:
    """Send log lines to the end of *file*."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _Warnings(),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=_Lines(file),
        cache_logger_on_first_use=False,
    )


class _Warnings:
    """Shows a warning on standard error the first time that it comes."""

    def __init__(self) -> None:
        self._shown: set[str] = set()

    def __call__(self, logger: object, name: str, event: EventDict) -> EventDict:
        """Pass every line on."""
        if event.get("level") in _GRAVE:
            facts = ", ".join(f"{key} {value}" for key, value in event.items() if key not in _FLEETING)
            told = f"Warning: {str(event.get('event')).replace('_', ' ')}{f' ({facts})' if facts else ''}"
            if told not in self._shown:
                self._shown.add(told)
                warn(told)
        return event


class _Lines:
    """Makes loggers that append to a file, which is made with its first line."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._held: int | None = None
        self._opened = 0.0

    def __call__(self, *_: object) -> "_Lines":
        """The one logger."""
        return self

    def msg(self, line: str) -> None:
        """Append *line*; a log that cannot be written stops no work."""
        try:
            with self._lock:
                os.write(self._open(), f"{line}\n".encode(errors="backslashreplace"))
        except OSError:
            return

    def _open(self) -> int:
        """The file; a server that writes a line for each request does not open it for each."""
        now = time.monotonic()
        if self._held is not None and now - self._opened < _HELD:
            return self._held
        held, self._held = self._held, None
        if held is not None:
            os.close(held)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._held = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        self._opened = now
        return self._held

    log = debug = info = warning = warn = error = exception = critical = fatal = failure = err = msg
