"""Looks at a project's settings and at every connected part: what is wrong, and what to do about it."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

from msgspec import Struct

from limner.app.app import App
from limner.app.lock import EngineLock, alive
from limner.domain.pipelines import Implementation, Pipeline, Stage
from limner.domain.tasks import ANSWERS
from limner.errors import LimnerError, MissingExtra
from limner.events.connect import connect_events
from limner.search.mapping import mapping_of
from limner.settings import load_project, structs_fields
from limner.worker.describe import describe_all

_MEGABYTE = 1_000_000
#: Free bytes below which work will stop soon, and below which it is said.
_TOO_LITTLE, _LITTLE = 100 * _MEGABYTE, 1000 * _MEGABYTE
#: Variables that only a far worker reads.
_OF_WORKERS = {"LIMNER_URL", "LIMNER_TOKEN", "LIMNER_TOKEN_FILE"}
_EXTRAS = {
    "pictures": ("numpy", "PIL"),
    "onnx": ("numpy", "onnxruntime"),
    "tables": ("pyarrow",),
    "search": ("numpy", "usearch"),
    "rabbitmq": ("pika",),
    "s3": ("s3fs",),
    "catalogue": ("numpy", "PIL", "onnxruntime", "onnx", "sklearn", "usearch"),
}


class State(StrEnum):
    """How a part is."""

    SOUND = "sound"
    #: Worth knowing; nothing stops.
    NOTE = "note"
    WRONG = "wrong"


class Finding(Struct, frozen=True, kw_only=True):
    """What was found about one part."""

    part: str
    state: State
    said: str
    #: What to do about it; empty where nothing is to do.
    remedy: str = ""


def examine(folder: Path, *, options: Mapping[str, object]) -> list[Finding]:
    """What is found about the project in *folder* with *options*; a part that is broken hides no other."""
    try:
        project = load_project(folder, options=options)
    except LimnerError as error:
        return [
            _wrong("settings", str(error), "Correct it in limner.toml, LIMNER_* or the option; see docs/settings.md")
        ]
    found = [_sound("settings", f"{project.folder}"), *_unknown_variables(os.environ)]
    with App(project) as app:
        parts: dict[str, Callable[[App], Iterator[Finding]]] = {
            "store": _store,
            "disk": _disk,
            "engine": _engine,
            "bus": _bus,
            "artifacts": _artifacts,
            "events": _events,
            "cache": _cache,
            "systems": _systems,
            "pipelines": _pipelines,
        }
        for part, look in parts.items():
            found += _guarded(part, look, app)
    return [*found, *_extras()]


def _guarded(part: str, look: Callable[[App], Iterator[Finding]], app: App) -> list[Finding]:
    """What *look* finds; what it raises is a finding too."""
    found: list[Finding] = []
    try:
        found.extend(look(app))
    except MissingExtra as error:
        found.append(_wrong(part, str(error), f"pip install 'limner[{error.extra}]'"))
    except LimnerError as error:
        found.append(_wrong(part, str(error), _REMEDIES.get(part, "")))
    except OSError as error:
        found.append(_wrong(part, f"{error.filename or part}: {error.strerror or error}", _REMEDIES.get(part, "")))
    return found


_REMEDIES = {
    "store": "Correct the setting `store`, or see who may write there",
    "bus": "Correct the setting `bus`, or start what it names",
    "artifacts": "Correct the setting `artifacts`, or see who may write there",
    "events": "Correct the setting `events`, or start what it names",
    "cache": "Correct the setting `cache`, or see who may write there",
    "systems": "Install the system again, or remove it",
    "pipelines": "Correct the pipeline file, or the setting `pipelines`",
}


def _unknown_variables(environment: Mapping[str, str]) -> list[Finding]:
    known = {f"LIMNER_{item.encode_name.upper()}" for item in structs_fields()} | _OF_WORKERS
    unknown = sorted(n for n in environment if n.startswith("LIMNER_") and n not in known and "_TEST_" not in n)
    return [_note("settings", f"{name} sets nothing", "Correct its name; see docs/settings.md") for name in unknown]


def _store(app: App) -> Iterator[Finding]:
    with app.store.transaction() as tx:
        size, jobs = tx.size, tx.jobs.count()
    yield _sound("store", f"{app.settings.store}: {size // _MEGABYTE} MB, {jobs} jobs, may be written")


def _disk(app: App) -> Iterator[Finding]:
    free = shutil.disk_usage(app.project.folder).free
    said = f"{free // _MEGABYTE:,} MB are free"
    if free < _LITTLE:
        state = State.WRONG if free < _TOO_LITTLE else State.NOTE
        yield Finding(part="disk", state=state, said=said, remedy="Make room, or move .limner to another disk")
    else:
        yield _sound("disk", said)


def _engine(app: App) -> Iterator[Finding]:
    holder = EngineLock(app.project.path(".limner/engine.lock")).holder()
    with app.store.reading() as tx:
        jobs = tx.jobs.open()
    if jobs and not (holder and alive(holder)):
        told = f"{len(jobs)} jobs are open and no process works on them: {', '.join(job.id for job in jobs[:3])}"
        yield _note("engine", told, f"limner run {jobs[0].pipeline} goes on with them, limner cancel JOB stops one")
    else:
        yield _sound("engine", f"{len(jobs)} jobs are open")


def _bus(app: App) -> Iterator[Finding]:
    trouble = app.bus.trouble()
    if trouble:
        yield _wrong("bus", trouble, "Start the broker, or free memory or disk on its machine, as the sentence says")
        return
    app.bus.count(ANSWERS)
    yield _sound("bus", f"{app.settings.bus.partition(':')[0]}: messages move")
    limit = app.bus.hold_limit
    for pipeline in app.declared.own.values() if limit else ():
        for stage in pipeline.stages:
            longest = max(stage.timeout_of(way) for way in stage.implementations)
            if limit and longest >= limit:
                said = (
                    f"One call of {pipeline.name}.{stage.name} may take {longest.total_seconds():g} s, and the "
                    f"broker takes a task away that is held for {limit.total_seconds():g} s (consumer_timeout)"
                )
                remedy = "Raise it there and in the setting `bus` (?consumer_timeout=SECONDS), or lower the timeout"
                yield _wrong("bus", said, remedy)


def _artifacts(app: App) -> Iterator[Finding]:
    token = os.urandom(16)
    app.artifacts.delete(app.artifacts.put(token))
    yield _sound("artifacts", f"{app.settings.artifacts}: may be written")


def _events(app: App) -> Iterator[Finding]:
    if not app.settings.events:
        return
    with closing(connect_events(app.settings.events)) as publisher:
        publisher.publish([])
    yield _sound("events", f"{app.settings.events.partition(':')[0]}: the broker takes them")


def _cache(app: App) -> Iterator[Finding]:
    folder = app.project.path(app.settings.cache)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        yield _sound("cache", f"{app.settings.cache}: may be written")


def _systems(app: App) -> Iterator[Finding]:
    yield _sound("systems", ", ".join(sorted(app.declared.systems)) or "none are installed")


def _pipelines(app: App) -> Iterator[Finding]:
    with app.store.reading() as tx:
        run_here = {node.pipeline for node in tx.nodes.all()}
    known = app.declared.pipelines
    chosen = {name: known[name] for name in known if name in app.declared.own or name in run_here}
    if not chosen:
        yield _note("pipelines", "The project declares none", "Write a pipeline.py: limner init FOLDER shows one")
    for pipeline in chosen.values():
        yield from _implementations(app, pipeline)
        yield from _index(app, pipeline)


def _implementations(app: App, pipeline: Pipeline) -> Iterator[Finding]:
    """Whether each implementation can be loaded and has its model."""
    ways = {
        (stage.name, name): (stage, way) for stage in pipeline.stages for name, way in stage.implementations.items()
    }
    described = describe_all(
        {f"{stage}/{name}": way for (stage, name), (_, way) in ways.items()},
        project=app.project.folder,
        allow_hosts=app.settings.allow_hosts,
        log=_log(app),
    )
    well = 0
    for (name, implementation), (stage, way) in ways.items():
        part = f"pipeline {pipeline.name}, stage {name}/{implementation}"
        problem = described[f"{name}/{implementation}"].problem
        lacking = _lacking_model(app, way)
        if problem:
            yield _by_need(stage, implementation, part, problem, "Correct the inferrer, or install what it needs")
        elif lacking:
            remedy = f"limner models add {lacking.partition('@')[0]} FILE, or train it"
            yield _by_need(stage, implementation, part, f"There is no model {lacking}", remedy)
        else:
            well += 1
    yield _sound(f"pipeline {pipeline.name}", f"{well} of {len(ways)} implementations can be used")


def _log(app: App) -> Path:
    file = app.project.path(".limner/inferrers.log")
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def _lacking_model(app: App, way: Implementation) -> str | None:
    """The model that *way* needs and that is neither there nor shipped with a system."""
    if way.model is None:
        return None
    name = way.model.partition("@")[0]
    with app.store.reading() as tx:
        there = tx.models.find(way.model) is not None
        known = bool(tx.models.listing(name))
    shipped = any(name in system.models for system in app.declared.systems.values())
    return None if there or (shipped and not known) else way.model


def _by_need(stage: Stage, implementation: str, part: str, said: str, remedy: str) -> Finding:
    """Only what a plain run needs is wrong when it is not there."""
    if stage.required and implementation == stage.default:
        return _wrong(part, said, remedy)
    return _note(part, said, remedy)


def _index(app: App, pipeline: Pipeline) -> Iterator[Finding]:
    if mapping_of(pipeline) == type(mapping_of(pipeline))():
        return
    part = f"index of {pipeline.name}"
    name = f"{pipeline.name}.{pipeline.collection}"
    try:
        with closing(app.indexes.open(name)) as index:
            generations = index.generations()
    except MissingExtra as error:
        yield _note(part, str(error), f"pip install 'limner[{error.extra}]'")
        return
    except LimnerError as error:
        yield _wrong(part, str(error), "Correct the setting `index`, or start what it names; it can be built anew")
        return
    current = [g for g in generations if g.current]
    if current:
        yield _sound(part, f"{current[0].documents} documents")
    else:
        yield _note(part, "It is not built yet", f"limner index {pipeline.name}")


def _extras() -> list[Finding]:
    found = []
    for extra, modules in _EXTRAS.items():
        lacking = [module for module in modules if find_spec(module) is None]
        if lacking:
            found.append(_note(f"extra {extra}", f"lacks {', '.join(lacking)}", f"pip install 'limner[{extra}]'"))
        else:
            found.append(_sound(f"extra {extra}", "is installed"))
    return found


def _sound(part: str, said: str) -> Finding:
    return Finding(part=part, state=State.SOUND, said=said)


def _note(part: str, said: str, remedy: str) -> Finding:
    return Finding(part=part, state=State.NOTE, said=said, remedy=remedy)


def _wrong(part: str, said: str, remedy: str) -> Finding:
    return Finding(part=part, state=State.WRONG, said=said, remedy=remedy)
