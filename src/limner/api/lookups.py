"""Single records asked for by many at once: whoever asks at the same moment is answered by one reading."""

import asyncio
import resource
import time

from fastapi.concurrency import run_in_threadpool

from limner.app.app import App
from limner.app.hosting import Host
from limner.app.lookups import LookUps
from limner.errors import NotFound

#: Records in one reading: the first of them waits for the last.
_MOST = 256
#: Seconds after which the disk was slow, and for how long the readings after that are done beside the event loop.
_SLOW, _REST = 0.01, 5.0
#: Whose readings from the disk are counted: this thread's, where the system tells.
_WHOSE = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)


class LookUpDesks:
    """The look-ups of each project, made when they are first asked for."""

    def __init__(self) -> None:
        self._made: dict[str, AskedTogether] = {}

    def of(self, host: Host) -> "AskedTogether":
        """Those of a project."""
        return self._made.get(host.name) or self._made.setdefault(host.name, AskedTogether(host.app))


class AskedTogether:
    """
    The single look-ups of one project, on the event loop.

    Requests that were read from their sockets in one turn of the loop are answered by one transaction; whoever asks
    alone waits for nobody.

    Where the store is a file of this machine the loop reads it itself: that takes a fraction of a millisecond, while
    a thread would have to be given its turn after each row, which takes the better part of one. A disk that is slow
    now is found out by the one reading that it holds up, and those of the next seconds are left to a thread; those of
    a database behind the network always are.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self.lookups = LookUps(app)
        self._waiting: list[tuple[tuple[str, str], asyncio.Future[bytes]]] = []
        self._reading: asyncio.Task[None] | None = None
        self._disk = DiskWatch()

    async def find(self, collection: str, identity: str) -> bytes:
        """
        The record as it stands, a moment after it was asked for, as JSON.

        Raises:
            NotFound: there is none.
        """
        found: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append(((collection, identity), found))
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        return await found

    async def _read(self) -> None:
        """Answer whoever waits, until nobody does."""
        while self._waiting:
            group, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            answers: list[bytes | NotFound] | list[Exception]
            try:
                answers = await self._answers([asked for asked, _ in group])
            except Exception as error:  # noqa: BLE001  whoever asked is told, and the next ones are answered
                answers = [error for _ in group]
            for (_, found), one in zip(group, answers, strict=True):
                if found.cancelled():
                    continue
                if isinstance(one, Exception):
                    found.set_exception(one)
                else:
                    found.set_result(one)
            # What came while the store was read is taken from its sockets first, so that it is answered together.
            await asyncio.sleep(0)
        self._reading = None

    async def _answers(self, asked: list[tuple[str, str]]) -> list[bytes | NotFound]:
        began, before = time.monotonic(), _disk_readings()
        if not self._app.store.on_this_machine or self._disk.slow(now=began):
            return await run_in_threadpool(self.lookups.each, asked)
        try:
            return self.lookups.each(asked)
        finally:
            self._disk.read(began=began, ended=time.monotonic(), from_disk=_disk_readings() > before)


class DiskWatch:
    """Whether the disk was found to be slow in the last seconds."""

    def __init__(self) -> None:
        self._slow_until = float("-inf")

    def slow(self, *, now: float) -> bool:
        """Whether nobody who may not be held up should read from it now."""
        return now < self._slow_until

    def read(self, *, began: float, ended: float, from_disk: bool) -> None:
        """A reading took so long; one that a busy machine held up, and not the disk, says nothing."""
        if from_disk and ended - began > _SLOW:
            self._slow_until = ended + _REST


def _disk_readings() -> int:
    """How often this thread had to wait for the disk so far."""
    usage = resource.getrusage(_WHOSE)
    return usage.ru_inblock + usage.ru_majflt
