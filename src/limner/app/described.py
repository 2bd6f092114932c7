"""The versions that a pipeline's implementations have now: what their own processes say, and which models are there."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from limner.domain.assessment import Node
from limner.domain.tasks import ModelRef
from limner.domain.versions import Version, version_of
from limner.engine.views import View
from limner.errors import ConfigurationError
from limner.settings import Project
from limner.store.store import Transaction
from limner.worker.describe import describe_all


class Now(Struct, frozen=True, kw_only=True):
    """What a pipeline's nodes are now."""

    #: By node.
    versions: Mapping[int, Version]
    #: Optional stages that cannot run, and why.
    waiting: Mapping[str, str]


def now_of(tx: Transaction, view: View, project: Project) -> Now:
    """
    The versions that the nodes of *view* have now, asked of a short-lived child process.

    Raises:
        ConfigurationError: a required stage's inferrer cannot be loaded, or its model is not there.
    """
    ways = {_key(node): node.stage.chosen(node.implementation) for node in view.nodes}
    folder = project.folder
    described = describe_all(ways, project=folder, allow_hosts=project.settings.allow_hosts)
    versions: dict[int, Version] = {}
    waiting: dict[str, str] = {}
    for node in view.nodes:
        description = described[_key(node)]
        problem, model = _model(tx, node)
        problem = description.problem or problem
        if problem is None:
            versions[node.pk] = version_of(
                node.stage, implementation=node.implementation, description=description, model=model
            )
        elif node.stage.required:
            raise ConfigurationError(f"Stage {node.stage.name} cannot run: {problem}")
        else:
            waiting[node.stage.name] = problem
    _drop_dependent(view.nodes, versions, waiting)
    return Now(versions=versions, waiting=waiting)


def version_now(tx: Transaction, node: Node, project: Project) -> Version:
    """
    The version that one node has now, asked of a short-lived child process.

    Raises:
        ConfigurationError: its inferrer cannot be loaded, or its model is not there.
    """
    way = node.stage.chosen(node.implementation)
    described = describe_all({"": way}, project=project.folder, allow_hosts=project.settings.allow_hosts)
    problem, model = _model(tx, node)
    problem = described[""].problem or problem
    if problem is not None:
        raise ConfigurationError(f"Stage {node.stage.name} cannot run: {problem}")
    return version_of(node.stage, implementation=node.implementation, description=described[""], model=model)


def _key(node: Node) -> str:
    return f"{node.stage.name}/{node.implementation}"


def _model(tx: Transaction, node: Node) -> tuple[str | None, ModelRef | None]:
    """Why the model of a node is not there, or its reference; neither where it needs none."""
    reference = node.stage.chosen(node.implementation).model
    if reference is None:
        return None, None
    found = tx.models.find(reference)
    if found is None:
        name = reference.partition("@")[0]
        return f"there is no model {reference}; train it, or add it with `limner models add {name} FILE`", None
    return None, found.ref


def _drop_dependent(nodes: Iterable[Node], versions: dict[int, Version], waiting: dict[str, str]) -> None:
    """A stage that reads one that waits, waits too."""
    for node in nodes:
        read = {source.node for source in node.sources if source.node is not None and not source.read.optional}
        missing = read - set(versions)
        if missing and node.pk in versions:
            del versions[node.pk]
            waiting[node.stage.name] = "it reads a stage that waits"
