"""Follows the journal and publishes what it tells: at least once, in order, from where it was after any stop."""

import threading
from collections.abc import Callable
from datetime import timedelta

import structlog

from limner.errors import LimnerError
from limner.events.base import Publisher
from limner.events.changes import events_of
from limner.events.cloud_events import Origin
from limner.store.journal import Entry
from limner.store.store import Store

#: The name under which the store keeps the number of the last entry that was published.
FOLLOWER = "events"
#: Entries, and records of one entry, that are looked at together.
_ENTRIES, _RECORDS = 200, 500
_IDLE = timedelta(seconds=0.2)
#: First and longest pause after an error.
_AGAIN = (timedelta(seconds=0.5), timedelta(seconds=30))
_log = structlog.get_logger(__name__)


class Announcer:
    """
    Publishes one project's journal.

    The number of an entry is kept once the broker has its events: whoever dies before publishes them again, with the
    same ids. The store is only read in short transactions and never while the broker is waited for, so no commit waits.
    """

    def __init__(self, store: Store, publisher: Publisher, *, origin: Origin) -> None:
        self._store = store
        self._publisher = publisher
        self._origin = origin

    def catch_up(self, *, stopping: Callable[[], bool] = lambda: False) -> int:
        """
        Publish everything since the last time; how many events that were.

        Raises:
            EventsUnavailable: the broker does not take them; what was published stays so, and the rest comes next time.
            StoreUnavailable: the journal cannot be read.
        """
        count = 0
        while not stopping():
            with self._store.reading() as tx:
                entries = tx.journal.read(after=tx.journal.taken(FOLLOWER), limit=_ENTRIES)
            if not entries:
                break
            for group in _grouped(entries):
                if stopping():
                    break
                count += self._publish(group)
        return count

    def run(self, *, stopping: threading.Event, leads: Callable[[], bool]) -> None:
        """Publish again and again while *leads*, until *stopping* is set; a broker that is away holds nothing up."""
        pause, longest = _AGAIN
        while not stopping.is_set():
            try:
                if leads():
                    self.catch_up(stopping=stopping.is_set)
                self._publisher.rest(_IDLE)
                pause = _AGAIN[0]
            except LimnerError as error:
                _log.warning("events_wait", project=self._origin.project, reason=str(error))
                stopping.wait(pause.total_seconds())
                pause = min(longest, 2 * pause)
            except Exception:  # noqa: BLE001  without this thread nobody would hear of anything, in silence
                _log.exception("events_broke", project=self._origin.project)
                stopping.wait(longest.total_seconds())
        self._publisher.close()

    def _publish(self, entries: list[Entry]) -> int:
        """Publish the events of some entries, then keep the number of the last."""
        count = 0
        for entry in entries:
            for start in range(0, max(1, len(entry.records)), _RECORDS):
                with self._store.reading() as tx:
                    keys = entry.records[start : start + _RECORDS]
                    messages = list(events_of(tx, entry, keys, origin=self._origin))
                self._publisher.publish(messages)
                count += len(messages)
        with self._store.transaction() as tx:
            tx.journal.take(FOLLOWER, entries[-1].number)
        return count


def _grouped(entries: list[Entry]) -> list[list[Entry]]:
    """Entries whose numbers are kept together: as many as name a few hundred records, at least one."""
    groups: list[list[Entry]] = []
    size = _RECORDS
    for entry in entries:
        if size >= _RECORDS:
            groups.append([])
            size = 0
        groups[-1].append(entry)
        size += len(entry.records)
    return groups
