"""Looks at a project's bus from time to time, so that whoever asks why nothing moves is told at once."""

import threading
from datetime import timedelta

import structlog

from limner.bus.base import Bus

_log = structlog.get_logger(__name__)

_EVERY = timedelta(seconds=5)


class BusWatch:
    """Keeps in mind what keeps the messages of one project from moving; a thread runs it."""

    def __init__(self, bus: Bus, *, project: str, stopping: threading.Event) -> None:
        self._bus = bus
        self._project = project
        self._stopping = stopping
        self._trouble: str | None = None

    @property
    def trouble(self) -> str | None:
        """What keeps messages from moving, as a sentence, when it was last looked; None where nothing does."""
        return self._trouble

    def run(self) -> None:
        """Look again and again, until the host stops; a look sends a message, which only a shared bus needs."""
        while not self._stopping.is_set():
            found = self._bus.trouble()
            if found != self._trouble:
                event = "bus_trouble" if found else "bus_trouble_over"
                _log.warning(event, project=self._project, reason=found or self._trouble)
                self._trouble = found
            self._stopping.wait(_EVERY.total_seconds())
