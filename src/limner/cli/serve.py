"""Verbs of the server: serve, and infer, which asks its online door's inferrers without a server."""

import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from limner.cli.options import AsJson
from limner.cli.output import document, patience, say, warn
from limner.cli.root import SOME_FAILED
from limner.cli.session import opened, session_of
from limner.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from limner.app.online import Online
    from limner.app.online_inputs import FileBytes, Input
    from limner.app.online_target import Target
    from limner.settings import Project

#: How often threads take turns, in seconds: requests are answered by one that others must not hold up for long.
_TURN = 0.001


def serve(
    ctx: typer.Context,
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="PORT", help="Port; 0 takes a free one.")] = 8080,
    role: Annotated[
        str, typer.Option(metavar="all|api|engine", help="all; api answers only; engine works only.")
    ] = "all",
    workers: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="NUMBER", help="Child processes of each implementation here; 0 leaves all to far workers."
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="HOST", help="May be fetched from and called too; several times."),
    ] = None,
    grace: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Time that what is under way has when it is stopped.")
    ] = 3.0,
    as_json: AsJson = False,
) -> None:
    """Serve the HTTP API, with the engine and workers. Stops gracefully on SIGTERM and Ctrl-C; nothing is lost."""
    from limner.cli.logs import configure
    from limner.settings import load_project

    try:
        from limner.api.serving import Serving
    except ImportError as error:
        raise MissingExtra(extra="server", needs="The server") from error
    if role not in ("all", "api", "engine"):
        raise UsageError(f"--role {role} is no role; it is all, api or engine.")
    session = session_of(ctx)
    project = _with_options(load_project(session.folder, options=session.options), workers=workers, allow=allow_host)
    configure(project.path(".limner/limner.log"))
    sys.setswitchinterval(_TURN)
    chosen: Literal["all", "api", "engine"] = role  # type: ignore[assignment]  # compared above
    serving = Serving(
        project, host=host, port=port, role=chosen, own_workers=workers != 0, grace=timedelta(seconds=grace)
    )
    serving.run(lambda url: _tell(project, url, role=role, as_json=as_json))
    if not as_json:
        warn("Stopped; nothing is lost.")


def _tell(project: "Project", url: str | None, *, role: str, as_json: bool) -> None:
    """Say where the server is, once it can be reached."""
    if as_json:
        import msgspec

        told = {"url": url, "role": role, "project": str(project.folder), "pid": os.getpid()}
        say(msgspec.json.encode(told).decode())
    elif url is None:
        say("The engine is at work. Ctrl-C stops it; nothing is lost.")
    else:
        say(f"Limner listens on {url} (try {url}/docs). Ctrl-C stops it; nothing is lost.")
    sys.stdout.flush()


def _with_options(project: "Project", *, workers: int | None, allow: list[str] | None) -> "Project":
    from msgspec import structs

    settings = project.settings
    if workers:
        settings = structs.replace(settings, parallel=workers)
    if allow:
        settings = structs.replace(settings, allow_hosts=[*settings.allow_hosts, *allow])
    return structs.replace(project, settings=settings)


def infer(
    ctx: typer.Context,
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="pipeline.stage, or stage where only one has it.")],
    identity: Annotated[str | None, typer.Option("--id", metavar="ID", help="A stored record.")] = None,
    file: Annotated[
        list[str] | None,
        typer.Option("--file", metavar="FILE", help="A file; INPUT=FILE where the stage reads several."),
    ] = None,
    value: Annotated[
        list[str] | None, typer.Option("--value", metavar="INPUT=VALUE", help="A value, as JSON where it is JSON.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Infer one record now, and store nothing. By the version that is served."""
    from limner.app.online import Online
    from limner.domain.values import Value, decode

    with opened(ctx) as app, patience(f"Inferring {stage}"):
        online = Online(app)
        try:
            target = online.target(stage)
            row = _row(online, target, identity=identity, files=file or [], values=value or [])
            (outcome,) = online.begin(target, [row]).result()
        finally:
            online.close()
    failure = outcome.failure
    found: Value = None if failure else decode(outcome.value)
    if as_json:
        told = None if failure is None else {"code": failure.code.value, "message": failure.message}
        document({"stage": target.address, "version": target.version.digest, "value": found, "error": told})
    elif failure is None:
        document(found)
    if failure is not None:
        if not as_json:
            warn(f"{failure.code}: {failure.message}")
        raise typer.Exit(SOME_FAILED)


def _row(
    online: "Online", target: "Target", *, identity: str | None, files: list[str], values: list[str]
) -> "dict[str, Input]":
    """What the stage is to read: a stored record, files, values."""
    from limner.cli.options import values_of
    from limner.domain.values import encode

    if identity is not None:
        if files or values:
            raise UsageError("Name a stored record by --id, or give --file and --value, not both.")
        return dict(online.row_of(target, None, identity))
    reads = target.runtime.reads
    of_files = [name for name, read in reads.items() if read is not None]
    found: dict[str, Input] = {}
    for given in files:
        name, path = _named(given, of_files)
        found[name] = _bytes(path)
    for name, item in values_of(values, option="--value").items():
        found[name] = encode(item)
    return found


def _named(given: str, inputs: list[str]) -> tuple[str, Path]:
    """The input that a file is for, and its path; the only one where none is named."""
    name, equals, path = given.partition("=")
    if equals and name in inputs:
        return name, Path(path)
    if len(inputs) != 1:
        told = f"it reads the files {', '.join(inputs)}; write --file INPUT=FILE" if inputs else "it reads no file"
        raise UsageError(f"--file {given}: {told}.")
    return inputs[0], Path(given)


def _bytes(path: Path) -> "FileBytes":
    from limner.app.online_inputs import FileBytes

    if not path.is_file():
        raise UsageError(f"There is no file {path}.")
    return FileBytes(path.read_bytes())


VERBS: tuple[Callable[..., None], ...] = (serve, infer)
