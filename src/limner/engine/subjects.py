"""Loads records, their parents and what is held of them, as the rule of staleness wants to see them."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, field

from limner.domain.assessment import Held
from limner.domain.subjects import Subject
from limner.engine.views import View
from limner.store.records import RecordState, StoredRecord
from limner.store.store import Transaction

_NONE_HELD: Mapping[int, Held] = {}


class Loaded(Struct, frozen=True, kw_only=True):
    """Some records with everything that the rule of staleness compares."""

    records: Mapping[int, StoredRecord]
    parents: Mapping[int, StoredRecord]
    #: What is held of the records, by node and record.
    held: Mapping[int, Mapping[int, Held]]
    #: What is held of their parents, by node and parent.
    parent_held: Mapping[int, Mapping[int, Held]]
    _subjects: dict[int, Subject] = field(default_factory=dict)

    def subject(self, key: int) -> Subject:
        """A record as the rule sees it."""
        found = self._subjects.get(key)
        if found is None:
            record = self.records[key]
            parent = None if record.parent is None else self.parents.get(record.parent)
            above = None if parent is None else _subject(parent, None)
            found = self._subjects[key] = _subject(record, above)
        return found

    def of(self, key: int, nodes: Iterable[int] | None = None) -> dict[int, Held]:
        """What is held of a record by node, of all nodes or of some."""
        return _row(self.held, key, nodes)

    def of_parent(self, key: int) -> Mapping[int, Held]:
        """What is held of a record's parent by node."""
        parent = self.records[key].parent
        return _NONE_HELD if parent is None or not self.parent_held else _row(self.parent_held, parent, None)


def _row(held: Mapping[int, Mapping[int, Held]], key: int, nodes: Iterable[int] | None) -> dict[int, Held]:
    wanted = held if nodes is None else nodes
    return {node: mine for node in wanted if (mine := held.get(node, _NONE_HELD).get(key)) is not None}


def load(
    tx: Transaction,
    view: View,
    keys: Sequence[int],
    *,
    versions: Mapping[int, int] | None = None,
    all_of_them: bool = False,
) -> Loaded:
    """
    The live records *keys* that the view is about, or *all_of_them*; their parents where a node of the view reads one.

    Children that another implementation made are none of a view's business.
    """
    active = view.versions if versions is None else versions
    records = {key: record for key, record in tx.records.load(keys).items() if record.state != RecordState.RETIRED}
    if view.others and not all_of_them:
        records = {key: record for key, record in records.items() if record.made_by not in view.others}
    parents: dict[int, StoredRecord] = {}
    parent_held: Mapping[int, Mapping[int, Held]] = {}
    if view.parent_readers():
        wanted = sorted({record.parent for record in records.values() if record.parent is not None})
        parents = tx.records.load(wanted)
        parent_held = tx.results.held(wanted, versions=active, with_value=view.with_value)
    held = tx.results.held(list(records), versions=active, with_value=view.with_value)
    return Loaded(records=records, parents=parents, held=held, parent_held=parent_held)


def _subject(record: StoredRecord, parent: Subject | None) -> Subject:
    return Subject(
        record.pk, record.fields, digest=record.digest, identity=record.id, revision=record.stamp, parent=parent
    )
