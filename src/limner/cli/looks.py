"""Verbs that look: status, jobs, failures, why, audit."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli.options import AsJson, CollectionName, existing
from limner.cli.output import document, moment, patience, say, span, table
from limner.cli.root import SOME_FAILED
from limner.cli.session import interruptible, opened
from limner.errors import UsageError

if TYPE_CHECKING:
    from limner.app.auditing import Audit
    from limner.app.origins import Origin, Why
    from limner.app.status import JobStatus
    from limner.store.jobs import Event

#: Ids of a gap that are shown; the JSON document holds all that the audit kept.
_SHOWN = 5
#: Seconds between two looks at a job that is followed.
_OFTEN = 0.3

JobName = Annotated[str | None, typer.Argument(metavar="JOB", help="A job.")]


def status(ctx: typer.Context, job: JobName = None, as_json: AsJson = False) -> None:
    """Where the project's pipelines stand, or one job."""
    if job is not None:
        _one_job(ctx, job, events=False, limit=20, as_json=as_json)
        return
    with opened(ctx) as app:
        found = app.status()
    if as_json:
        document({"pipelines": found})
        return
    if not found:
        say("Nothing was run here yet; run a pipeline: limner run PIPELINE FOLDER|FILE")
    for pipeline in found:
        counts = pipeline.counts
        say(
            f"{pipeline.pipeline} over {pipeline.collection}: {counts.records} records, {counts.done} done, "
            f"{counts.failed} failed, {counts.skipped} skipped, {counts.open} open"
        )
        rows = [(s.stage, s.version, s.open, s.tasks, _speed(s.seconds_per_record)) for s in pipeline.stages]
        table(("stage", "version", "open", "tasks", "speed"), rows)


def jobs(
    ctx: typer.Context,
    job: JobName = None,
    events: Annotated[bool, typer.Option("--events", help="What happened to the job, step by step.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="With --events: tell each as it happens, until the job has ended.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, metavar="NUMBER", help="So many at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """The newest jobs, or all about one. Of one job, the rows of its source that were set aside too."""
    if follow:
        _follow(ctx, job if events else None, as_json=as_json)
        return
    if job is not None:
        _one_job(ctx, job, events=events, limit=limit, as_json=as_json)
        return
    with opened(ctx) as app:
        found = app.jobs(limit=limit)
    if as_json:
        document({"jobs": found})
        return
    if not found:
        say("There are no jobs yet.")
        return
    rows = [
        (j.id, j.pipeline, j.state, j.counts.records, j.counts.done, j.counts.failed, j.set_aside, moment(j.created))
        for j in found
    ]
    table(("job", "pipeline", "state", "records", "done", "failed", "set aside", "created"), rows)


def failures(
    ctx: typer.Context,
    job: JobName = None,
    codes: Annotated[bool, typer.Option("--codes", help="Every code there is, and how many have it.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, metavar="NUMBER", help="So many at most.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """What failed and is not mended. Each with id, stage, code, why, attempts and workers."""
    with opened(ctx) as app, patience("Looking through results"):
        found = app.failures(job, limit=limit)
    if codes:
        _tell_codes(Counter((row.code, row.stage) for row in found), as_json=as_json)
        return
    if as_json:
        document({"failures": found})
        return
    if not found:
        say("Nothing failed.")
        return
    rows = [(r.collection, r.id, r.stage, r.code, r.attempts, ", ".join(r.workers), r.message) for r in found]
    table(("collection", "id", "stage", "code", "attempts", "workers", "why"), rows)
    if len(found) == limit:
        say(f"These are the first {limit}; see more with --limit.")


def _tell_codes(counted: Counter[tuple[str, str]], *, as_json: bool) -> None:
    """Every failure code with its default number of tries, and the records that have it now, by stage."""
    # Imported here so that `limner --help` stays quick.
    from limner.domain.failures import FailureCode
    from limner.domain.retry import default_attempts

    tries = default_attempts()
    rows = []
    for code in FailureCode:
        stages = {stage: count for (one, stage), count in counted.items() if one == code.value}
        rows.append((code.value, tries.get(code, 1), sum(stages.values()), stages))
    if as_json:
        names = ("code", "tries", "records", "stages")
        document({"codes": [dict(zip(names, row, strict=True)) for row in rows]})
        return
    told = [(*row, ", ".join(f"{stage} {count}" for stage, count in stages.items())) for *row, stages in rows]
    table(("code", "tries", "records", "stages"), told)


def why(
    ctx: typer.Context,
    collection: CollectionName,
    identity: Annotated[str, typer.Argument(metavar="ID", help="Id of a record.")],
    stage: Annotated[str | None, typer.Option(metavar="STAGE", help="Only what this stage said.")] = None,
    as_json: AsJson = False,
) -> None:
    """Where everything known of a record came from. Down to the digests of inputs and models."""
    with opened(ctx) as app:
        found = app.why(collection, identity, stage=stage)
    if as_json:
        document(found)
    else:
        _tell_why(found)


def audit(
    ctx: typer.Context,
    pipeline: Annotated[
        str | None, typer.Argument(metavar="PIPELINE", help="A pipeline; all that were run here if not given.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Compare with this source too: a folder or a file.")
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended by itself.")] = False,
    library: Annotated[
        Path | None,
        typer.Option("--library", metavar="FILE", help="Account for every row of this file instead, job by job."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What is missing between records, results and index. Exit status 1 where anything is."""
    if library is not None:
        if pipeline or source or repair:
            raise UsageError(
                "--library accounts for the rows of a file, and goes without PIPELINE, --source, --repair."
            )
        _audit_library(ctx, existing(library), as_json=as_json)
        return
    with opened(ctx) as app:
        names = [pipeline] if pipeline else [one.pipeline for one in app.status() if one.counts.records]
        found = {}
        for name in names:
            with interruptible(ctx), patience(f"Auditing {name}"):
                found[name] = app.audit(name, repair=repair, source=source)
    clean = all(one.clean for one in found.values())
    if as_json:
        document({"clean": clean, "pipelines": {name: _counted(one) for name, one in found.items()}})
    else:
        for name, one in found.items():
            say(f"{name}: {'nothing is missing' if one.clean else 'not whole'}")
            gaps = [(kind, gap.count, ", ".join(gap.ids[:_SHOWN])) for kind, gap in one.classes.items() if gap.count]
            if gaps:
                table(("class", "records", "for example"), gaps)
            if not one.clean:
                say(_mended(name, one, repaired=repair))
    if not clean:
        raise typer.Exit(SOME_FAILED)


def _audit_library(ctx: typer.Context, library: Path, *, as_json: bool) -> None:
    """Account for every row of a file in the jobs that worked on it."""
    from limner.app.library_audits import library_reports

    with opened(ctx) as app, patience(f"Auditing {library.name}"):
        found = library_reports(app, library)
    clean = not any(report.problems for report in found)
    if as_json:
        document({"clean": clean, "jobs": found})
    else:
        for report in found:
            say(f"{report.about}, {report.job}: {'every row is accounted for' if not report.problems else 'not whole'}")
            table(("rows", "number"), report.counts.items())
            if report.nulls:
                table(("column without a value", "rows"), report.nulls.items())
            say(*(f"  {problem}" for problem in report.problems))
    if not clean:
        raise typer.Exit(SOME_FAILED)


def _counted(found: "Audit") -> dict[str, object]:
    return {"clean": found.clean, "records": found.records, "classes": found.classes}


def _mended(name: str, found: "Audit", *, repaired: bool) -> str:
    """What mends the gaps that were found."""
    if found.classes["failed"].count and (repaired or found.classes["failed"].count == _gaps(found)):
        return "Try what failed again: limner retry --failed"
    return "It could not be mended by itself." if repaired else f"Mend it: limner audit {name} --repair"


def _gaps(found: "Audit") -> int:
    return sum(gap.count for kind, gap in found.classes.items() if kind != "skipped")


def _one_job(ctx: typer.Context, job: str, *, events: bool, limit: int, as_json: bool) -> None:
    with opened(ctx) as app:
        found = app.job(job)
        with app.store.reading() as tx:
            happened = tx.jobs.events(job) if events else []
            aside = tx.jobs.rows_aside(job, limit=limit)
    rows = [{"row": row, "code": code, "reason": reason, "excerpt": excerpt} for row, code, reason, excerpt in aside]
    if as_json:
        from msgspec import to_builtins

        document({**to_builtins(found), "rows_set_aside": rows, **({"events": happened} if events else {})})
        return
    _tell_job(found)
    for event in happened:
        say(_event(event))
    if rows:
        say(f"\nRows of the source that could not become records ({len(rows)} of {found.set_aside}):")
        table(("row", "code", "why", "begins"), [list(row.values()) for row in rows])


def _follow(ctx: typer.Context, job: str | None, *, as_json: bool) -> None:
    """Tell the events of a job as they come, each once; as JSON one a line."""
    if job is None:
        raise UsageError("--follow tells the events of one job: limner jobs JOB --events --follow")
    from msgspec import json

    told = 0
    with opened(ctx) as app:
        while True:
            with app.store.reading() as tx:
                ended = tx.jobs.get(job).state.ended
                happened = tx.jobs.events(job)
            for event in happened[told:]:
                say(json.encode(event).decode() if as_json else _event(event))
            told = len(happened)
            if ended:
                return
            time.sleep(_OFTEN)


def _event(event: "Event") -> str:
    detail = ", ".join(f"{key} {value}" for key, value in event.detail.items())
    return f"{moment(event.at)}  {event.kind}{f'  {detail}' if detail else ''}"


def _tell_job(found: "JobStatus") -> None:
    counts = found.counts
    ended = f", ended {moment(found.ended)}" if found.ended else ""
    say(
        f"{found.id} of {found.pipeline} is {found.state} (round {found.round}), created {moment(found.created)}{ended}"
    )
    say(
        f"{counts.records} records: {counts.done} done, {counts.failed} failed, {counts.skipped} skipped, "
        f"{counts.cancelled} cancelled, {counts.open} open; {found.set_aside} rows set aside"
    )
    say(f"{found.inferred} outputs inferred, {found.reused} reused")


def _tell_why(found: "Why") -> None:
    facts = {
        "state": found.state,
        "parent": found.parent,
        "revision": found.revision,
        "source version": found.source_version,
    }
    say(f"{found.collection} {found.id}", *(f"  {key}: {value}" for key, value in facts.items() if value is not None))
    if not found.origins:
        say("No stage has said anything about it yet.")
    for origin in found.origins:
        _tell_origin(origin)


def _tell_origin(origin: "Origin") -> None:
    variant = f" ({origin.variant})" if origin.variant else ""
    served = "" if origin.active else ", superseded"
    say(f"\n{origin.stage}/{origin.implementation}{variant}: {origin.status}{served}")
    when = f"{moment(origin.started)} to {moment(origin.ended)} UTC" if origin.ended else None
    facts = {
        "why": origin.explanation,
        "version": origin.version,
        "code": origin.code,
        "parameters": _listed(origin.params),
        "environment": _listed(origin.environment),
        "model": origin.model,
        "model digest": origin.model_digest,
        "input digest": origin.input_digest,
        "asked digest": origin.asked_digest,
        "value digest": origin.value_digest,
        "worker": origin.worker,
        "task": origin.task,
        "attempts": origin.attempts,
        "worked": when,
        "inferring": span(origin.seconds) if origin.seconds is not None else None,
    }
    say(*(f"  {key}: {value}" for key, value in facts.items() if value not in (None, "")))
    if origin.history:
        say("  history:", *(f"    {line}" for line in origin.history))


def _listed(values: Mapping[str, object]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())


def _speed(seconds: float | None) -> str:
    return "" if not seconds else f"{1 / seconds:,.1f} records/s"


VERBS: tuple[Callable[..., None], ...] = (status, jobs, failures, why, audit)
