"""Verbs that work: run, plan, retry, cancel."""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli.options import AsJson, Choose, Full, Ids, PipelineName, ShapeName, Since, Until, choices_of, many
from limner.cli.output import document, patience, say, span, table
from limner.cli.progress import Bar
from limner.cli.root import SOME_FAILED
from limner.cli.session import interruptible, opened
from limner.errors import NotFound

if TYPE_CHECKING:
    from limner.app.app import App
    from limner.app.running import Summary
    from limner.engine.estimate import Plan

#: Failures that a summary counts by their codes.
_LOOKED_AT = 1000


def run(
    ctx: typer.Context,
    pipeline: PipelineName,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE",
            help="Folders, files (CSV, JSON Lines, Parquet, list of URLs), - for standard input; none: what is stored.",
        ),
    ] = None,
    ids: Ids = None,
    since: Since = None,
    until: Until = None,
    full: Full = False,
    choose: Choose = None,
    collection: Annotated[
        str | None,
        typer.Option(
            metavar="COLLECTION", help="The collection that the source fills; the pipeline's own if not given."
        ),
    ] = None,
    shape: ShapeName = None,
    priority: Annotated[int, typer.Option(metavar="NUMBER", help="Lower numbers are worked on first.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Take records in and work until all is current. Exit status 1 where some failed; Ctrl-C loses nothing."""
    from limner.sources.times import window

    chosen, between = choices_of(choose), window(since=since, until=until)
    with opened(ctx) as app:
        with interruptible(ctx), Bar(pipeline) as bar:
            summary = app.run(
                pipeline,
                sources,
                collection=collection,
                shape=shape,
                ids=many(ids, option="--ids"),
                since=between.since,
                until=between.until,
                full=full,
                choices=chosen,
                priority=priority,
                progress=bar,
            )
        _end(app, summary, title=pipeline, as_json=as_json)


def retry(
    ctx: typer.Context,
    job: Annotated[
        str | None, typer.Argument(metavar="JOB", help="A job; the newest one in which something failed if not given.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only what failed, and not what was cancelled.")] = False,
    as_json: AsJson = False,
) -> None:
    """Try failed and cancelled records of a job again."""
    with opened(ctx) as app:
        chosen = job or _newest_with_failures(app, cancelled=not failed)
        with interruptible(ctx), Bar(chosen) as bar:
            summary = app.retry(chosen, cancelled=not failed, progress=bar)
        _end(app, summary, title=chosen, as_json=as_json)


def cancel(
    ctx: typer.Context, job: Annotated[str, typer.Argument(metavar="JOB", help="A job.")], as_json: AsJson = False
) -> None:
    """Stop a job; what it finished stays."""
    with opened(ctx) as app:
        counts = app.cancel(job)
    if as_json:
        from msgspec import structs

        document({"job": job, **structs.asdict(counts)})
        return
    say(f"{job} is cancelled: {counts.done} done, {counts.failed} failed, {counts.cancelled} cancelled.")
    say(f"Go on with it: limner retry {job}")


def plan(
    ctx: typer.Context,
    pipeline: PipelineName,
    ids: Ids = None,
    since: Since = None,
    until: Until = None,
    full: Full = False,
    choose: Choose = None,
    as_json: AsJson = False,
) -> None:
    """What a run would recompute, and why. How many records, and about how long; runs nothing."""
    from limner.sources.times import window

    chosen, only, between = choices_of(choose), many(ids, option="--ids"), window(since=since, until=until)
    with opened(ctx) as app, patience(f"Planning {pipeline}"):
        found = app.plan(pipeline, ids=only, since=between.since, until=between.until, full=full, choices=chosen)
    if as_json:
        stages = {
            name: {"stale": s.stale, "reasons": s.reasons, "seconds": s.seconds, "possible": s.possible}
            for name, s in found.stages.items()
        }
        document({"stages": stages, "records": found.records, "downloads": found.downloads, "waiting": found.waiting})
        return
    _tell_plan(found)


def _newest_with_failures(app: "App", *, cancelled: bool) -> str:
    for job in app.jobs(limit=_LOOKED_AT):
        if job.counts.failed or (cancelled and job.counts.cancelled):
            return job.id
    raise NotFound("There is no job in which something failed, so there is nothing to retry; see: limner jobs")


def _end(app: "App", summary: "Summary", *, title: str, as_json: bool) -> None:
    """Tell how a run ended, by its exit status too."""
    if as_json:
        document(summary)
    else:
        _tell(app, summary, title=title)
    if summary.failed or summary.cancelled or any(counts.failed for counts in (summary.rows or {}).values()):
        raise typer.Exit(SOME_FAILED)


def _tell(app: "App", summary: "Summary", *, title: str) -> None:
    ends = ("done", "failed", "skipped", "cancelled")
    counts = [f"{getattr(summary, end)} {end}" for end in ends if getattr(summary, end) or end == "done"]
    say(f"{title}: {summary.records} records, {', '.join(counts)}")
    rate = f", {summary.records / summary.seconds:,.1f} records/s" if summary.seconds else ""
    say(f"{summary.inferred} outputs inferred, {summary.reused} reused, in {span(summary.seconds)}{rate}")
    for stage, rows in (summary.rows or {}).items():
        other = [f", {count:,} {word}" for word, count in (("failed", rows.failed), ("skipped", rows.skipped)) if count]
        say(f"{stage}: {rows.done:,} rows done{''.join(other)}")
    if summary.set_aside:
        say(f"{summary.set_aside} rows of the source became no records; which and why: limner jobs {summary.job}")
    if summary.failed:
        found = app.failures(summary.job, limit=_LOOKED_AT)
        say(f"\nFailed{_partly(len(found))}:")
        table(("stage", "code", "records"), [(*of, n) for of, n in Counter((f.stage, f.code) for f in found).items()])
        say(f"\nWhich and why:  limner failures {summary.job}", f"Try again:      limner retry {summary.job}")
    elif summary.cancelled:
        say(f"\nGo on with it:  limner retry {summary.job}")


def _partly(count: int) -> str:
    return f", of the first {count}" if count == _LOOKED_AT else ""


def _tell_plan(found: "Plan") -> None:
    if not found.stale and not found.waiting:
        say(f"{found.pipeline}: {found.records} records, all of it current.")
        return
    say(f"{found.pipeline}: {found.records} records, {found.stale} outputs to infer, {found.downloads} files to fetch.")
    rows = [
        (
            name,
            stage.stale,
            ", ".join(f"{count} {reason}" for reason, count in sorted(stage.reasons.items())),
            stage.possible or "",
            span(stage.seconds) if stage.stale else "",
        )
        for name, stage in found.stages.items()
    ]
    table(("stage", "stale", "why", "perhaps more", "about"), rows)
    for stage, reason in found.waiting.items():
        say(f"{stage} waits: {reason}")


VERBS: tuple[Callable[..., None], ...] = (run, plan, retry, cancel)
