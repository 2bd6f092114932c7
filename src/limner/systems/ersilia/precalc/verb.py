"""The verb ``limner precalc``: a whole library through a model, and where it goes."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli.options import AsJson
from limner.cli.output import document, patience, say, span, table, warn
from limner.cli.progress import Bar
from limner.cli.root import SOME_FAILED
from limner.cli.session import interruptible, opened
from limner.cli.worker import duration
from limner.errors import UsageError

if TYPE_CHECKING:
    from limner.systems.ersilia.nouns import KeyScheme
    from limner.systems.ersilia.precalc.nouns import Ask, Outcome

_ONLY = ("predict", "publish")


def precalc(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Id of a model package: eos3b5e.")],
    library: Annotated[
        str, typer.Option("--library", metavar="FILE", help="The molecules: a CSV file, here or at an s3:// address.")
    ] = "reference_library.csv",
    sample: Annotated[
        int | None, typer.Option("--sample", min=1, metavar="N", help="Only N molecules; all of them if not given.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            metavar="N",
            help="Processes of inference at most, one shard each or more; as many as there are cores if not given.",
        ),
    ] = None,
    keys: Annotated[
        str | None, typer.Option("--keys", metavar="SCHEME", help="inchikey or md5; the library's own if not given.")
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            metavar="PLACE",
            help="A folder, s3://BUCKET or dynamodb://TABLE, besides the prediction table; several times.",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="A molecule fails if one of its columns has no value.")
    ] = False,
    shard_timeout: Annotated[
        str | None, typer.Option("--shard-timeout", metavar="TIME", help="For one call of the model: 2s, 90s, 10m.")
    ] = None,
    canary: Annotated[
        bool,
        typer.Option("--canary/--no-canary", help="Try a hundred molecules before all others, and stop if they fail."),
    ] = True,
    unchecked: Annotated[
        bool,
        typer.Option("--unchecked", help="Use a package that does not reproduce its golden example; this is kept."),
    ] = False,
    only: Annotated[str | None, typer.Option("--only", metavar="STEP", help="predict or publish.")] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--from", metavar="FILES", help="With --only publish: CSV files that somebody else predicted."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what would be done, why, and how long; runs nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put a library of molecules through a model, and publish what it predicts. Exit status 1 where some failed."""
    from limner.systems.ersilia.precalc.nouns import Ask

    if only is not None and only not in _ONLY:
        raise UsageError(f"--only takes {' or '.join(_ONLY)}, not {only}.")
    if (only == "publish") != bool(given):
        raise UsageError("--only publish takes --from FILES, and --from is for --only publish.")
    ask = Ask(
        model=model,
        library=str(Path(library).absolute()) if "://" not in library else library,
        sample=sample,
        workers=workers or os.cpu_count() or 1,
        keys=None if keys is None else _scheme(keys),
        to=tuple(place if "://" in place else str(Path(place).absolute()) for place in to or ()),
        strict=strict,
        shard_timeout=None if shard_timeout is None else duration(shard_timeout, option="--shard-timeout"),
        canary=canary,
        unchecked=unchecked,
        only=only,
    )
    if plan:
        _plan(ctx, ask, as_json=as_json)
    elif given:
        _end(_publish(ctx, ask, given), as_json=as_json)
    else:
        _end(_run(ctx, ask), as_json=as_json)


def _run(ctx: typer.Context, ask: "Ask") -> "Outcome":
    from limner.systems.ersilia.precalc.run import Precalc

    with opened(ctx) as app, interruptible(ctx), Bar(f"{ask.model}") as bar:
        return Precalc(app, progress=bar).run(ask)


def _publish(ctx: typer.Context, ask: "Ask", given: list[str]) -> "Outcome":
    """Publish what somebody else predicted."""
    from limner.systems.ersilia.precalc.models import package_named
    from limner.systems.ersilia.predictions.publish_given import publish_given

    with opened(ctx) as app, patience(f"Publishing {ask.model}"):
        package = package_named(app, ask.model).package
        patterns = [place if "://" in place else str(Path(place).absolute()) for place in given]
        return publish_given(
            app.project,
            package,
            patterns,
            to=ask.to,
            scheme=ask.keys,
            strict=ask.strict,
            workers=ask.workers,
            clock=app.clock,
        )


def _plan(ctx: typer.Context, ask: "Ask", *, as_json: bool) -> None:
    from limner.systems.ersilia.precalc.run import Precalc

    with opened(ctx) as app, patience(f"Planning {ask.model}"):
        found = Precalc(app).plan(ask)
    if as_json:
        document(found)
        return
    library = found.library
    say(
        f"{library.rows} rows: {library.molecules} molecules, {library.duplicate_rows} repeats, {library.set_aside} bad"
    )
    why = ", ".join(f"{count} {reason}" for reason, count in found.reasons.items())
    say(f"{found.identify} to identify, {found.predict} to predict{f' ({why})' if why else ''}")
    if found.predict:
        say(f"{found.shards} shards on {found.workers_used} workers, about {span(found.seconds)}")


def _end(outcome: "Outcome", *, as_json: bool) -> None:
    """Tell how it ended, by the exit status too."""
    if as_json:
        document(outcome)
    else:
        _tell(outcome)
    if outcome.state != "done":
        raise typer.Exit(SOME_FAILED)


def _tell(outcome: "Outcome") -> None:
    counts = outcome.counts
    if outcome.stopped is not None:
        warn(f"Stopped: {outcome.stopped}", f"Which and why:  limner failures {outcome.job}")
        return
    repeats = counts.duplicate_row + counts.duplicate_key
    say(f"{outcome.model} {outcome.version}, keys: {outcome.key_scheme}")
    say(f"{counts.rows} rows: {counts.stored} stored, {counts.failed} failed, {repeats} repeats")
    say(
        f"{outcome.inferred} predicted in {outcome.shards} shards by {outcome.workers_used} workers, "
        f"in {span(outcome.seconds)}"
    )
    if counts.reasons:
        table(("reason", "rows"), sorted(counts.reasons.items()))
    if outcome.nulls:
        table(("column without a value", "rows"), sorted(outcome.nulls.items()))
    if outcome.published:
        say("", "Published:", *(f"  {place}" for place in outcome.published))
    say("", f"Job: {outcome.job}")


def _scheme(text: str) -> "KeyScheme":
    from limner.systems.ersilia.nouns import KeyScheme

    if text not in list(KeyScheme):
        raise UsageError(f"--keys takes {' or '.join(KeyScheme)}, not {text}.")
    return KeyScheme(text)
