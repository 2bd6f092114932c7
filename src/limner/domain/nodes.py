"""Nodes: implementations of stages resolved against the store, and where what they read comes from."""

from collections.abc import Collection, Mapping

from msgspec import Struct

from limner.domain.digests import digest
from limner.domain.pipelines import Stage
from limner.domain.reads import Comparison, Condition, Read
from limner.domain.values import encode
from limner.errors import UsageError


class Source(Struct, frozen=True):
    """Where one read of a node comes from."""

    name: str
    read: Read
    #: Steps into the record's fields, or into the value of the upstream node.
    path: tuple[str, ...]
    #: From the parent record and not the record itself.
    of_parent: bool = False
    #: Primary key of the upstream node; None for a field.
    node: int | None = None
    #: Path of the field with the file's checksum.
    checksum: tuple[str, ...] = ()


class Node(Struct, frozen=True, kw_only=True):
    """One implementation of one stage, resolved against the store: what results and tasks belong to."""

    pk: int
    stage: Stage
    implementation: str
    variant: str
    #: Collection of the records that it says something about.
    collection: str
    #: Primary key of the active version; None while it has none.
    version: int | None
    sources: tuple[Source, ...]
    #: What each condition reads.
    conditions: tuple[tuple[Condition, Source], ...]
    #: Digest of how everything is read.
    spec: bytes

    #: It reads nothing but the record's own fields, and has no condition.
    own_fields_only: bool = False
    #: The node that it reads, where it reads nothing else, needs it, and has no condition; the commonest case.
    only_reads: int | None = None
    #: It reads nothing but the record's own fields and results, its conditions included.
    within_record: bool = False

    @property
    def upstream(self) -> set[int]:
        """Primary keys of the nodes that it reads."""
        read = [source.node for source in self.sources] + [source.node for _, source in self.conditions]
        return {node for node in read if node is not None}


def resolve_sources(
    stage: Stage, *, implementation: str, nodes: Mapping[str, int], left_out: Collection[str] = ()
) -> tuple[tuple[Source, ...], tuple[tuple[Condition, Source], ...]]:
    """
    Where each read and condition of *stage* comes from; *nodes* maps the stages before it to node keys.

    Raises:
        UsageError: it needs what a stage says that is *left_out*.
    """
    reads = stage.reads_of(implementation)
    sources = tuple(_source(name, read, nodes=nodes) for name, read in sorted(reads.items()))
    for source in sources:
        if source.node is None and not source.read.optional and stage_read(source) in left_out:
            needed = stage_read(source)
            raise UsageError(f"Stage {stage.name} needs what {needed} says, and no {needed} is asked for before it.")
    conditions = tuple(
        (c, _source("", Read(path=c.path, optional=True), nodes=nodes)) for c in stage.when_of(implementation)
    )
    return sources, conditions


def gate_of(stage: Stage, *, implementation: str, node: int) -> tuple[Condition, Source]:
    """The condition that a gate puts on the stages that are listed after it."""
    condition = Condition(
        path=f"{stage.name}.keep", compare=Comparison.NOT_EQUAL, value=False, reason=f"{stage.name} {implementation}"
    )
    return condition, _source("", Read(path=condition.path, optional=True), nodes={stage.name: node})


def spec_of(stage: Stage, *, implementation: str) -> bytes:
    """Digest of how an implementation of *stage* reads: names, paths, fetching and decoding."""
    reads = [
        [name, read.path, read.optional, [getattr(read.file, key) for key in read.file.__struct_fields__]]
        if read.file
        else [name, read.path, read.optional, None]
        for name, read in sorted(stage.reads_of(implementation).items())
    ]
    return digest(encode(reads))


def _source(name: str, read: Read, *, nodes: Mapping[str, int]) -> Source:
    steps = tuple(read.path.split("."))
    of_parent = steps[0] == "parent"
    steps = steps[1:] if of_parent else steps
    node = nodes.get(steps[0])
    checksum = tuple(read.file.checksum.removeprefix("parent.").split(".")) if read.file and read.file.checksum else ()
    return Source(name, read, steps[1:] if node is not None else steps, of_parent, node, checksum)


def stage_read(source: Source) -> str:
    """The stage that a read names."""
    return source.read.path.removeprefix("parent.").split(".")[0]
