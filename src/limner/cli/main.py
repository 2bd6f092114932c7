"""The command line: ``limner VERB …``; each verb's module says what it does."""

import signal
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer

from limner import __version__
from limner.cli import finding, image, looks, making, moving, serve, tokens, work
from limner.cli import worker as far
from limner.cli.models import models, train
from limner.cli.output import say
from limner.cli.root import Root
from limner.cli.session import Session

# Plain help: Rich alone would take longer to import than a command may take to start.
app = typer.Typer(
    name="limner",
    cls=Root,
    help="Keeps everything that models can infer about a collection complete, current, explainable and searchable.",
    epilog="Exit status: 0 done, 1 some records failed, 2 bad usage or configuration, 70 something broke, 130 stopped.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        say(f"limner {__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    project: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the project.")] = Path(),
    store: Annotated[str | None, typer.Option(metavar="URL", help="In place of the setting `store`.")] = None,
    bus: Annotated[str | None, typer.Option(metavar="URL", help="In place of the setting `bus`.")] = None,
    artifacts: Annotated[str | None, typer.Option(metavar="URL", help="In place of the setting `artifacts`.")] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Keep the options that stand before the verb."""
    ctx.obj = Session(project, options={"store": store, "bus": bus, "artifacts": artifacts})


for name, verb in making.VERBS[:1]:
    app.command(name)(verb)
for verb in (*work.VERBS, *looks.VERBS, *finding.VERBS, *serve.VERBS, *far.VERBS, *tokens.VERBS, *moving.VERBS):
    app.command(verb.__name__)(verb)
app.command("image")(image.image)
app.add_typer(models, name="models")
app.add_typer(tokens.token, name="token")
app.command("train")(train)
for name, verb in making.VERBS[1:]:
    app.command(name)(verb)
# Verbs that systems bring: light modules, since help shows all of them.
for point in sorted(entry_points(group="limner.verbs"), key=lambda point: point.name):
    app.command(point.name)(point.load())


def main() -> None:
    """Run the command that was typed, and end the process with its status."""
    # A service manager stops a verb as gently as a user does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app(prog_name="limner")
    sys.exit(0)


if __name__ == "__main__":
    main()
