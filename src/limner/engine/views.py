"""A pipeline as a job sees it: its nodes, in the implementations chosen, resolved against the store."""

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct, structs

from limner.domain.assessment import Node, Source, resolve_sources, spec_of
from limner.domain.pipelines import Pipeline, Stage, StageKind
from limner.errors import UsageError
from limner.store.nodes import StoredNode
from limner.store.store import Transaction


class View(Struct, frozen=True, kw_only=True):
    """A pipeline with the implementations that a job chose, or with the defaults."""

    pipeline: Pipeline
    #: In an order in which they can run.
    nodes: tuple[Node, ...]
    #: Keys of the collections by name.
    collections: Mapping[str, int]
    #: What is chosen besides the defaults, as in a job.
    choices: Mapping[str, Sequence[str]]
    #: Nodes of the pipeline that it does not look through: children that they made are none of its business.
    others: frozenset[int] = frozenset()

    @property
    def root(self) -> int:
        """Key of the pipeline's own collection."""
        return self.collections[self.pipeline.collection]

    @property
    def versions(self) -> dict[int, int]:
        """The active version of each node that has one."""
        return {node.pk: node.version for node in self.nodes if node.version is not None}

    def over(self, collection: int) -> list[Node]:
        """Maps and expansions over a collection, in order."""
        return [
            node
            for node in self.nodes
            if node.stage.kind is not StageKind.GATHER and self.collections[node.collection] == collection
        ]

    @property
    def gathers(self) -> list[Node]:
        """The nodes that gather."""
        return [node for node in self.nodes if node.stage.kind is StageKind.GATHER]

    @property
    def expansions(self) -> list[Node]:
        """The nodes that make children."""
        return [node for node in self.nodes if node.stage.kind is StageKind.EXPAND]

    def node(self, pk: int) -> Node | None:
        """The node with this key."""
        return next((node for node in self.nodes if node.pk == pk), None)

    def readers(self, keys: set[int], *, of_parent: bool = False) -> list[Node]:
        """Nodes over records that read what the nodes *keys* say, of the record itself or of its parent."""
        return [
            node
            for node in self.nodes
            if node.stage.kind is not StageKind.GATHER
            and any(s.node in keys and s.of_parent is of_parent for s in _sources(node))
        ]

    def reach(self, keys: set[int]) -> set[int]:
        """The nodes *keys* and all that read them, directly or through others."""
        found = set(keys)
        for node in self.nodes:
            if node.upstream & found:
                found.add(node.pk)
        return found

    def parent_readers(self) -> list[Node]:
        """Nodes over records that read anything of the record's parent."""
        return [node for node in self.nodes if any(source.of_parent for source in _sources(node))]

    @property
    def with_value(self) -> frozenset[int]:
        """Nodes whose values conditions compare."""
        found = (source.node for node in self.nodes for _, source in node.conditions)
        return frozenset(node for node in found if node is not None)

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two views the same."""
        return self.pipeline.name, tuple((node.pk, node.version) for node in self.nodes)


def _sources(node: Node) -> Iterator[Source]:
    yield from node.sources
    yield from (source for _, source in node.conditions)


def check_choices(pipeline: Pipeline, choices: Mapping[str, Sequence[str]]) -> None:
    """
    Refuse choices that the pipeline does not offer.

    Raises:
        NotFound: a stage or an implementation is unknown; the sentence names the known ones.
        UsageError: a stage is chosen without an implementation.
    """
    for stage, ways in choices.items():
        if not ways:
            raise UsageError(f"Stage {stage} is chosen without an implementation.")
        for way in ways:
            pipeline.stage(stage).chosen(way)


def resolve(
    tx: Transaction, pipeline: Pipeline, *, choices: Mapping[str, Sequence[str]] | None = None, create: bool = True
) -> View:
    """
    The view of *pipeline* with *choices* beside its defaults; new nodes are inserted if *create*.

    Raises:
        NotFound: a choice names an unknown stage or implementation, or a node is missing and not to be made.
    """
    chosen = dict(choices or {})
    check_choices(pipeline, chosen)
    find = tx.records.collection if create else lambda name: tx.records.find_collection(name) or 0
    collections = {name: find(name) for name in pipeline.collections()}
    stored = {(n.stage, n.implementation, n.variant): n for n in tx.nodes.of(pipeline.name)}
    nodes: list[Node] = []
    last: dict[str, Node] = {}
    for stage in pipeline.stages:
        for way in chosen.get(stage.name, [stage.default]):
            found = _resolve_node(
                tx,
                pipeline,
                stage,
                way,
                last=last,
                chosen=chosen,
                stored=stored,
                collections=collections,
                create=create,
            )
            nodes.append(found)
        last[stage.name] = nodes[-1]
    others = {node.pk for node in stored.values()} - {node.pk for node in nodes}
    return View(
        pipeline=pipeline, nodes=tuple(nodes), collections=collections, choices=chosen, others=frozenset(others)
    )


def _resolve_node(
    tx: Transaction,
    pipeline: Pipeline,
    stage: Stage,
    way: str,
    *,
    last: Mapping[str, Node],
    chosen: Mapping[str, Sequence[str]],
    stored: Mapping[tuple[str, str, str], StoredNode],
    collections: Mapping[str, int],
    create: bool,
) -> Node:
    """The node of one implementation of a stage, reading the nodes *last* chosen before it."""
    over = pipeline.over(stage)
    sources, conditions = resolve_sources(
        stage, implementation=way, nodes={name: node.pk for name, node in last.items()}
    )
    read = {source.node for source in (*sources, *(source for _, source in conditions))}
    variant = _variant([node for node in last.values() if node.pk in read], makers=_makers(pipeline, stage, chosen))
    found = stored.get((stage.name, way, variant))
    if found is None:
        if not create:
            found = StoredNode(
                -1 - len(last), pipeline.name, stage.name, way, variant, collections[over], None, None, None, 0
            )
        else:
            found = tx.nodes.add(pipeline.name, stage.name, way, variant=variant, collection=collections[over])
    return Node(
        pk=found.pk,
        stage=stage,
        implementation=way,
        variant=variant,
        collection=over,
        version=found.active,
        sources=sources,
        conditions=conditions,
        own_fields_only=not conditions and all(s.node is None and not s.of_parent for s in sources),
        only_reads=_only_read(sources) if not conditions else None,
        spec=spec_of(stage, implementation=way),
    )


def _only_read(sources: Sequence[Source]) -> int | None:
    """The node of the record itself that is all these sources read; None where there is more, or it may be absent."""
    if len(sources) != 1 or sources[0].of_parent or sources[0].read.optional:
        return None
    return sources[0].node


def _makers(pipeline: Pipeline, stage: Stage, chosen: Mapping[str, Sequence[str]]) -> set[str]:
    """What makes a gather's members, where that is not the default: other members are another group."""
    if stage.kind is not StageKind.GATHER:
        return set()
    return {
        f"{made.name}={','.join(chosen[made.name])}"
        for made in pipeline.stages
        if made.of == stage.of
        and made.kind is StageKind.EXPAND
        and chosen.get(made.name, [made.default]) != [made.default]
    }


def _variant(upstream: Sequence[Node], *, makers: set[str]) -> str:
    """Names the ancestors' implementations where they are not the defaults."""
    named = set(makers)
    for node in upstream:
        named.update(part for part in node.variant.split("+") if part)
        if node.implementation != node.stage.default:
            named.add(f"{node.stage.name}={node.implementation}")
    return "+".join(sorted(named))


def with_versions(view: View, versions: Mapping[int, int | None]) -> View:
    """*view* as if these versions were active: what ``plan`` asks about."""
    nodes = tuple(structs.replace(node, version=versions.get(node.pk, node.version)) for node in view.nodes)
    return structs.replace(view, nodes=nodes)
