"""Pipelines and their stages, as a user declares them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct, field

from limner.domain.outputs import AnyOutput, Artifact
from limner.domain.reads import Condition, Read
from limner.domain.retry import RetryPolicy
from limner.domain.slicing import sliced
from limner.domain.values import Value
from limner.errors import ConfigurationError, NotFound, UsageError

_NAME = re.compile(r"[a-z][a-z0-9_]*(-[a-z0-9_]+)*")
#: What an implementation infers by that lives only on outside workers.
EXTERNAL = "external"
#: Implementations by stage, as a job chooses them; see :func:`steps_of`.
Choices: TypeAlias = Mapping[str, Sequence[str]]


class StageKind(StrEnum):
    """What a stage makes of what it reads."""

    MAP = "map"
    EXPAND = "expand"
    GATHER = "gather"


class Implementation(Struct, frozen=True, kw_only=True):
    """One named way to do a stage."""

    #: ``package.module:Name`` of a class or function, or a built-in: ``onnx``, ``http``, ``given``; ``external`` is
    #: one that only outside workers hold.
    infer: str
    #: Name and alias or number of its model, for example ``codes@champion``.
    model: str | None = None
    #: Keyword arguments of the inferrer; part of the version.
    params: Mapping[str, Value] = field(default_factory=dict)
    #: What it is given in place of what the stage reads; None means just that.
    reads: Mapping[str, str | Read] | None = None
    #: Conditions in place of the stage's; None means those.
    when: tuple[Condition, ...] | None = None
    #: Whether it is light, where the stage says otherwise; None means as the stage says.
    light: bool | None = None
    #: Inputs of one call at most, and the limit on one call, where the stage says otherwise.
    batch: int | None = None
    timeout: timedelta | None = None


class Stage(Struct, frozen=True, kw_only=True):
    """One step of a pipeline, as :func:`stage` checked it."""

    name: str
    kind: StageKind
    implementations: Mapping[str, Implementation]
    #: The implementation that is used where a job does not choose.
    default: str
    reads: Mapping[str, Read]
    #: Collection of the records that it says something about; the pipeline's own if None.
    over: str | None = None
    #: Expand: the collection of the children. Gather: the collection of the members.
    of: str | None = None
    #: Expand: the fields of a child that identify it among its siblings.
    identity: tuple[str, ...] = ()
    #: Gather: what groups the members: ``parent``, or a field whose value is the holder's id.
    by: str | None = None
    #: Gather: the field of a member by which a group is ordered; its id otherwise.
    order: str | None = None
    #: Gather: what an absent or failed member does: ``run`` without it, or ``fail`` the group.
    missing: str = "run"
    outputs: Mapping[str, AnyOutput] = field(default_factory=dict)
    when: tuple[Condition, ...] = ()
    #: Its value holds ``keep``, and where that is false the stages listed after it skip the record.
    gate: bool = False
    required: bool = True
    #: Inputs that one call of the inferrer is given at most.
    batch: int = 32
    #: Records in one task at most; what travels, is leased and is retried. By default several batches.
    task_size: int = 256
    #: Limit on one call of the inferrer.
    timeout: timedelta = timedelta(seconds=60)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    #: ``process``: a child process that can be killed; ``thread``: in the worker itself, without a deadline.
    isolation: str = "process"
    #: Megabytes of memory that the inferrer's process may use beyond its start.
    memory_mb: int | None = None
    #: Costs next to nothing and needs nothing but what the server has: the server does it itself, even where it leaves
    #: all else to far workers.
    light: bool = False

    def chosen(self, name: str) -> Implementation:
        """The implementation called *name*."""
        try:
            return self.implementations[name]
        except KeyError:
            known = ", ".join(self.implementations)
            raise NotFound(f"Stage {self.name} has no implementation {name}; it has: {known}") from None

    def reads_of(self, implementation: str) -> dict[str, Read]:
        """What *implementation* is given, by the name of the input."""
        own = self.chosen(implementation).reads
        given = self.reads if own is None else own
        return {name: Read(path=read) if isinstance(read, str) else read for name, read in given.items()}

    def when_of(self, implementation: str) -> tuple[Condition, ...]:
        """The conditions of *implementation*."""
        own = self.chosen(implementation).when
        return self.when if own is None else own

    def batch_of(self, implementation: str) -> int:
        """Inputs that one call of *implementation* is given at most."""
        own = self.chosen(implementation).batch
        return self.batch if own is None else own

    def timeout_of(self, implementation: str) -> timedelta:
        """The limit on one call of *implementation*."""
        own = self.chosen(implementation).timeout
        return self.timeout if own is None else own

    def light_by(self, implementation: str) -> bool:
        """Whether a server does *implementation* itself in any case."""
        own = self.chosen(implementation).light
        return self.light if own is None else own


class Index(Struct, frozen=True, kw_only=True):
    """What of the records and results is searched, and how."""

    #: Paths searched as words, with their weights; a list means weight 1 each.
    text: Mapping[str, float] = field(default_factory=dict)
    #: Paths compared whole: equal, less, more.
    filters: tuple[str, ...] = ()
    #: Paths of vectors compared by likeness.
    vectors: tuple[str, ...] = ()
    #: By kind of query (``colour``): the vector path it searches and the plain function that encodes it.
    encoders: Mapping[str, "QueryEncoder"] = field(default_factory=dict)


class QueryEncoder(Struct, frozen=True, kw_only=True):
    """A plain function ``encode(value, **stage parameters) -> vector`` behind a kind of query."""

    #: Vector path that the query is compared with.
    on: str
    #: ``package.module:function``; given the stage's parameters that it names.
    encode: str
    #: Further arguments of the function; in no version, so that a change of them infers nothing again.
    params: Mapping[str, Value] = field(default_factory=dict)


class Pipeline(Struct, frozen=True, kw_only=True):
    """A checked DAG of stages over a collection, as :func:`pipeline` made it."""

    name: str
    collection: str
    stages: tuple[Stage, ...]
    index: Index = field(default_factory=Index)
    #: Wants all its stages for every record of its collection; otherwise only what jobs ask for.
    standing: bool = True
    #: Rows in a record, where it is over slices of a table; see :mod:`limner.domain.slicing`.
    slices: int | None = None
    #: A sentence that ``limner --help`` and the docs show.
    about: str = ""

    def stage(self, name: str) -> Stage:
        """The stage called *name*."""
        for found in self.stages:
            if found.name == name:
                return found
        raise NotFound(f"Pipeline {self.name} has no stage {name}; it has: {', '.join(s.name for s in self.stages)}")

    def over(self, stage: Stage) -> str:
        """The collection of the records that *stage* says something about."""
        return stage.over or self.collection

    def collections(self) -> list[str]:
        """Every collection that the pipeline touches, its own first."""
        names = [self.collection]
        for stage in self.stages:
            names += [name for name in (stage.over, stage.of) if name]
        return list(dict.fromkeys(names))


def steps_of(pipeline: Pipeline, choices: Choices) -> list[tuple[Stage, str]]:
    """
    The stages and implementations that *choices* make of a pipeline, in the order in which they stand.

    A stage that is not named has its default, one that is named with an empty list is left out. Where every stage is
    named, they stand in the order of the choices; a stage that stands there again is written ``classify#2``.

    Raises:
        NotFound: a stage or an implementation is unknown; the sentence names the known ones.
        UsageError: nothing is left.
    """
    named: dict[str, list[tuple[Stage, str]]] = {}
    for key, ways in choices.items():
        found = pipeline.stage(key.partition("#")[0])
        for way in ways:
            found.chosen(way)
        named[key] = [(found, way) for way in ways]
    declared = [stage.name for stage in pipeline.stages]
    if {key.partition("#")[0] for key in named} == set(declared):
        order = list(named)
    else:
        order = [key for name in declared for key in (name, *(k for k in named if k.startswith(f"{name}#")))]
    steps = []
    for key in order:
        steps += named[key] if key in named else [(pipeline.stage(key), pipeline.stage(key).default)]
    if not steps:
        raise UsageError(f"No stage of pipeline {pipeline.name} is chosen.")
    return steps


def make_index(
    *,
    text: Iterable[str] | Mapping[str, float] = (),
    filters: Iterable[str] = (),
    vectors: Iterable[str] = (),
    encoders: Mapping[str, QueryEncoder] | None = None,
) -> Index:
    """What of a pipeline is searched; *text* is a list of paths, or a mapping of paths to weights."""
    weights = dict(text) if isinstance(text, Mapping) else dict.fromkeys(text, 1.0)
    return Index(text=weights, filters=tuple(filters), vectors=tuple(vectors), encoders=encoders or {})


def make_stage(
    name: str,
    infer: str | None = None,
    *,
    reads: Mapping[str, str | Read],
    kind: str = "map",
    model: str | None = None,
    params: Mapping[str, Value] | None = None,
    implementations: Mapping[str, Implementation] | None = None,
    default: str | None = None,
    over: str | None = None,
    of: str | None = None,
    identity: Iterable[str] = (),
    by: str | None = None,
    order: str | None = None,
    missing: str = "run",
    outputs: Mapping[str, AnyOutput] | None = None,
    when: Condition | Iterable[Condition] = (),
    gate: bool = False,
    required: bool = True,
    batch: int = 32,
    task_size: int | None = None,
    timeout: timedelta = timedelta(seconds=60),
    retry: RetryPolicy | None = None,
    isolation: str = "process",
    memory_mb: int | None = None,
    light: bool = False,
) -> Stage:
    """
    Declare one step: *infer* names the inferrer, or *implementations* names several.

    Raises:
        ConfigurationError: the declaration contradicts itself; the sentence names the stage.
    """
    own = {} if infer is None else {"default": Implementation(infer=infer, model=model, params=dict(params or {}))}
    ways = {**own, **(implementations or {})}
    made = Stage(
        name=name,
        kind=_kind(name, kind),
        implementations=ways,
        default=default or next(iter(ways), ""),
        reads={key: Read(path=read) if isinstance(read, str) else read for key, read in reads.items()},
        over=over,
        of=of,
        identity=tuple(identity),
        by=by,
        order=order,
        missing=missing,
        outputs=dict(outputs or {}),
        when=(when,) if isinstance(when, Condition) else tuple(when),
        gate=gate,
        required=required,
        batch=batch,
        task_size=task_size or max(batch, min(512, batch * 8)),
        timeout=timeout,
        retry=retry or RetryPolicy(),
        isolation=isolation,
        memory_mb=memory_mb,
        light=light,
    )
    _check_stage(made)
    return made


def make_pipeline(
    name: str,
    *,
    collection: str,
    stages: Iterable[Stage],
    index: Index | None = None,
    standing: bool = True,
    slices: int | None = None,
    about: str = "",
) -> Pipeline:
    """
    Declare a DAG of stages over the records of *collection*, listed in an order in which they can run.

    With *slices*, a record is that many rows of a table, and each inferrer is given whole columns of them.

    Raises:
        ConfigurationError: a name stands twice, a read names no stage listed before it, or a stage cannot be done over
            slices.
    """
    if slices is not None:
        if slices < 1 or index is not None:
            raise ConfigurationError(f"Pipeline {name}: slices is a number of rows, and goes without an index.")
        stages = sliced(stages)
    made = Pipeline(
        name=name,
        collection=collection,
        stages=tuple(stages),
        index=index or Index(),
        standing=standing,
        slices=slices,
        about=about,
    )
    _check_pipeline(made)
    return made


def _kind(name: str, kind: str) -> StageKind:
    try:
        return StageKind(kind)
    except ValueError:
        raise ConfigurationError(f"Stage {name}: {kind!r} is no kind; use map, expand or gather.") from None


def _check_stage(stage: Stage) -> None:
    """Refuse a declaration that contradicts itself."""
    problems = {
        "needs a name of small letters, digits, _ and -": not _NAME.fullmatch(stage.name),
        "needs infer=, or implementations=": not stage.implementations,
        f"has no implementation {stage.default}": stage.default not in stage.implementations,
        "needs a batch of at least 1": any(stage.batch_of(way) < 1 for way in stage.implementations),
        "needs a task_size of at least its batch": stage.task_size < stage.batch,
        "reads nothing": not stage.reads,
        "reads a file that may be absent; a record without one is skipped, so leave optional out": any(
            read.file and read.optional for read in stage.reads.values()
        ),
        "needs isolation='process' or 'thread'": stage.isolation not in ("process", "thread"),
        "expands, so it needs of= (the children's collection) and identity=": stage.kind is StageKind.EXPAND
        and not (stage.of and stage.identity),
        "gathers, so it needs of= (the members' collection) and by=": stage.kind is StageKind.GATHER
        and not (stage.of and stage.by),
        "needs missing='run' or 'fail'": stage.missing not in ("run", "fail"),
        "gathers, which goes without when=": stage.kind is StageKind.GATHER
        and any(stage.when_of(way) for way in stage.implementations),
        "is a gate, which is a map": stage.gate and stage.kind is not StageKind.MAP,
        "expands, and its children cannot hold an Artifact; make it in a stage over the children": stage.kind
        is StageKind.EXPAND
        and any(isinstance(output, Artifact) for output in stage.outputs.values()),
        "gathers, so it reads values of its members, and no files or parents": stage.kind is StageKind.GATHER
        and any(read.file or read.path.startswith("parent.") for read in stage.reads.values()),
    }
    for problem, found in problems.items():
        if found:
            raise ConfigurationError(f"Stage {stage.name} {problem}.")


def _check_pipeline(pipeline: Pipeline) -> None:
    """Refuse duplicate names, and reads of a stage that stands later or says nothing about the record read."""
    seen: dict[str, str] = {}
    for stage in pipeline.stages:
        if stage.name in seen or stage.name in ("parent", "record"):
            raise ConfigurationError(f"Pipeline {pipeline.name}: the stage name {stage.name} is taken.")
        later = {s.name for s in pipeline.stages} - set(seen)
        reads = [read for way in stage.implementations for read in stage.reads_of(way).values()]
        conditions = [condition for way in stage.implementations for condition in stage.when_of(way)]
        for path in [read.path for read in reads] + [condition.path for condition in conditions]:
            first = path.removeprefix("parent.").split(".")[0]
            if first in later:
                raise ConfigurationError(f"Stage {stage.name} reads {first}, which is listed after it.")
        seen[stage.name] = pipeline.over(stage)
