"""A callback sent again from the command line, over the store alone: with or without a server at work."""

from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from limner.app.outbox import Outbox
from limner.app.secrets import ServerKey
from limner.clock import Clock
from limner.store.callbacks import Standing
from limner.store.store import Store

if TYPE_CHECKING:
    from limner.app.app import App


class Alone(Struct, frozen=True, kw_only=True):
    """A project without a server, as far as callbacks need one."""

    name: str
    app: "App"
    store: Store
    clock: Clock


def redeliver(app: "App", job: str, *, project: str = "default") -> Standing:
    """
    Send every page of the callback of a job again, with its id and body as they were; where it stands then.

    A page that is not accepted stays in the outbox, and a server tries it again.

    Raises:
        NotFound: there is no such job.
        UsageError: it asked for no callback.
        IllegalMove: nothing of it is in the outbox yet.
    """
    host = Alone(name=project, app=app, store=app.store, clock=app.clock)
    outbox = Outbox(host, key=ServerKey.of(app.project, clock=app.clock))
    try:
        outbox.redeliver(job)
        return outbox.deliver(job)
    finally:
        outbox.stop(timedelta())
