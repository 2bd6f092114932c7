"""Single records asked for by many at once: who asks while the store is read is answered by the next reading."""

import asyncio

from fastapi.concurrency import run_in_threadpool

from limner.app.app import App
from limner.app.lookups import looked_up
from limner.app.record_view import RecordView

#: Records in one reading: the first of them waits for the last.
_MOST = 256


class LookUps:
    """
    The look-ups of one project, on the event loop.

    While a thread reads, questions gather, and one transaction then answers all of them: many who ask at the same
    time cost little more than one, and whoever asks alone waits for nobody.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._waiting: list[tuple[tuple[str, str], asyncio.Future[RecordView]]] = []
        self._reading: asyncio.Task[None] | None = None

    async def find(self, collection: str, identity: str) -> RecordView:
        """
        The record as it stands, a moment after it was asked for.

        Raises:
            NotFound: there is none.
        """
        found: asyncio.Future[RecordView] = asyncio.get_running_loop().create_future()
        self._waiting.append(((collection, identity), found))
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        return await found

    async def _read(self) -> None:
        """Answer whoever waits, until nobody does."""
        while self._waiting:
            group, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            answers: list[RecordView | Exception]
            try:
                answers = [*await run_in_threadpool(looked_up, self._app, [asked for asked, _ in group])]
            except Exception as error:  # noqa: BLE001  whoever asked is told, and the next ones are answered
                answers = [error for _ in group]
            for (_, found), one in zip(group, answers, strict=True):
                if found.cancelled():
                    continue
                if isinstance(one, Exception):
                    found.set_exception(one)
                else:
                    found.set_result(one)
        self._reading = None
