"""A pipeline as a job sees it: its nodes, in the implementations chosen, resolved against the store."""

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct, structs

from limner.domain.nodes import Node, Source, gate_of, resolve_sources, spec_of
from limner.domain.pipelines import Choices, Pipeline, Stage, StageKind, steps_of
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
    choices: Choices
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


def check_choices(pipeline: Pipeline, choices: Choices) -> None:
    """
    Refuse choices that the pipeline does not offer.

    Raises:
        NotFound: a stage or an implementation is unknown; the sentence names the known ones.
        UsageError: nothing is chosen, or a stage needs what another says that is left out.
    """
    listed = {stage.name for stage in pipeline.stages}
    before: dict[str, int] = {}
    for stage, way in steps_of(pipeline, choices):
        resolve_sources(stage, implementation=way, nodes=before, left_out=listed)
        before[stage.name] = 0


def resolve(tx: Transaction, pipeline: Pipeline, *, choices: Choices | None = None, create: bool = True) -> View:
    """
    The view of *pipeline* with *choices* beside its defaults; new nodes are inserted if *create*.

    Raises:
        NotFound: a choice names an unknown stage or implementation, or a node is missing and not to be made.
    """
    chosen = dict(choices or {})
    steps = steps_of(pipeline, chosen)
    find = tx.records.collection if create else lambda name: tx.records.find_collection(name) or 0
    collections = {name: find(name) for name in pipeline.collections()}
    stored = {(n.stage, n.implementation, n.variant): n for n in tx.nodes.of(pipeline.name)}
    stock = _Stock(pipeline=pipeline, chosen=chosen, stored=stored, collections=collections, create=create)
    nodes: list[Node] = []
    last: dict[str, Node] = {}
    gates: list[Node] = []
    #: Where the run of implementations that are listed together begins.
    begun = 0
    for at, (stage, way) in enumerate(steps):
        nodes.append(_resolve_node(tx, stock, stage, way, last=last, gates=gates))
        if at + 1 == len(steps) or steps[at + 1][0] is not stage:
            # Several implementations listed together do not read one another.
            last[stage.name] = nodes[-1]
            gates += nodes[begun:] if stage.gate else []
            begun = at + 1
    others = {node.pk for node in stored.values()} - {node.pk for node in nodes}
    return View(
        pipeline=pipeline, nodes=tuple(nodes), collections=collections, choices=chosen, others=frozenset(others)
    )


class _Stock(Struct, frozen=True, kw_only=True):
    """What nodes are resolved against."""

    pipeline: Pipeline
    chosen: Choices
    stored: Mapping[tuple[str, str, str], StoredNode]
    collections: Mapping[str, int]
    create: bool


def _resolve_node(
    tx: Transaction, stock: _Stock, stage: Stage, way: str, *, last: Mapping[str, Node], gates: Sequence[Node]
) -> Node:
    """The node of one implementation of a stage, reading the nodes *last* chosen before it, behind *gates*."""
    pipeline = stock.pipeline
    over = pipeline.over(stage)
    sources, conditions = resolve_sources(
        stage,
        implementation=way,
        nodes={name: node.pk for name, node in last.items()},
        left_out={other.name for other in pipeline.stages},
    )
    before = [g for g in gates if g.collection == over and stage.kind is not StageKind.GATHER]
    conditions += tuple(gate_of(g.stage, implementation=g.implementation, node=g.pk) for g in before)
    read = {source.node for source in (*sources, *(source for _, source in conditions))}
    named = _makers(pipeline, stage, stock.chosen) | {f"{g.stage.name}={g.implementation}" for g in before}
    variant = _variant([node for node in (*last.values(), *before) if node.pk in read], named=named)
    found = stock.stored.get((stage.name, way, variant))
    if found is None:
        if stock.create:
            found = tx.nodes.add(pipeline.name, stage.name, way, variant=variant, collection=stock.collections[over])
        else:
            at = stock.collections[over]
            found = StoredNode(-1 - len(last), pipeline.name, stage.name, way, variant, at, None, None, None, 0)
    return Node(
        pk=found.pk,
        stage=stage,
        implementation=way,
        variant=variant,
        collection=over,
        version=found.active,
        sources=sources,
        conditions=conditions,
        own_fields_only=not conditions and all(_own_field(source) for source in sources),
        only_reads=_only_read(sources) if not conditions else None,
        within_record=all(_of_the_record(source) for source in (*sources, *(source for _, source in conditions))),
        spec=spec_of(stage, implementation=way),
    )


def _own_field(source: Source) -> bool:
    """Whether a read is of a field that the record's digest covers."""
    return source.node is None and not source.of_parent and source.path[:1] != ("record",)


def _of_the_record(source: Source) -> bool:
    """Whether a read is of such a field, or of a result of the record itself."""
    return _own_field(source) or (source.node is not None and not source.of_parent)


def _only_read(sources: Sequence[Source]) -> int | None:
    """The node of the record itself that is all these sources read; None where there is more, or it may be absent."""
    if len(sources) != 1 or sources[0].of_parent or sources[0].read.optional:
        return None
    return sources[0].node


def _makers(pipeline: Pipeline, stage: Stage, chosen: Choices) -> set[str]:
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


def _variant(upstream: Sequence[Node], *, named: set[str]) -> str:
    """Names the ancestors' implementations where they are not the defaults, besides those *named*."""
    named = set(named)
    for node in upstream:
        named.update(part for part in node.variant.split("+") if part)
        if node.implementation != node.stage.default:
            named.add(f"{node.stage.name}={node.implementation}")
    return "+".join(sorted(named))


def with_versions(view: View, versions: Mapping[int, int | None]) -> View:
    """*view* as if these versions were active: what ``plan`` asks about."""
    nodes = tuple(structs.replace(node, version=versions.get(node.pk, node.version)) for node in view.nodes)
    return structs.replace(view, nodes=nodes)
