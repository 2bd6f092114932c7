"""What every verb is given: the project that it works on, opened when it is needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from limner.cli.root import Stopped, typed

if TYPE_CHECKING:
    from limner.app.app import App


class Session:
    """The options that stand before the verb."""

    def __init__(self, folder: Path, *, options: dict[str, str | None]) -> None:
        #: Folder of the project.
        self.folder = folder
        #: Settings that were given as options.
        self.options = options


@contextmanager
def opened(ctx: typer.Context) -> Iterator["App"]:
    """The application over the session's project."""
    from limner.app.app import App
    from limner.cli.logs import configure
    from limner.settings import load_project

    session = session_of(ctx)
    project = load_project(session.folder, options=session.options)
    # Their own default is standard output, which belongs to the answer.
    configure(project.path(".limner/limner.log"))
    with App(project) as app:
        yield app


@contextmanager
def interruptible(ctx: typer.Context) -> Iterator[None]:
    """Turn Ctrl-C within a run into a sentence that says how to go on."""
    from limner.app.running import Interrupted

    try:
        yield
    except Interrupted as interrupted:
        told = f"Stopped; what {interrupted.job} finished is stored. The same command goes on:\n{typed(ctx)}"
        raise Stopped(told) from None


def session_of(ctx: typer.Context) -> Session:
    """The options that stood before the verb."""
    session: Session = ctx.obj
    return session
