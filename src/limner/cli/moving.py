"""The verb that moves: migrate."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli.options import AsJson
from limner.cli.output import document, say, span
from limner.cli.session import session_of

if TYPE_CHECKING:
    from limner.store.moving import Carried


def migrate(
    ctx: typer.Context,
    to: Annotated[str, typer.Option("--to", metavar="URL", help="The new store, which is empty.")],
    source: Annotated[
        str | None, typer.Option("--from", metavar="URL", help="The old store, in place of the setting `store`.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Carry everything to another store, and compare; asked for again, it goes on where it was stopped."""
    from limner.app.moving import move
    from limner.settings import load_project

    session = session_of(ctx)
    project = load_project(session.folder, options=session.options)
    moved = []
    for one in move(project, to=to, source=source, tell=_tell):
        moved.append(one)
        if not as_json:
            tables = sum(1 for table in one.tables.values() if table.rows)
            say(f"{one.project}: {one.rows} rows of {tables} tables are there and the same ({span(one.seconds)})")
    if as_json:
        document({"projects": moved})
        return
    say("Name the new store in limner.toml (store = …) or in LIMNER_STORE; the old one is as it was.")


def _tell(project: str, carried: "Carried") -> None:
    """Show on a terminal how far it is."""
    if sys.stderr.isatty():
        end = "\n" if carried.rows == carried.of else ""
        sys.stderr.write(f"\r\033[K{project}: {carried.table} {carried.rows} of {carried.of}{end}")
        sys.stderr.flush()


VERBS = (migrate,)
