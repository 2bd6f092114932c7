"""What is to be done about many records of one collection, and what has become of each."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct, field

from limner.domain.assessment import UNAVAILABLE, Held, Kind, Verdict, assess, outcome
from limner.domain.columns import Memo, assess_column
from limner.domain.failures import Failure, FailureCode
from limner.domain.jobs import Fate
from limner.domain.nodes import Node
from limner.domain.pipelines import StageKind
from limner.domain.tasks import Status
from limner.engine.subjects import Loaded, load
from limner.engine.views import View
from limner.store.results import ResultRow, encode_failure
from limner.store.store import Transaction

_FATES = {None: Fate.OPEN, Status.DONE: Fate.DONE, Status.FAILED: Fate.FAILED, Status.SKIPPED: Fate.SKIPPED}


class Assessment(Struct, frozen=True, kw_only=True):
    """What is to be done about some records of one collection."""

    collection: int
    loaded: Loaded
    #: The live records that the view is about, in order.
    keys: Sequence[int]
    #: By node: the verdict about each of the records; None where a gather has said nothing of it.
    columns: Mapping[int, Sequence[Verdict | None]]
    #: By node: the records that belong in a task.
    ready: Mapping[int, list[int]] = field(default_factory=dict)
    #: Results that need no inferring: skips and upstream failures.
    decided: list[ResultRow] = field(default_factory=list)
    #: What is to be done about children that read what was decided.
    beyond: list["Assessment"] = field(default_factory=list)

    def verdicts(self) -> dict[int, dict[int, Verdict]]:
        """By record: the verdict about each node, in order."""
        found: dict[int, dict[int, Verdict]] = {key: {} for key in self.keys}
        for pk, column in self.columns.items():
            for key, verdict in zip(self.keys, column, strict=True):
                if verdict is not None:
                    found[key][pk] = verdict
        return found

    def fates(self, nodes: Sequence[Node]) -> dict[int, Fate]:
        """What has become of each record, by the maps and expansions among *nodes*."""
        counted = [node for node in nodes if node.stage.kind is not StageKind.GATHER]
        if not counted:
            return dict.fromkeys(self.keys, Fate.DONE)
        required = [node.stage.required for node in counted]
        rows = zip(*(self.columns[node.pk] for node in counted), strict=True)
        return {key: _FATES[outcome(row, required)] for key, row in zip(self.keys, rows, strict=True)}


def assess_records(
    tx: Transaction, view: View, collection: int, keys: Sequence[int], *, memo: Memo | None = None
) -> Assessment:
    """What is to be done about the live records *keys* of a collection, in every node over it."""
    loaded = load(tx, view, keys)
    live = list(loaded.records)
    marks = [record.digest for record in loaded.records.values()]
    remembered = memo or Memo()
    # Groups are looked at elsewhere, and what reads a gather is planned after that.
    columns: dict[int, Sequence[Verdict | None]] = {
        node.pk: [UNAVAILABLE] * len(live) if node.version is None else as_it_stands(live, loaded.held.get(node.pk, {}))
        for node in view.gathers
        if view.collections[node.collection] == collection
    }
    ready: dict[int, list[int]] = {}
    decided: list[ResultRow] = []
    for node in view.over(collection):
        column = assess_column(
            node,
            live,
            marks,
            held=loaded.held,
            above=columns,
            alone=Alone(node, live, loaded, columns),
            memo=remembered,
            asking=False,
        )
        columns[node.pk] = column
        ready[node.pk] = [key for key, verdict in zip(live, column, strict=True) if verdict.kind is Kind.READY]
        decided += [
            decided_row(key, node, verdict)
            for key, verdict in zip(live, column, strict=True)
            if verdict.kind is Kind.SKIP or verdict.kind is Kind.UPSTREAM_FAILED
        ]
    return Assessment(collection=collection, loaded=loaded, keys=live, columns=columns, ready=ready, decided=decided)


class Alone:
    """Assesses one node of one record, by its position, whatever the node reads."""

    def __init__(
        self, node: Node, keys: Sequence[int], loaded: Loaded, columns: Mapping[int, Sequence[Verdict | None]]
    ) -> None:
        self._node = node
        self._keys = keys
        self._loaded = loaded
        self._above = {pk: columns[pk] for pk in node.upstream if pk in columns}
        self._reads_parents = any(source.of_parent for source in node.sources) or any(
            source.of_parent for _, source in node.conditions
        )

    def __call__(self, position: int) -> Verdict:
        """The verdict about the record at this position."""
        key = self._keys[position]
        verdicts = {pk: verdict for pk, column in self._above.items() if (verdict := column[position]) is not None}
        return assess(
            self._node,
            self._loaded.subject(key),
            held=self._loaded.of(key, (*self._above, self._node.pk)),
            parent_held=self._loaded.of_parent(key) if self._reads_parents else {},
            verdicts=verdicts,
        )


def as_it_stands(keys: Sequence[int], held: Mapping[int, Held]) -> list[Verdict | None]:
    """What is *held* of the records *keys* as verdicts, whether or not it is stale; None where nothing is."""
    found = (held.get(key) for key in keys)
    return [None if mine is None else Verdict(Kind.SETTLED, mine.asked, mine.status) for mine in found]


def decided_row(key: int, node: Node, verdict: Verdict) -> ResultRow:
    """The result of a record that is skipped, or whose upstream failed."""
    assert node.version is not None
    if verdict.kind is Kind.SKIP:
        value = msgspec.msgpack.encode(verdict.reason)
        return (key, node.pk, node.version, Status.SKIPPED, None, 0, verdict.asked, b"", b"", value)
    failure = Failure(
        code=FailureCode.UPSTREAM_FAILED,
        message=f"Stage {verdict.reason}, which this stage reads, has no value for this record.",
        reason=verdict.reason,
    )
    value = encode_failure(failure)
    return (key, node.pk, node.version, Status.FAILED, None, 0, verdict.asked, b"", b"", value)


def fates_of_roots(tx: Transaction, view: View, *assessments: Assessment) -> dict[int, Fate]:
    """
    Fates of the records that jobs count among those *assessments* touched: of the records themselves, or their roots.

    A record with children is open while one of them is, and failed where a required stage of one failed.
    """
    fates: dict[int, Fate] = {}
    roots: set[int] = set()
    for assessment in assessments:
        own = assessment.fates(view.over(assessment.collection))
        if view.expansions:
            families = _families(view, assessment)
            roots.update(families.values())
            own = {key: fate for key, fate in own.items() if key not in families}
        fates |= own
        if assessment.beyond:
            fates |= fates_of_roots(tx, view, *assessment.beyond)
    return fates | family_fates(tx, view, sorted(roots)) if roots else fates


def _families(view: View, assessment: Assessment) -> dict[int, int]:
    """The root of each record that is counted with its family: all but those of other sources."""
    if assessment.collection == view.root:
        return {key: key for key in assessment.keys}
    records = assessment.loaded.records
    return {key: root for key in assessment.keys if (root := records[key].root) is not None}


def family_fates(tx: Transaction, view: View, roots: Sequence[int]) -> dict[int, Fate]:
    """Fates of roots with all their live descendants counted in."""
    fates = assess_records(tx, view, view.root, roots).fates(view.over(view.root))
    by_collection: dict[int, list[int]] = {}
    root_of: dict[int, int] = {}
    for root, collection, key in tx.records.descendants(roots):
        by_collection.setdefault(collection, []).append(key)
        root_of[key] = root
    for collection, keys in by_collection.items():
        nodes = view.over(collection)
        if not nodes:
            continue
        for key, fate in assess_records(tx, view, collection, keys).fates(nodes).items():
            fates[root_of[key]] = _worse(fates.get(root_of[key], Fate.OPEN), fate)
    return fates


def _worse(root: Fate, child: Fate) -> Fate:
    """What a child's fate makes of its root's: open wins, then failed."""
    if Fate.OPEN in (root, child):
        return Fate.OPEN
    return Fate.FAILED if Fate.FAILED in (root, child) else root
