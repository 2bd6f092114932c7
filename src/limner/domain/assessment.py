"""What is current and what is stale: the one rule that planner, conductor and ``limner plan`` share."""

import re
from collections.abc import Collection, Mapping, Sequence
from enum import IntEnum

from msgspec import Struct

from limner.domain.digests import digest
from limner.domain.pipelines import Stage, StageKind
from limner.domain.reads import Comparison, Condition, Read
from limner.domain.tasks import Status
from limner.domain.values import Value, at_path, decode, encode
from limner.errors import UsageError

#: MessagePack's nil: what an optional read adds where there is nothing.
NIL = b"\xc0"


class Kind(IntEnum):
    """What is to be done about one stage of one record."""

    #: The stored result is current.
    SETTLED = 0
    #: All it reads is there, and no current result is: it belongs in a task.
    READY = 1
    #: Something that it reads is not settled yet.
    WAITING = 2
    #: It is skipped for a reason that is known without inferring.
    SKIP = 3
    #: A stage that it needs failed.
    UPSTREAM_FAILED = 4
    #: It has no version yet (its model is not there), so nothing is planned.
    UNAVAILABLE = 5


class Held(Struct, frozen=True, array_like=True):
    """What the store holds of one record at one node, in the node's active version."""

    status: Status
    asked: bytes
    value_digest: bytes
    #: The encoded value, where a condition reads it; else empty.
    value: bytes = b""


class Verdict(Struct, frozen=True, array_like=True):
    """What is to be done about one node of one record, and the digest that was asked."""

    kind: Kind
    asked: bytes = b""
    #: Status of the settled result, or what the engine writes for a skip or an upstream failure.
    status: Status | None = None
    #: Why: the reason of a skip, or the stage that failed.
    reason: str = ""


WAITING = Verdict(Kind.WAITING)


class Subject:
    """A record as the rule sees it; its fields are decoded when something reads them."""

    __slots__ = ("_fields", "_packed", "digest", "identity", "parent", "pk", "revision")

    def __init__(
        self,
        pk: int,
        packed: bytes,
        *,
        digest: bytes,
        identity: str = "",
        revision: bytes = b"",
        parent: "Subject | None" = None,
    ) -> None:
        """
        Fields are *packed*, which *digest* covers; *identity* is the record's id.

        *revision* marks the bytes behind its addresses.
        """
        self.pk = pk
        self.identity = identity
        self.digest = digest
        self.revision = revision
        self.parent = parent
        self._packed = packed
        self._fields: Mapping[str, Value] | None = None

    @property
    def fields(self) -> Mapping[str, Value]:
        """The fields by name; ``record.id`` is among them."""
        if self._fields is None:
            self._fields = {**decode(self._packed), "record": {"id": self.identity}}
        return self._fields


class Memo:
    """
    Digests asked by nodes that read nothing but a record's own fields, by node and record.

    A record is assessed several times on its way; what does not depend on results need not be computed again.
    """

    def __init__(self, *, most: int = 200_000) -> None:
        self._most = most
        self._found: dict[bytes, bytes] = {}

    def get(self, node: "Node", subject: Subject) -> bytes | None:
        """The digest asked, if it is remembered."""
        return self._found.get(node.spec + subject.digest)

    def put(self, node: "Node", subject: Subject, asked: bytes) -> None:
        """Remember a digest asked."""
        if len(self._found) >= self._most:
            self._found.clear()
        self._found[node.spec + subject.digest] = asked


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


def assess(
    node: Node,
    subject: Subject,
    *,
    held: Mapping[int, Held],
    parent_held: Mapping[int, Held],
    verdicts: Mapping[int, Verdict],
    memo: Memo | None = None,
) -> Verdict:
    """
    What is to be done about *node* for *subject*.

    *held* is what the store holds of the record by node, *parent_held* of its parent, *verdicts* what was found for
    the nodes before this one; a gather is assessed by :func:`assess_group`.
    """
    if node.version is None:
        return Verdict(Kind.UNAVAILABLE)
    if node.only_reads is not None:
        above = verdicts.get(node.only_reads)
        if above is None or above.kind is Kind.READY or above.kind is Kind.WAITING:
            return WAITING
        if above.kind is Kind.SETTLED and above.status is Status.DONE:
            return _compare(node, digest((node.spec, held[node.only_reads].value_digest)), held)
    elif memo is not None and node.own_fields_only:
        remembered = memo.get(node, subject)
        if remembered is not None:
            return _compare(node, remembered, held)
    return _assess_fully(node, subject, held=held, parent_held=parent_held, verdicts=verdicts, memo=memo)


def _assess_fully(
    node: Node,
    subject: Subject,
    *,
    held: Mapping[int, Held],
    parent_held: Mapping[int, Held],
    verdicts: Mapping[int, Verdict],
    memo: Memo | None,
) -> Verdict:
    """What is to be done, whatever the node reads."""
    parts = [node.spec]
    for source in node.sources:
        found = _read(source, subject, held=held, parent_held=parent_held, verdicts=verdicts)
        if isinstance(found, Verdict):
            return settle(node, found, held)
        parts.append(found)
    for condition, source in node.conditions:
        found = _read(source, subject, held=held, parent_held=parent_held, verdicts=verdicts)
        if isinstance(found, Verdict):
            return settle(node, found, held)
        parts.append(found)
        if not holds(condition, _value(source, subject, held=held, parent_held=parent_held)):
            asked = digest([*parts, condition.reason.encode()])
            return settle(node, Verdict(Kind.SKIP, asked, Status.SKIPPED, condition.reason), held)
    asked = digest(parts)
    if memo is not None and node.own_fields_only:
        memo.put(node, subject, asked)
    return _compare(node, asked, held)


def _compare(node: Node, asked: bytes, held: Mapping[int, Held]) -> Verdict:
    """Settled where the stored result was asked the same, else ready."""
    mine = held.get(node.pk)
    if mine is not None and mine.asked == asked:
        return Verdict(Kind.SETTLED, asked, mine.status)
    return Verdict(Kind.READY, asked)


def settle(node: Node, found: Verdict, held: Mapping[int, Held]) -> Verdict:
    """A decision that needs no inferring is settled once the store holds it."""
    if found.kind in (Kind.WAITING, Kind.UNAVAILABLE):
        return found
    asked = digest([node.spec, found.asked, found.reason.encode()])
    mine = held.get(node.pk)
    if mine is not None and mine.asked == asked:
        return Verdict(Kind.SETTLED, asked, mine.status)
    return Verdict(found.kind, asked, found.status, found.reason)


def _read(
    source: Source,
    subject: Subject,
    *,
    held: Mapping[int, Held],
    parent_held: Mapping[int, Held],
    verdicts: Mapping[int, Verdict],
) -> bytes | Verdict:
    """The part of the asked digest that one read adds, or why the node cannot be run."""
    if source.node is not None:
        if source.of_parent and subject.parent is None:
            return NIL if source.read.optional else _absent(source.read)
        return _read_result(source, held=held, parent_held=parent_held, verdicts=verdicts)
    owner = subject.parent if source.of_parent else subject
    value = None if owner is None else field_at(owner.fields, source.path)
    if value is None or (source.read.file and value == ""):
        if source.read.optional:
            return NIL
        return _absent(source.read)
    if source.read.file is None:
        return encode(value)
    assert owner is not None
    checksum = field_at(owner.fields, source.checksum) if source.checksum else None
    return encode([value, checksum]) + owner.revision


def _absent(read: Read) -> Verdict:
    return Verdict(Kind.SKIP, b"", Status.SKIPPED, read.absent_reason)


def _read_result(
    source: Source,
    *,
    held: Mapping[int, Held],
    parent_held: Mapping[int, Held],
    verdicts: Mapping[int, Verdict],
) -> bytes | Verdict:
    """What an upstream result adds: the digest of its value once it is settled."""
    assert source.node is not None
    if source.of_parent:
        mine = parent_held.get(source.node)
        if mine is None:
            return WAITING
        status, asked = mine.status, mine.asked
    else:
        verdict = verdicts.get(source.node)
        if verdict is None or verdict.kind in (Kind.READY, Kind.WAITING):
            return WAITING
        if verdict.kind is Kind.UNAVAILABLE:
            return Verdict(Kind.UNAVAILABLE)
        mine = held.get(source.node)
        status, asked = verdict.status or Status.SKIPPED, verdict.asked
    if status is Status.DONE and mine is not None:
        return mine.value_digest
    if source.read.optional:
        return NIL
    if status is Status.SKIPPED:
        return Verdict(Kind.SKIP, asked, Status.SKIPPED, f"upstream {stage_read(source)} skipped")
    return Verdict(Kind.UPSTREAM_FAILED, asked, Status.FAILED, stage_read(source))


def stage_read(source: Source) -> str:
    """The stage that a read names."""
    return source.read.path.removeprefix("parent.").split(".")[0]


def _value(source: Source, subject: Subject, *, held: Mapping[int, Held], parent_held: Mapping[int, Held]) -> Value:
    """The value that a condition compares."""
    if source.node is None:
        owner = subject.parent if source.of_parent else subject
        return None if owner is None else field_at(owner.fields, source.path)
    mine = (parent_held if source.of_parent else held).get(source.node)
    if mine is None or mine.status is not Status.DONE or not mine.value:
        return None
    return at_path(decode(mine.value), source.path)


def field_at(fields: Mapping[str, Value], path: tuple[str, ...]) -> Value:
    """The field at *path*; a key that holds the dots itself wins."""
    if len(path) == 1:
        return fields.get(path[0])
    whole = fields.get(".".join(path))
    return at_path(dict(fields), path) if whole is None else whole


def holds(condition: Condition, value: Value) -> bool:
    """Whether *condition* is true of *value*; an absent value fulfils only ``!=``, ``not in`` and ``exists False``."""
    compare, wanted = condition.compare, condition.value
    if compare is Comparison.EXISTS:
        return (value is not None) is (wanted is not False)
    if compare is Comparison.EQUAL:
        return bool(value == wanted)
    if compare is Comparison.NOT_EQUAL:
        return bool(value != wanted)
    if compare is Comparison.IN:
        return value in _list(wanted)
    if compare is Comparison.NOT_IN:
        return value not in _list(wanted)
    if compare is Comparison.MATCHES:
        return isinstance(value, str) and re.search(str(wanted), value) is not None
    return _ordered(compare, value, wanted)


def _ordered(compare: Comparison, value: Value, wanted: Value) -> bool:
    """Less or more; false where the two cannot be ordered."""
    try:
        return bool(
            (compare is Comparison.LESS and value < wanted)
            or (compare is Comparison.AT_MOST and value <= wanted)
            or (compare is Comparison.MORE and value > wanted)
            or (compare is Comparison.AT_LEAST and value >= wanted)
        )
    except TypeError:
        return False


def _list(value: Value) -> Sequence[Value]:
    return value if isinstance(value, list) else [value]


def outcome(verdicts: Mapping[int, Verdict], nodes: Sequence[Node]) -> Status | None:
    """
    What has become of a record as a whole; None while anything is open.

    Failed where a required stage failed; skipped where every required stage was skipped; else done.
    """
    required: list[Status] = []
    for node in nodes:
        if node.stage.kind is StageKind.GATHER:
            continue
        verdict = verdicts.get(node.pk)
        if verdict is None or verdict.kind is Kind.READY or verdict.kind is Kind.WAITING:
            return None
        if node.stage.required and verdict.status is not None:
            required.append(verdict.status)
    if Status.FAILED in required:
        return Status.FAILED
    if required and all(status is Status.SKIPPED for status in required):
        return Status.SKIPPED
    return Status.DONE
