"""The audit: compares source, records, results and index, names every gap, and never believes a counter."""

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct, field

from limner.app.searching import Indexed
from limner.domain.assessment import Kind, Verdict
from limner.domain.nodes import Node
from limner.domain.tasks import Status
from limner.engine.assessing import Assessment, assess_records
from limner.engine.views import View
from limner.search.base import Row, SearchIndex, document_digest
from limner.search.documents import documents_of
from limner.store.store import Store

#: Ids of each class that are kept.
_SHOWN = 20
_PAGE = 1000
#: Classes that are no gap: a skip has its reason.
_HARMLESS = ("skipped",)
CLASSES = ("missing", "extra", "stale", "mixed", "failed", "skipped")


class Gap(Struct, kw_only=True):
    """One class of what is not as it should be."""

    count: int = 0
    #: The first of them.
    ids: list[str] = field(default_factory=list)

    def add(self, identity: str) -> None:
        """Count one."""
        self.count += 1
        if len(self.ids) < _SHOWN:
            self.ids.append(identity)


class Audit(Struct, frozen=True, kw_only=True):
    """
    What an audit found: ``missing`` (no result, no document, or no record for a row of the source), ``extra`` (in the
    index or here, but not where it comes from), ``stale`` (of an older version or input), ``mixed`` (a version that is
    not the active one), ``failed``, ``skipped``.
    """

    pipeline: str
    records: int
    classes: dict[str, Gap]
    #: Documents to put in anew, by collection.
    unindexed: dict[str, list[int]] = field(default_factory=dict)
    #: Documents to take out, by collection.
    strays: dict[str, list[str]] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether nothing but skips was found."""
        return not any(gap.count for name, gap in self.classes.items() if name not in _HARMLESS)


def audit(
    store: Store, view: View, indexed: Mapping[Indexed, SearchIndex], *, source_ids: Iterator[str] | None = None
) -> Audit:
    """Look at every record, result and document of a pipeline, a page at a time."""
    found = Audit(pipeline=view.pipeline.name, records=0, classes={name: Gap() for name in CLASSES})
    if source_ids is not None:
        _audit_source(store, view, source_ids, found.classes)
    records = 0
    for name, collection in view.collections.items():
        records += _audit_results(store, view, name, collection, found.classes)
    for one, index in indexed.items():
        _audit_index(store, one, index, found)
    return Audit(
        pipeline=found.pipeline,
        records=records,
        classes=found.classes,
        unindexed=found.unindexed,
        strays=found.strays,
    )


def _audit_source(store: Store, view: View, ids: Iterator[str], classes: Mapping[str, Gap]) -> None:
    """Compare the source's listing with the records."""
    listed = set(ids)
    after = ""
    while True:
        with store.reading() as tx:
            page = tx.records.listing(view.root, after=after, limit=_PAGE)
        if not page:
            break
        after = page[-1][0]
        for identity, _ in page:
            if identity not in listed:
                classes["extra"].add(identity)
            listed.discard(identity)
    for identity in sorted(listed):
        classes["missing"].add(identity)


def _audit_results(store: Store, view: View, name: str, collection: int, classes: Mapping[str, Gap]) -> int:
    """Compare records with their required results; how many live records there are."""
    nodes = [node for node in view.over(collection) if node.stage.required]
    count, after = 0, 0
    while True:
        with store.reading() as tx:
            keys = tx.records.page(collection, after=after, limit=_PAGE)
            if not keys:
                return count
            after = keys[-1]
            if name == view.pipeline.collection:
                count += len(keys)
            if nodes:
                assessment = assess_records(tx, view, collection, keys)
                known = {node.pk: tx.results.known(keys, node=node.pk) for node in nodes}
                _classify(assessment, nodes, known, classes)


def _classify(
    assessment: Assessment, nodes: Sequence[Node], known: Mapping[int, set[int]], classes: Mapping[str, Gap]
) -> None:
    for key, verdicts in assessment.verdicts().items():
        identity = assessment.loaded.records[key].id
        names = {_class_of(verdicts[node.pk], key in known[node.pk]) for node in nodes}
        for name in names - {None}:
            classes[str(name)].add(identity)


def _class_of(verdict: Verdict, known: bool) -> str | None:
    """The class of one verdict; None where all is well."""
    if verdict.kind is Kind.SETTLED:
        return {Status.FAILED: "failed", Status.SKIPPED: "skipped"}.get(verdict.status or Status.DONE)
    if verdict.kind is Kind.UNAVAILABLE:
        return None
    return "stale" if known else "missing"


def _audit_index(store: Store, one: Indexed, index: SearchIndex, found: Audit) -> None:
    """Compare what an index holds with what it should, both in order of their ids."""
    rows = index.rows() if any(generation.current for generation in index.generations()) else iter(())
    row = next(rows, None)
    for identity, key, digest, versions in _documents(store, one):
        while row is not None and row.id < identity:
            _stray(one, row, found)
            row = next(rows, None)
        if row is None or row.id != identity:
            found.classes["missing"].add(identity)
            found.unindexed.setdefault(one.collection, []).append(key)
            continue
        if row.digest != digest:
            mixed = any(row.versions.get(path, version) != version for path, version in versions.items())
            found.classes["mixed" if mixed else "stale"].add(identity)
            found.unindexed.setdefault(one.collection, []).append(key)
        row = next(rows, None)
    while row is not None:
        _stray(one, row, found)
        row = next(rows, None)


def _stray(one: Indexed, row: Row, found: Audit) -> None:
    found.classes["extra"].add(row.id)
    found.strays.setdefault(one.collection, []).append(row.id)


def _documents(store: Store, one: Indexed) -> Iterator[tuple[str, int, str, Mapping[str, str]]]:
    """Id, key, digest and versions of every document that should be there, in order of the ids."""
    collection, after = one.view.collections[one.collection], ""
    while True:
        with store.reading() as tx:
            page = tx.records.listing(collection, after=after, limit=_PAGE, stubs=True)
            if not page:
                return
            after = page[-1][0]
            keys = dict(page)
            documents, _ = documents_of(tx, one.view, one.mapping, collection=one.collection, keys=list(keys.values()))
            documents.sort(key=lambda document: document.id)
            for document in documents:
                yield document.id, keys[document.id], document_digest(document), document.versions
