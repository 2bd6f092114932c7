"""Tells other programs what changes in one project: its events, published beside its engine."""

import threading
from datetime import timedelta
from typing import TYPE_CHECKING

from limner.events.cloud_events import Origin
from limner.events.connect import connect_events
from limner.events.follower import Announcer

if TYPE_CHECKING:
    from limner.app.app import App
    from limner.app.hosting import Host


class Announcing:
    """A thread that publishes the events of a project at work, from now until it is stopped, while its host leads."""

    def __init__(self, host: "Host") -> None:
        self._stopping = threading.Event()
        announcer = Announcer(host.store, connect_events(host.app.settings.events), origin=origin_of(host.app))
        self._thread = threading.Thread(
            target=lambda: announcer.run(stopping=self._stopping, leads=lambda: host.leading),
            name=f"events {host.name}",
            daemon=True,
        )
        self._thread.start()

    def stop(self, grace: timedelta) -> None:
        """Publish no more; what is owed is published after the next start."""
        self._stopping.set()
        self._thread.join(grace.total_seconds())


def origin_of(app: "App") -> Origin:
    """Whose events those of a project are."""
    return Origin(project=app.project.name, public_url=app.settings.public_url)


def announce(app: "App") -> int:
    """
    Publish what is owed, unless another process does; how many events that were.

    Raises:
        EventsUnavailable: the broker does not take them.
    """
    if not app.settings.events or not app.lock.take():
        return 0
    try:
        publisher = connect_events(app.settings.events)
        try:
            return Announcer(app.store, publisher, origin=origin_of(app)).catch_up()
        finally:
            publisher.close()
    finally:
        app.lock.release()
