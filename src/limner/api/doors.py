"""The online doors of the projects of one server, made when they are first asked for."""

import threading
from datetime import timedelta

from limner.app.hosting import Host
from limner.app.online import Online


class Doors:
    """One online door for each project."""

    def __init__(self, *, window: timedelta) -> None:
        self._window = window
        self._doors: dict[str, Online] = {}
        self._lock = threading.Lock()

    def of(self, host: Host) -> Online:
        """The door of a project."""
        found = self._doors.get(host.name)
        if found is not None:
            return found
        with self._lock:
            if host.name not in self._doors:
                self._doors[host.name] = Online(host.app, window=self._window)
            return self._doors[host.name]

    def close(self, *, grace: timedelta = timedelta(seconds=0.5)) -> None:
        """Let go of every inferrer; by now nobody waits for what is still under way."""
        with self._lock:
            doors, self._doors = list(self._doors.values()), {}
        for door in doors:
            door.close(grace=grace)
