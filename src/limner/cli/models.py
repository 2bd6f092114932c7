"""Verbs about models: add, list, show, check, install, promote, rollback, and train."""

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli.options import AsJson, values_of
from limner.cli.output import document, moment, patience, say, table
from limner.cli.root import SOME_FAILED
from limner.cli.session import opened, session_of

if TYPE_CHECKING:
    from limner.models.registry import Entry

Reference = Annotated[str, typer.Argument(metavar="MODEL", help="name@number, name@alias, or name for its champion.")]
ModelName = Annotated[str, typer.Argument(metavar="NAME", help="Name of a model.")]

_MEGABYTE = 1_000_000

models = typer.Typer(help="Add, list, check, install, promote and roll back models. Alone it lists them.")


@models.callback(invoke_without_command=True)
def root(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Add, list, check, install, promote and roll back models. Alone it lists them."""
    if ctx.invoked_subcommand is None:
        _list(ctx, None, as_json=as_json)


@models.command("list")
def listing(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Name of a model; all if not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the versions of models with their aliases."""
    _list(ctx, name, as_json=as_json)


@models.command()
def add(
    ctx: typer.Context,
    name: ModelName,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="ONNX, npz, safetensors or any file without a pickle.")],
    manifest: Annotated[
        list[str] | None,
        typer.Option(
            "--manifest", metavar="NAME=VALUE", help="A fact for the inferrer, such as a threshold; several times."
        ),
    ] = None,
    licence: Annotated[str | None, typer.Option(metavar="TEXT", help="Licence of the model.")] = None,
    preprocess: Annotated[
        str | None,
        typer.Option(metavar="NAME|JSON", help="How pictures are prepared; written into a copy of an ONNX file."),
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Anyone may fetch it; needs a licence.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check a model's file and add it as the next version; the first becomes the champion."""
    with opened(ctx) as app, patience(f"Checking {file.name}"):
        version = app.registry.add(
            name,
            file,
            manifest=values_of(manifest, option="--manifest"),
            licence=licence,
            preprocess=preprocess,
            visibility="public" if public else "private",
            by=_user(),
        )
        (entry,) = [e for e in app.registry.listing(name) if e.version.number == version.number]
    if as_json:
        document(_flat(entry))
        return
    say(f"{name}@{version.number} was added: {version.sha256}, {version.size} bytes{_called(entry)}")
    say(*(f"Warning: {warning}" for warning in version.warnings))


@models.command()
def show(ctx: typer.Context, reference: Reference, as_json: AsJson = False) -> None:
    """All that is known of one version: digest, licence, where it came from, metrics, moves of its aliases."""
    with opened(ctx) as app:
        card = app.registry.show(reference)
    if as_json:
        document(card)
        return
    version = card.version
    say(f"{version.name}@{version.number}{''.join(f' {alias}' for alias in card.aliases)}")
    facts = {
        "sha256": version.sha256,
        "file": f"{version.filename}, {version.size} bytes",
        "added": f"{moment(version.created)} UTC",
        "licence": version.licence or "none named",
        "visibility": version.visibility,
        "manifest": dict(version.manifest),
        "origin": dict(version.origin),
        "metrics": dict(version.metrics),
    }
    for key, value in facts.items():
        if isinstance(value, dict):
            say(*(f"  {key} {name}: {item}" for name, item in value.items()))
        else:
            say(f"  {key}: {value}")
    say(*(f"  warning: {warning}" for warning in version.warnings))
    for move in card.moves:
        forced = f" against: {'; '.join(move.reasons)}" if move.reasons else ""
        old = f"{version.name}@{move.old}" if move.old else "none"
        say(f"  {moment(move.at)} {move.alias}: {old} to {version.name}@{move.new}, {move.kind} by {move.by}{forced}")


@models.command()
def check(
    ctx: typer.Context,
    reference: Annotated[
        str, typer.Argument(metavar="MODEL|FOLDER", help="As for the others, or a folder with a model package.")
    ],
    as_json: AsJson = False,
) -> None:
    """Check a version's file again, or a package by its golden example; exit status 1 where it is not sound."""
    if Path(reference).is_dir():
        _check_folder(ctx, Path(reference), as_json=as_json)
        return
    with opened(ctx) as app, patience(f"Checking {reference}"):
        report = app.registry.check(reference)
    if as_json:
        document({"model": reference, "problems": report.problems, "warnings": report.warnings})
    else:
        say(*report.problems, *(f"Warning: {warning}" for warning in report.warnings))
        if not report.problems:
            say(f"{reference} is sound.")
    if report.problems:
        raise typer.Exit(SOME_FAILED)


@models.command()
def install(
    ctx: typer.Context,
    reference: Annotated[
        str, typer.Argument(metavar="MODEL|FOLDER", help="Id of a model package, or the folder in which it lies.")
    ],
    python: Annotated[
        str | None, typer.Option("--python", metavar="VERSION", help="In place of the package's own, for example 3.11.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Build it anew where it is there already.")] = False,
    as_json: AsJson = False,
) -> None:
    """Build the environment that a model package pins; from then on it runs there, in this folder's projects."""
    from limner.app.model_folders import install_model
    from limner.settings import load_project

    session = session_of(ctx)
    project = load_project(session.folder, options=session.options)
    with patience(f"Building the environment of {reference}"):
        report = install_model(reference, project=project, python=python, again=again)
    if as_json:
        document({"model": report.model, "warnings": report.warnings, **report.facts})
        return
    facts = report.facts
    size = int(str(facts["bytes"])) / _MEGABYTE
    day = f", dependencies as of {facts['day']}" if facts["day"] else ""
    say(f"{report.model} runs {'' if facts['built'] else 'already '}in {facts['folder']}: {size:.0f} MB{day}")
    say(f"  python {facts['python']}, {_fact(facts['packages'])}")
    say(*(f"Warning: {warning}" for warning in report.warnings))


@models.command()
def promote(
    ctx: typer.Context,
    reference: Reference,
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="The alias that moves.")] = "champion",
    force: Annotated[bool, typer.Option("--force", help="Although the gate refuses it; is recorded.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let an alias stand for another version, if the trainer's gate accepts it."""
    with opened(ctx) as app, patience(f"Judging {reference}"):
        version = app.promote(reference, alias, force=force, by=_user())
    _moved(f"{version.name}@{version.number}", alias, name=version.name, as_json=as_json)


@models.command()
def rollback(
    ctx: typer.Context,
    name: ModelName,
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="The alias that moves.")] = "champion",
    as_json: AsJson = False,
) -> None:
    """Let an alias stand for the version before; its stored results are used again."""
    with opened(ctx) as app:
        version = app.registry.rollback(name, alias, by=_user())
    _moved(f"{version.name}@{version.number}", alias, name=name, as_json=as_json)


def train(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a trainer, for example catalogue.codes.")],
    sample: Annotated[
        int | None, typer.Option(min=1, metavar="NUMBER", help="Train on so many, drawn by the seed.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="The same seed and samples give the same model.")] = 1,
    parameters: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter of the trainer; several times.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a model on stored values. It is judged beside the champion, and added."""
    with opened(ctx) as app, patience(f"Training {name}"):
        trained = app.train(name, seed=seed, sample=sample, parameters=values_of(parameters, option="--set"))
    if as_json:
        document(trained)
        return
    version = trained.version
    called = f"{version.name}@{version.number}"
    say(f"{called} is {version.name}@{trained.alias} now: {version.sha256}")
    table(("metric", "value"), [(metric, f"{value:.6g}") for metric, value in trained.metrics.items()])
    if trained.refused_reasons:
        say(*(f"The gate refuses it: {reason}" for reason in trained.refused_reasons))
    elif trained.alias != "champion":
        say(f"Use it: limner models promote {called}")


def _check_folder(ctx: typer.Context, folder: Path, *, as_json: bool) -> None:
    from limner.app.model_folders import check_folder
    from limner.settings import load_project

    session = session_of(ctx)
    with patience(f"Checking {folder}"):
        report = check_folder(folder, project=load_project(session.folder, options=session.options))
    if as_json:
        document({"model": report.model, "problems": report.problems, "warnings": report.warnings, **report.facts})
    else:
        say(f"{report.model}: {'refused' if report.problems else 'sound'}")
        # Lists are for programs: what matters of them stands in the sentences that follow.
        say(*(f"  {name}: {_fact(value)}" for name, value in report.facts.items() if not isinstance(value, list)))
        say(*report.problems, *(f"Warning: {warning}" for warning in report.warnings))
    if report.problems:
        raise typer.Exit(SOME_FAILED)


def _fact(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(f"{name} {item}" for name, item in value.items()) if isinstance(value, dict) else str(value)


def _list(ctx: typer.Context, name: str | None, *, as_json: bool) -> None:
    with opened(ctx) as app:
        entries = app.registry.listing(name)
    if as_json:
        document({"models": [_flat(entry) for entry in entries]})
        return
    if not entries:
        say("There are no models; add one: limner models add NAME FILE")
        return
    rows = [
        (
            f"{e.version.name}@{e.version.number}",
            ", ".join(e.aliases),
            e.version.sha256[:12],
            e.version.size,
            e.version.licence or "",
            moment(e.version.created),
        )
        for e in entries
    ]
    table(("model", "aliases", "sha256", "bytes", "licence", "added"), rows)


def _flat(entry: "Entry") -> dict[str, object]:
    from msgspec import structs

    return {**structs.asdict(entry.version), "aliases": entry.aliases}


def _called(entry: "Entry") -> str:
    return f"; it is {', '.join(entry.aliases)}" if entry.aliases else ""


def _moved(called: str, alias: str, *, name: str, as_json: bool) -> None:
    if as_json:
        document({"model": called, "alias": alias})
    else:
        say(f"{name}@{alias} is {called} now. What that changes: limner plan PIPELINE")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # A container may run as a user that has no name.
        return "unknown"
