"""A callback sent again from the command line, over the store alone: with or without a server at work."""

from datetime import timedelta

from msgspec import Struct

from limner.app.app import App
from limner.app.outbox import Outbox
from limner.app.projects import Projects, project_of
from limner.app.secrets import ServerKey
from limner.clock import Clock
from limner.errors import NotFound
from limner.store.callbacks import Standing
from limner.store.store import Store


class Alone(Struct, frozen=True, kw_only=True):
    """A project without a server, as far as callbacks need one."""

    name: str
    app: App
    store: Store
    clock: Clock


def redeliver(app: App, job: str) -> Standing:
    """
    Send every page of the callback of a job again, with its id and body as they were; where it stands then.

    The job is looked for in *app*'s project, then in all others of its folder. A page that is not accepted stays in
    the outbox, and a server tries it again.

    Raises:
        NotFound: there is no such job.
        UsageError: it asked for no callback.
        IllegalMove: nothing of it is in the outbox yet.
    """
    if _has(app, job):
        return _redeliver(app, job)
    projects = Projects(app.project, clock=app.clock)
    for name in projects.names():
        if name != app.project.name:
            with App(project_of(app.project, name), clock=app.clock) as other:
                if _has(other, job):
                    return _redeliver(other, job)
    raise NotFound(f"There is no job {job}; `limner jobs` lists them.")


def _has(app: App, job: str) -> bool:
    with app.store.reading() as tx:
        return tx.jobs.exists(job)


def _redeliver(app: App, job: str) -> Standing:
    host = Alone(name=app.project.name, app=app, store=app.store, clock=app.clock)
    outbox = Outbox(host, key=ServerKey.of(app.project, clock=app.clock))
    try:
        outbox.redeliver(job)
        return outbox.deliver(job)
    finally:
        outbox.stop(timedelta())
