"""Loads records, their parents and what is held of them, as the rule of staleness wants to see them."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from limner.domain.assessment import Held
from limner.domain.subjects import Subject
from limner.engine.views import View
from limner.store.records import RecordState, StoredRecord
from limner.store.store import Transaction

#: What is held of a record of which nothing is.
NONE_HELD: Mapping[int, Held] = {}


class Loaded(Struct, frozen=True, kw_only=True):
    """Some records with everything that the rule of staleness compares."""

    records: Mapping[int, StoredRecord]
    subjects: Mapping[int, Subject]
    held: Mapping[int, Mapping[int, Held]]
    parent_held: Mapping[int, Mapping[int, Held]]

    def of(self, key: int) -> Mapping[int, Held]:
        """What is held of a record."""
        return self.held.get(key, NONE_HELD)

    def of_parent(self, key: int) -> Mapping[int, Held]:
        """What is held of a record's parent."""
        parent = self.records[key].parent
        return NONE_HELD if parent is None else self.parent_held.get(parent, NONE_HELD)


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
    subjects = {
        key: _subject(record, parents.get(record.parent) if record.parent is not None else None)
        for key, record in records.items()
    }
    held = tx.results.held(list(records), versions=active, with_value=view.with_value)
    return Loaded(records=records, subjects=subjects, held=held, parent_held=parent_held)


def _subject(record: StoredRecord, parent: StoredRecord | None) -> Subject:
    above = None if parent is None else _subject(parent, None)
    return Subject(
        record.pk, record.fields, digest=record.digest, identity=record.id, revision=record.stamp, parent=above
    )
