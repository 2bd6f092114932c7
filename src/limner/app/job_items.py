"""A job item by item: what became of each record in each stage, its values, and its failures."""

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct, field

from limner.domain.failures import Failure, FailureCode
from limner.domain.jobs import Fate
from limner.domain.nodes import Node
from limner.domain.pipelines import StageKind
from limner.domain.records import Provenance
from limner.domain.retry import default_attempts
from limner.domain.tasks import Status
from limner.domain.values import Value, decode
from limner.engine.views import View
from limner.store.progress import START, Place, Said
from limner.store.store import Transaction

_PAGE = 500
_NAMES = {Status.DONE: "done", Status.FAILED: "failed", Status.SKIPPED: "skipped", Status.UNCHANGED: "done"}


class ItemError(Struct, frozen=True, kw_only=True):
    """Why a record failed."""

    code: str
    message: str
    reason: str | None
    stage: str
    implementation: str
    attempt: int
    worker: str | None
    #: Whether it is of a kind that may go well when it is tried again.
    retryable: bool


class ItemStage(Struct, frozen=True, kw_only=True):
    """What became of one record in one stage; of a stage over its children, how many of them ended how."""

    stage: str
    implementation: str
    #: ``open``, ``done``, ``failed``, ``skipped`` or ``cancelled``; ``counts`` where it is about children.
    status: str
    attempt: int = 0
    worker: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


class Item(Struct, frozen=True, kw_only=True):
    """One root record of a job."""

    id: str
    status: str
    error: ItemError | None
    stages: list[ItemStage]
    last_updated: float | None


class ResultLine(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One record of a job with what was inferred about it: a line of its results."""

    collection: str
    id: str
    #: Collection and id of its parent.
    parent: tuple[str, str] | None = None
    #: Of a root record, what became of it.
    status: str | None = None
    #: By stage; by ``stage/implementation`` where the job chose several.
    values: Mapping[str, Value] = field(default_factory=dict)
    provenance: Mapping[str, Provenance] = field(default_factory=dict)
    #: Fields of a child.
    fields: Mapping[str, Value] = field(default_factory=dict)


class ErrorLine(Struct, frozen=True, kw_only=True):
    """One failure of a job, or one row that became no record: a line of its errors."""

    collection: str | None
    id: str | None
    #: Where it stood in what was sent; None for records.
    row: str | None
    error: ItemError


def items_of(
    tx: Transaction,
    view: View,
    job: str,
    *,
    after: Place = START,
    limit: int,
    having: Sequence[Fate] | None = None,
) -> tuple[list[Item], Place | None]:
    """The next root records of a job with what each stage said, and where the page after them begins."""
    page = tx.progress.page(job, after=after, limit=limit, having=having)
    roots = [key for _, key, _ in page]
    families = _families(tx, view, roots)
    children = sorted({key for members in families.values() for _, key in members})
    said: dict[int, list[Said]] = {}
    for one in tx.progress.said(sorted({*roots, *children}), versions=view.versions):
        said.setdefault(one.record, []).append(one)
    records = tx.records.load(roots)
    found = [
        _item(view, records[key].id, fate, own=said.get(key, []), family=families.get(key, []), said=said)
        for _, key, fate in page
    ]
    return found, page[-1][0] if len(page) == limit else None


def _families(tx: Transaction, view: View, roots: Sequence[int]) -> dict[int, list[tuple[int, int]]]:
    """By root: collection and key of its descendants, without those that implementations made which nobody chose."""
    found: dict[int, list[tuple[int, int]]] = {}
    for root, collection, key in tx.records.descendants(roots, but_of=view.others):
        found.setdefault(root, []).append((collection, key))
    return found


def _item(
    view: View,
    identity: str,
    fate: Fate,
    *,
    own: Sequence[Said],
    family: Sequence[tuple[int, int]],
    said: Mapping[int, Sequence[Said]],
) -> Item:
    mine = {one.node: one for one in own}
    theirs = [one for _, key in family for one in said.get(key, ())]
    stages = []
    for node in view.nodes:
        if node.collection == view.pipeline.collection:
            stages.append(_item_stage(node, mine.get(node.pk), fate=fate))
        elif node.stage.kind is not StageKind.GATHER:
            members = sum(collection == view.collections[node.collection] for collection, _ in family)
            stages.append(_family_stage(node, [one for one in theirs if one.node == node.pk], members=members))
    times = [one.at for one in (*own, *theirs) if one.at is not None]
    return Item(
        id=identity,
        status=fate.name.lower(),
        error=_error(view, [*own, *theirs]) if fate is Fate.FAILED else None,
        stages=stages,
        last_updated=max(times, default=None),
    )


def _item_stage(node: Node, said: Said | None, *, fate: Fate) -> ItemStage:
    stage, way = node.stage.name, node.implementation
    if said is None:
        status = "cancelled" if fate is Fate.CANCELLED else "open"
        return ItemStage(stage=stage, implementation=way, status=status)
    return ItemStage(
        stage=stage, implementation=way, status=_NAMES[said.status], attempt=said.tried, worker=said.worker
    )


def _family_stage(node: Node, said: Sequence[Said], *, members: int) -> ItemStage:
    counts = dict.fromkeys(("done", "failed", "skipped"), 0)
    for one in said:
        counts[_NAMES[one.status]] += 1
    counts["open"] = max(0, members - len(said))
    return ItemStage(stage=node.stage.name, implementation=node.implementation, status="counts", counts=counts)


def _error(view: View, said: Sequence[Said]) -> ItemError | None:
    """What a record failed of: what failed by itself before what only followed from that."""
    failed = [one for one in said if one.failure is not None]
    failed.sort(key=lambda one: one.failure is not None and one.failure.code is FailureCode.UPSTREAM_FAILED)
    return _item_error(view, failed[0]) if failed else None


def _item_error(view: View, said: Said) -> ItemError | None:
    node = view.node(said.node)
    if node is None or said.failure is None:
        return None
    return _of_failure(
        said.failure, stage=node.stage.name, implementation=node.implementation, attempt=said.tried, worker=said.worker
    )


def _of_failure(failure: Failure, *, stage: str, implementation: str, attempt: int, worker: str | None) -> ItemError:
    return ItemError(
        code=failure.code.value,
        message=failure.message,
        reason=failure.reason,
        stage=stage,
        implementation=implementation,
        attempt=attempt,
        worker=worker,
        retryable=default_attempts().get(failure.code, 1) > 1,
    )


def results_of(
    tx: Transaction, view: View, job: str, *, after: Place = START, limit: int = _PAGE
) -> tuple[list[ResultLine], Place | None]:
    """The next root records of a job, each followed by its descendants, with their values and where these came from."""
    page = tx.progress.page(job, after=after, limit=limit)
    fates = {key: fate for _, key, fate in page}
    families = _families(tx, view, list(fates))
    keys = {view.root: sorted(fates)}
    for members in families.values():
        for collection, key in members:
            keys.setdefault(collection, []).append(key)
    names = {pk: name for name, pk in view.collections.items()}
    lines = {
        key: line
        for collection, members in keys.items()
        if collection in names
        for key, line in _lines(tx, view, names[collection], sorted(members), fates=fates, names=names)
    }
    found = []
    for _, key, _ in page:
        found += [lines[key], *(lines[child] for _, child in families.get(key, ()) if child in lines)]
    return found, page[-1][0] if len(page) == limit else None


def _lines(
    tx: Transaction,
    view: View,
    collection: str,
    keys: Sequence[int],
    *,
    fates: Mapping[int, Fate],
    names: Mapping[int, str],
) -> Iterator[tuple[int, ResultLine]]:
    records = tx.records.load(keys)
    parents = tx.records.load(sorted({r.parent for r in records.values() if r.parent is not None}))
    values, provenance = _said_values(tx, view, collection, keys)
    for key in keys:
        record = records[key]
        parent = parents.get(record.parent) if record.parent is not None else None
        root = key in fates
        yield (
            key,
            ResultLine(
                collection=collection,
                id=record.id,
                parent=None if parent is None else (names.get(parent.collection, ""), parent.id),
                status=fates[key].name.lower() if root else None,
                values=values.get(key, {}),
                provenance=provenance.get(key, {}),
                fields={} if root else dict(record.values()),
            ),
        )


def _said_values(
    tx: Transaction, view: View, collection: str, keys: Sequence[int]
) -> tuple[dict[int, dict[str, Value]], dict[int, dict[str, Provenance]]]:
    values: dict[int, dict[str, Value]] = {}
    provenance: dict[int, dict[str, Provenance]] = {}
    nodes = [node for node in view.nodes if node.collection == collection and node.version is not None]
    stored = tx.nodes.versions(sorted({node.version for node in nodes if node.version is not None}))
    for node in nodes:
        if node.version is None:
            continue
        several = sum(other.stage.name == node.stage.name for other in nodes) > 1
        name = f"{node.stage.name}/{node.implementation}" if several else node.stage.name
        version = stored[node.version].version
        reads = tx.results.reads(keys, node=node.pk, version=node.version)
        for key, packed in tx.results.values(keys, node=node.pk, version=node.version).items():
            value = decode(packed)
            expands = node.stage.kind is StageKind.EXPAND
            values.setdefault(key, {})[name] = {"count": value["count"]} if expands else value
            provenance.setdefault(key, {})[name] = Provenance(
                version=version.digest,
                model=None if version.model is None else version.model.sha256,
                input=reads[key].hex(),
            )
    return values, provenance


def errors_of(
    tx: Transaction, view: View, job: str, *, after: Place = START, limit: int = _PAGE
) -> tuple[list[ErrorLine], Place | None]:
    """Every failure of the next failed root records of a job, those of their descendants included."""
    page = tx.progress.page(job, after=after, limit=limit, having=[Fate.FAILED])
    roots = [key for _, key, _ in page]
    members = sorted({*roots, *(key for _, _, key in tx.records.descendants(roots))})
    failed = [one for one in tx.progress.said(members, versions=view.versions) if one.failure is not None]
    records = tx.records.load(sorted({one.record for one in failed}))
    names = tx.records.collection_names()
    found = []
    for one in failed:
        error, record = _item_error(view, one), records[one.record]
        if error is not None:
            found.append(ErrorLine(collection=names[record.collection], id=record.id, row=None, error=error))
    return found, page[-1][0] if len(page) == limit else None


def rows_aside(tx: Transaction, job: str, *, limit: int = 100_000) -> Iterator[ErrorLine]:
    """The rows of what was sent that became no records."""
    for row, code, reason, _ in tx.jobs.rows_aside(job, limit=limit):
        failure = Failure(code=FailureCode(code), message=reason)
        error = _of_failure(failure, stage="", implementation="", attempt=0, worker=None)
        yield ErrorLine(collection=None, id=None, row=row, error=error)
