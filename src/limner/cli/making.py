"""Verbs to begin with: init, try, doctor, demo."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli.options import AsJson, Parameters, values_of
from limner.cli.output import document, patience, say, span
from limner.cli.root import SOME_FAILED
from limner.cli.session import Session, opened, session_of
from limner.errors import NotFound, UsageError

if TYPE_CHECKING:
    from limner.app.doctor import Finding
    from limner.app.trying import TriedFile
    from limner.domain.systems import System

#: Items of a list that a line shows.
_SHOWN = 6


def init(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is empty or not there yet.")],
    system: Annotated[
        str | None, typer.Option("--from", metavar="SYSTEM", help="Begin with a system's own project: catalogue.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a new project with a pipeline, an inferrer and a test."""
    from limner.app.starting import start_project

    files = start_project(folder, system=None if system is None else _system(ctx, system))
    if as_json:
        document({"folder": str(folder.resolve()), "files": files})
        return
    say(f"{folder} holds a project now:", *(f"  {file}" for file in files))
    say("", f"Go on: cd {folder}, and read README.md")


def try_(
    ctx: typer.Context,
    inferrer: Annotated[
        str, typer.Argument(metavar="INFERRER", help="package.module:Name, file.py:Name, onnx or http.")
    ],
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Its input; a JSON object gives several inputs by their names.")
    ],
    param: Parameters = None,
    model: Annotated[Path | None, typer.Option(metavar="FILE", help="The model that it loads.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="For each file.")] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Try one inferrer on a few files. In a process of its own, without storing anything."""
    from limner.app.trying import try_inferrer
    from limner.settings import load_project

    session = session_of(ctx)
    project = load_project(session.folder, options=session.options)
    with patience(f"Trying {inferrer}"):
        tried = try_inferrer(
            inferrer,
            files,
            folder=session.folder,
            params=values_of(param, option="--param"),
            model=model,
            limit=timedelta(seconds=timeout),
            allow_hosts=project.settings.allow_hosts,
        )
    if as_json:
        document(tried)
    else:
        say(f"{tried.inferrer} was loaded in {span(tried.load_seconds)}")
        for one in tried.files:
            say(f"{one.file}  {one.seconds:.4f} s", *_told(one))
    if any(one.code for one in tried.files):
        raise typer.Exit(SOME_FAILED)


def doctor(
    ctx: typer.Context,
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="Look, from a worker's machine, at the ways to this server instead."),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help="The worker's token, in place of LIMNER_TOKEN.")
    ] = None,
    deploy: Annotated[
        Path | None,
        typer.Option("--deploy", metavar="FILE", help="Look at a CloudFormation template instead; nobody is asked."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the settings and every connected part. What is wrong, and what to do; exit status 1 where anything is."""
    from limner.app.doctor import State, examine

    session = session_of(ctx)
    if deploy is not None and url is not None:
        raise UsageError("--deploy looks at a file and --url at a server; ask for one of them.")
    if deploy is not None:
        from limner.app.doctor_deploy import examine_template

        with patience("Looking at the template"):
            findings = examine_template(deploy)
    elif url is not None:
        from limner.app.doctor_far import examine_ways
        from limner.server_client import token_from

        with patience("Looking at the ways to the server"):
            findings = examine_ways(url, token=token_from(None, file=token_file))
    else:
        with patience("Looking at every part"):
            findings = examine(session.folder, options=session.options)
    wrong = [finding for finding in findings if finding.state is State.WRONG]
    if as_json:
        document({"sound": not wrong, "findings": findings})
    else:
        _tell_findings(findings)
        say("", f"{len(wrong)} things are wrong." if wrong else "Nothing is wrong.")
    if wrong:
        raise typer.Exit(SOME_FAILED)


def demo(
    ctx: typer.Context,
    system: Annotated[str, typer.Argument(metavar="SYSTEM", help="Name of a system: catalogue or antenna.")],
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where it works; ./limner-demo-SYSTEM if not given.")
    ] = None,
) -> None:
    """Show one of the systems end to end, on data that it makes."""
    from limner.app.declared import load_target

    found = _system(ctx, system)
    if found.demo is None:
        raise UsageError(f"The system {system} brings no demo.")
    place = folder or Path(f"limner-demo-{system}")
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise UsageError(f"{place} is there already; remove it, or name another with --folder.")
    place.mkdir(parents=True, exist_ok=True)
    show = load_target(found.demo)
    if not callable(show):
        raise NotFound(f"{found.demo} is no function.")
    # The demo stands in its own folder, whatever project the command was typed in.
    ctx.obj = Session(place, options={})
    with opened(ctx) as app:
        show(app, say)


def _system(ctx: typer.Context, name: str) -> "System":
    from limner.app.declared import Declared
    from limner.settings import load_project

    systems = Declared(load_project(session_of(ctx).folder)).systems
    if name not in systems:
        raise NotFound(f"There is no system {name}; installed are: {', '.join(sorted(systems)) or 'none'}.")
    return systems[name]


def _told(one: "TriedFile") -> list[str]:
    if one.code:
        return [f"  {one.code}: {one.message}"]
    from limner.domain.values import plain

    value = plain(one.value)
    if isinstance(value, dict):
        return [f"  {key}: {_short(item)}" for key, item in value.items()]
    return [f"  {_short(value)}"]


def _short(value: object) -> str:
    if isinstance(value, list) and len(value) > _SHOWN:
        return f"[{', '.join(map(str, value[:_SHOWN]))}, … {len(value)} in all]"
    return str(value)


def _tell_findings(findings: "Sequence[Finding]") -> None:
    for finding in findings:
        say(f"{finding.state.value:5}  {finding.part}: {finding.said}")
        if finding.remedy:
            say(f"       → {finding.remedy}")


VERBS: tuple[tuple[str, Callable[..., None]], ...] = (("init", init), ("try", try_), ("doctor", doctor), ("demo", demo))
