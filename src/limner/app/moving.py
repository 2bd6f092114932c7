"""Moves a project, with all the projects of its server, from one store to another."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import partial

from msgspec import Struct, structs

from limner.app.parts import Parts
from limner.app.projects import Projects, project_of
from limner.errors import StoreUnavailable, UsageError
from limner.settings import DEFAULT, Project
from limner.store.connect import connect_store
from limner.store.moving import Carried, Mover
from limner.store.store import Store


class MovedTable(Struct, frozen=True, kw_only=True):
    """A table that stands in both stores alike."""

    rows: int
    #: Over all rows, the same here and there.
    digest: str


class MovedProject(Struct, frozen=True, kw_only=True):
    """A project that stands in both stores alike."""

    project: str
    tables: Mapping[str, MovedTable]
    rows: int
    seconds: float


def move(
    project: Project, *, to: str, source: str | None = None, tell: Callable[[str, Carried], None] = lambda *_: None
) -> Iterator[MovedProject]:
    """
    Carry every project of a folder to the store at *to*, from that at *source* (the setting `store` if None).

    What was stopped goes on when it is asked for again. The old store is left as it is. *tell* hears how far a
    project's tables are. Yields each project once everything of it was compared.

    Raises:
        UsageError: both are the same, the new one is not empty, somebody works on one of them, or the old one changed
            meanwhile.
        StoreUnavailable: a store refused something, or holds other rows than were carried.
    """
    here = _on(project, source or project.settings.store)
    there = _on(project, to)
    if here.url(here.settings.store) == there.url(there.settings.store):
        raise UsageError("Both stores are the same; name another one with --to.")
    for name in Projects(here).names():
        old, new = (one if name == DEFAULT else project_of(one, name) for one in (here, there))
        yield _move_one(old, new, tell=partial(tell, name))


def _on(project: Project, store: str) -> Project:
    return structs.replace(project, settings=structs.replace(project.settings, store=store))


def _move_one(old: Project, new: Project, *, tell: Callable[[Carried], None]) -> MovedProject:
    began = time.monotonic()
    with ExitStack() as stack:
        source = stack.enter_context(_alone(old))
        target = stack.enter_context(closing(connect_store(new.url(new.settings.store))))
        if target.leadership.offered and not target.leadership.take():
            raise UsageError("A server works on the store to move to; stop it first.")
        stack.callback(target.leadership.release)
        mover = Mover(source, target)
        mover.begin()
        for carried in mover.carry():
            tell(carried)
        tables = {}
        for table, (was, came) in mover.compare().items():
            if was != came:
                raise StoreUnavailable(
                    f"{table} has {was.rows} rows in the old store and {came.rows} in the new one, or they differ: the "
                    "old one changed meanwhile. Empty the new one and begin again; the old one is unharmed."
                )
            tables[table] = MovedTable(rows=was.rows, digest=was.digest)
        mover.finish()
    rows = sum(table.rows for table in tables.values())
    return MovedProject(project=new.name, tables=tables, rows=rows, seconds=time.monotonic() - began)


@contextmanager
def _alone(project: Project) -> Iterator[Store]:
    """The project's store, on which no engine works meanwhile."""
    parts = Parts(project)
    with closing(parts.store):
        if not parts.lock.take():
            raise UsageError(f"Something works on the project {project.name}; stop it first, then move it.")
        try:
            yield parts.store
        finally:
            parts.lock.release()
