"""Verbs of far workers: worker serves a server from here, workers shows who works for a project."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli.options import AsJson
from limner.cli.output import document, moment, say, span, table, warn
from limner.cli.session import opened, session_of
from limner.cli.signals import heed_signals
from limner.errors import UsageError

if TYPE_CHECKING:
    from limner.app.far_worker import FarSettings, FarWorker
    from limner.app.workers_view import WorkersView
    from limner.settings import Project

_MEGABYTE = 1_000_000
_TIME = re.compile(r"(?:(?P<days>\d+)d)?(?:(?P<hours>\d+)h)?(?:(?P<minutes>\d+)m)?(?:(?P<seconds>\d+)s)?")
_UNITS = {"": 1, "KB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}


def worker(
    ctx: typer.Context,
    url: Annotated[
        str,
        typer.Option("--url", metavar="URL", envvar="LIMNER_URL", help="The server: https://host, http://host:port."),
    ],
    stage: Annotated[
        list[str] | None, typer.Option("--stage", metavar="STAGE", help="Only this stage; may be given several times.")
    ] = None,
    implementation: Annotated[
        list[str] | None,
        typer.Option("--implementation", metavar="NAME", help="Only this implementation; may be given several times."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option("--token", metavar="TOKEN", help="In place of LIMNER_TOKEN; other users may see it."),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help="A file that only its owner may read.")
    ] = None,
    parallel: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="Inferrers of each implementation.")] = 1,
    walltime: Annotated[
        str | None, typer.Option(metavar="TIME", help="End after so long: SECONDS, HH:MM:SS, D-HH:MM:SS or 5h30m.")
    ] = None,
    max_bytes_in_flight: Annotated[
        str | None, typer.Option(metavar="BYTES", help="Of files of the tasks in hand, for example 64MB.")
    ] = None,
    max_records: Annotated[
        int | None, typer.Option(min=1, metavar="NUMBER", help="Records that one question for tasks asks for.")
    ] = None,
    idle_exit: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="End once nothing was to do for so long.")
    ] = None,
    grace: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="What is in hand is given so long when it is to stop.")
    ] = 30.0,
    device: Annotated[str | None, typer.Option(metavar="DEVICE", help="Where inferrers run: cpu, cuda:0.")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What the worker is called.")] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Workers as actors of a Ray cluster: auto, HOST:PORT, or local to start one here."
        ),
    ] = None,
    least: Annotated[int | None, typer.Option("--min", min=0, metavar="NUMBER", help="Of actors; 0.")] = None,
    most: Annotated[int | None, typer.Option("--max", min=1, metavar="NUMBER", help="Of actors; 10.")] = None,
    records_per_actor: Annotated[
        int | None, typer.Option(min=1, metavar="NUMBER", help="Open records for each actor that is started; 1000.")
    ] = None,
    cpus: Annotated[float | None, typer.Option(min=0, metavar="NUMBER", help="That an actor takes; 1.")] = None,
    gpus: Annotated[float | None, typer.Option(min=0, metavar="NUMBER", help="That an actor takes; 0.")] = None,
    poll: Annotated[
        float | None, typer.Option(min=0.1, metavar="SECONDS", help="How often the backlog is asked for; 15.")
    ] = None,
    cooldown: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="Actors go once fewer were asked for all this time; 300."),
    ] = None,
    backlog: Annotated[
        str | None, typer.Option(metavar="URL", help="The server that tells the backlog, where --url is a broker.")
    ] = None,
    of_project: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only the backlog of this project of the server counts.")
    ] = None,
) -> None:
    """Serve a server from this machine. Needs one outbound connection, and listens on nothing."""
    from limner.app.far_worker import FarSettings
    from limner.server_client import token_from
    from limner.settings import load_project

    session = session_of(ctx)
    project = load_project(session.folder, options=session.options)
    settings = FarSettings(
        url=url,
        token=token_from(token, file=token_file),
        stages=stage or (),
        implementations=implementation or (),
        parallel=parallel,
        walltime=None if walltime is None else duration(walltime),
        max_bytes_in_flight=None if max_bytes_in_flight is None else size(max_bytes_in_flight),
        max_records=max_records,
        idle_exit=None if idle_exit is None else timedelta(seconds=idle_exit),
        grace=timedelta(seconds=grace),
        device=device,
        name=name,
    )
    from limner.cli.on_ray import OnRay, work_on_ray

    asked = OnRay(
        least=least,
        most=most,
        records_per_actor=records_per_actor,
        cpus=cpus,
        gpus=gpus,
        poll=poll,
        cooldown=cooldown,
        backlog=backlog,
        of_project=of_project,
    )
    if ray is None:
        asked.none_given()
        made_here(project, settings).run()
    else:
        work_on_ray(ray, asked, project=project, options=session.options, worker=settings)


def made_here(project: "Project", settings: "FarSettings") -> "FarWorker":
    """A worker of this process, which signals stop in good order."""
    from limner.app.far_worker import FarWorker
    from limner.app.machine import age
    from limner.cli.logs import configure

    project.home.mkdir(parents=True, exist_ok=True)
    configure(project.home / "worker.log")
    made = FarWorker(project, settings, say=warn, age=age())
    # What is in hand is finished or given back: nothing of it is lost, and the exit status is 0.
    heed_signals(made.stopping)
    return made


def workers(
    ctx: typer.Context,
    drain: Annotated[
        str | None, typer.Option("--drain", metavar="WORKER", help="Ask one to stop after what it has in hand.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Who works for the project, and who serves what. Live, stale or gone, backlog and speed."""
    from limner.app.workers_view import workers_view

    with opened(ctx) as app:
        if drain is not None:
            with app.store.transaction() as tx:
                if not tx.workers.drain(drain):
                    raise UsageError(f"No worker {drain} is known here; `limner workers` lists them.")
        found = workers_view(app.store, now=app.clock.now())
        now = app.clock.now()
    if as_json:
        document(found)
    else:
        _tell(found, now=now)


def _tell(found: "WorkersView", *, now: float) -> None:
    if not found.workers:
        say("No far worker said hello within a day; the server's own workers are not listed.")
    else:
        rows = [
            (
                *(one.id, one.state.value, span(max(0.0, now - one.last_seen)), moment(one.last_progress)),
                *(len(one.busy), one.records, _rate(one.records_per_minute), _megabytes(one.rss_bytes)),
                ", ".join(served.address for served in one.serves),
            )
            for one in found.workers
        ]
        titles = ("worker", "state", "seen before", "progress", "busy", "records", "a minute", "memory", "serves")
        table(titles, rows)
    if found.implementations:
        say("")
        shown = [
            (one.address, one.live, one.ready, one.backlog, _age(one.oldest_s), _age(one.p50_s), _age(one.p95_s))
            for one in found.implementations
        ]
        table(("implementation", "live", "ready", "backlog", "oldest", "p50", "p95"), shown)


def duration(text: str, *, option: str = "--walltime") -> timedelta:
    """
    A time as SLURM writes it, ``90`` (seconds), ``MM:SS``, ``HH:MM:SS`` or ``D-HH:MM:SS``; or by units, ``5h30m``.

    Raises:
        UsageError: it is none.
    """
    units = _TIME.fullmatch(text.strip())
    if units is not None and units.group():
        return timedelta(**{unit: int(number) for unit, number in units.groupdict().items() if number})
    days, dash, rest = text.strip().partition("-")
    parts = (rest if dash else days).split(":")
    if not all(part.isdecimal() for part in parts) or len(parts) > 3 or (dash and not days.isdecimal()):
        raise UsageError(f"{option} {text} is no time; write seconds, MM:SS, HH:MM:SS, D-HH:MM:SS or 5h30m.")
    seconds = 0
    for part in parts:
        seconds = 60 * seconds + int(part)
    return timedelta(days=int(days) if dash else 0, seconds=seconds)


def size(text: str) -> int:
    """
    Bytes, with or without a unit: ``64MB``, ``1GiB``.

    Raises:
        UsageError: it is none.
    """
    number = text.strip().rstrip("KMGIBkmgib")
    unit = text.strip()[len(number) :].upper()
    try:
        return int(float(number) * _UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        raise UsageError(f"{text} is no number of bytes; write for example 64MB.") from None


def _rate(per_minute: float | None) -> str:
    return "" if per_minute is None else f"{per_minute:.1f}"


def _megabytes(count: int | None) -> str:
    return "" if count is None else f"{count // _MEGABYTE} MB"


def _age(seconds: float | None) -> str:
    return "" if seconds is None else span(seconds)


VERBS: tuple[Callable[..., None], ...] = (worker, workers)
