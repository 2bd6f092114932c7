"""The root of the command line: what every verb may end with, and what is shown where it goes wrong."""

import shlex
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn, cast

import typer
from typer.core import TyperGroup
from typer.exceptions import Abort, Exit, TyperException

from limner.cli.output import warn
from limner.errors import ArtifactsUnavailable, BusUnavailable, LimnerError, SearchUnavailable, StoreUnavailable

#: Some records failed, or an audit or a doctor found something.
SOME_FAILED = 1
#: The command cannot be carried out as it was typed or configured.
MISUSED = 2
#: Something broke that no other command line would have helped (EX_SOFTWARE of sysexits.h).
BROKEN = 70
#: Stopped by Ctrl-C, as shells count it: 128 and the signal's number.
INTERRUPTED = 130

_UNAVAILABLE = (ArtifactsUnavailable, BusUnavailable, SearchUnavailable, StoreUnavailable)
_WORDS = "limner.words"


class Stopped(Exception):
    """The user stopped a verb that can be gone on with; the text says what stands and how to go on."""


class Root(TyperGroup):
    """The group of all verbs; turns what they raise into a sentence on standard error and an exit status."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: object = None, **extra: object
    ) -> typer.Context:
        """Remember the words that were typed, so that a message can repeat them."""
        words = ["limner", *args]
        # Typer's own annotations name a class that it keeps to itself.
        context = cast(typer.Context, super().make_context(info_name, args, cast(Any, parent), **extra))
        context.meta[_WORDS] = words
        return context

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]  # Typer's own types are private
        """Run the verb; a mistake never shows a traceback."""
        try:
            return super().invoke(ctx)
        except (Exit, Abort, TyperException, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            warn("Stopped; nothing is lost. The same command goes on:", typed(ctx))
            raise Exit(INTERRUPTED) from None
        except Stopped as stopped:
            warn(str(stopped))
            raise Exit(INTERRUPTED) from None
        except LimnerError as error:
            warn(f"Error: {error}")
            raise Exit(status_of(error)) from None
        except Exception as error:  # noqa: BLE001  whatever it is, the user gets a sentence and the traceback a file
            _give_up(ctx, error)


def status_of(error: LimnerError) -> int:
    """The exit status of what went wrong."""
    return BROKEN if isinstance(error, _UNAVAILABLE) else MISUSED


def typed(ctx: typer.Context) -> str:
    """The command line as it was typed, to be typed again."""
    return shlex.join(ctx.meta[_WORDS])


def _give_up(ctx: typer.Context, error: Exception) -> NoReturn:
    """Write the traceback to a file and say where it lies."""
    told = "".join(traceback.format_exception(error))
    folder = Path(str(ctx.params.get("project") or "."))
    file = _written(folder / ".limner" / "errors", f"{typed(ctx)}\n\n{told}")
    said = str(error).partition("\n")[0]
    warn(f"Error: Limner broke ({type(error).__name__}{f': {said}' if said else ''}); what is stored is unharmed.")
    if file is None:
        sys.stderr.write(told)
    else:
        warn(f"The traceback lies in {file}")
    raise Exit(BROKEN)


def _written(folder: Path, text: str) -> Path | None:
    """A new file in *folder*, or in the folder for temporary files, that holds *text*."""
    import tempfile

    stamp = time.strftime("%Y%m%d-%H%M%S-", time.gmtime())
    for place in (folder, Path(tempfile.gettempdir())):
        try:
            if place == folder and folder.parent.parent.is_dir():
                folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", dir=place, prefix=stamp, suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
            ) as file:
                file.write(text)
        except OSError:
            continue
        return Path(file.name)
    return None
