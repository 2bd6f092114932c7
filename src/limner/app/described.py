"""The versions that a pipeline's implementations have now: what their own processes say, and which models are there."""

from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

from msgspec import Struct, structs

from limner.domain.nodes import Node
from limner.domain.pipelines import EXTERNAL, Implementation, Pipeline, Stage
from limner.domain.tasks import ModelRef
from limner.domain.versions import Description, Version, version_of
from limner.engine.views import View
from limner.errors import ConfigurationError
from limner.settings import Project
from limner.store.store import Transaction
from limner.store.workers import Offered
from limner.worker.describe import describe_all

#: Stage and implementation.
Way: TypeAlias = tuple[str, str]
#: Code version of an implementation of which no worker has said hello yet.
UNKNOWN = "unknown"


class Now(Struct, frozen=True, kw_only=True):
    """What a pipeline's nodes are now."""

    #: By node.
    versions: Mapping[int, Version]
    #: Optional stages that cannot run, and why.
    waiting: Mapping[str, str]


class Known(Struct, frozen=True, kw_only=True):
    """What the implementations of a pipeline are now, by stage and implementation."""

    versions: Mapping[Way, Version]
    #: Why the others cannot run.
    problems: Mapping[Way, str]


def now_of(tx: Transaction, view: View, project: Project) -> Now:
    """
    The versions that the nodes of *view* have now, asked of a short-lived child process.

    Raises:
        ConfigurationError: a required stage's inferrer cannot be loaded, or its model is not there.
    """
    known = known_of(tx, view.pipeline, project, ways={(n.stage.name, n.implementation) for n in view.nodes})
    versions: dict[int, Version] = {}
    waiting: dict[str, str] = {}
    for node in view.nodes:
        way = (node.stage.name, node.implementation)
        if way in known.versions:
            versions[node.pk] = known.versions[way]
        elif node.stage.required:
            raise ConfigurationError(f"Stage {node.stage.name} cannot run: {known.problems[way]}")
        else:
            waiting[node.stage.name] = known.problems[way]
    _drop_dependent(view.nodes, versions, waiting)
    return Now(versions=versions, waiting=waiting)


def version_now(tx: Transaction, view: View, node: Node, project: Project) -> Version:
    """
    The version that one node has now, asked of a short-lived child process.

    Raises:
        ConfigurationError: its inferrer cannot be loaded, or its model is not there.
    """
    way = (node.stage.name, node.implementation)
    known = known_of(tx, view.pipeline, project, ways={way})
    if way in known.problems:
        raise ConfigurationError(f"Stage {node.stage.name} cannot run: {known.problems[way]}")
    return known.versions[way]


def known_of(tx: Transaction, pipeline: Pipeline, project: Project, *, ways: Collection[Way] | None = None) -> Known:
    """The versions that implementations of *pipeline* have now, all of them if no *ways* are named."""
    stages = {
        (stage.name, name): (stage, way)
        for stage in pipeline.stages
        for name, way in stage.implementations.items()
        if ways is None or (stage.name, name) in ways
    }
    here = {"/".join(key): way for key, (_, way) in stages.items() if way.infer != EXTERNAL}
    described = describe_all(here, project=project.folder, allow_hosts=project.settings.allow_hosts)
    versions: dict[Way, Version] = {}
    problems: dict[Way, str] = {}
    for key, (stage, way) in stages.items():
        if way.infer == EXTERNAL:
            versions[key] = _external(tx, pipeline, stage, implementation=key[1])
            continue
        description = described["/".join(key)]
        problem, model = _model(tx, way)
        problem = description.problem or problem
        if problem is None:
            versions[key] = version_of(stage, implementation=key[1], description=description, model=model)
        else:
            problems[key] = problem
    return Known(versions=versions, problems=problems)


def _external(tx: Transaction, pipeline: Pipeline, stage: Stage, *, implementation: str) -> Version:
    """The version of an implementation that only outside workers hold: the active one, or the newest they named."""
    found = tx.nodes.newest(pipeline.name, stage.name, implementation)
    return found or unknown_version(stage, implementation=implementation)


def unknown_version(stage: Stage, *, implementation: str) -> Version:
    """Stands for the version of an implementation of which no worker has said hello yet."""
    return version_of(stage, implementation=implementation, description=Description(code=UNKNOWN), model=None)


def with_offers(pipelines: Mapping[str, Pipeline], offers: Iterable[Offered]) -> dict[str, Pipeline]:
    """*pipelines* with the implementations that outside workers offer; what is declared stays as it is."""
    found = dict(pipelines)
    for offer in offers:
        pipeline = found.get(offer.pipeline)
        if pipeline is not None and any(stage.name == offer.stage for stage in pipeline.stages):
            found[offer.pipeline] = structs.replace(
                pipeline, stages=tuple(_offering(stage, offer) for stage in pipeline.stages)
            )
    return found


def _offering(stage: Stage, offer: Offered) -> Stage:
    if stage.name != offer.stage or offer.implementation in stage.implementations:
        return stage
    more = {**stage.implementations, offer.implementation: Implementation(infer=EXTERNAL)}
    return structs.replace(stage, implementations=more)


def _model(tx: Transaction, way: Implementation) -> tuple[str | None, ModelRef | None]:
    """Why the model of an implementation is not there, or its reference; neither where it needs none."""
    if way.model is None:
        return None, None
    found = tx.models.find(way.model)
    if found is None:
        name = way.model.partition("@")[0]
        return f"there is no model {way.model}; train it, or add it with `limner models add {name} FILE`", None
    return None, found.ref


def _drop_dependent(nodes: Iterable[Node], versions: dict[int, Version], waiting: dict[str, str]) -> None:
    """A stage that reads one that waits, waits too."""
    for node in nodes:
        read = {source.node for source in node.sources if source.node is not None and not source.read.optional}
        missing = read - set(versions)
        if missing and node.pk in versions:
            del versions[node.pk]
            waiting[node.stage.name] = "it reads a stage that waits"
