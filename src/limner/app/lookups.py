"""Records looked up by their ids: several questions are answered by one reading of the store."""

from collections.abc import Mapping, Sequence

from limner.app.app import App
from limner.app.looking import rows_at
from limner.app.record_view import RecordView, record_at
from limner.errors import NotFound
from limner.store.store import Transaction


def looked_up(app: App, asked: Sequence[tuple[str, str]]) -> list[RecordView | NotFound]:
    """Each of the records *asked* for, as collection and id, with its current values; or why there is none."""
    wanted: dict[str, list[str]] = {}
    for collection, identity in asked:
        wanted.setdefault(collection, []).append(identity)
    found: dict[str, Mapping[str, RecordView] | NotFound] = {}
    with app.store.reading() as tx:
        for collection, ids in wanted.items():
            try:
                found[collection] = records_named(app, tx, collection, ids)
            except NotFound as error:
                found[collection] = error
    return [_one(found[collection], collection, identity) for collection, identity in asked]


def _one(found: Mapping[str, RecordView] | NotFound, collection: str, identity: str) -> RecordView | NotFound:
    if isinstance(found, NotFound):
        return found
    return found.get(identity) or NotFound(f"{collection} has no record {identity}.")


def records_named(
    app: App, tx: Transaction, collection: str, ids: Sequence[str], *, stages: Sequence[str] | None = None
) -> Mapping[str, RecordView]:
    """
    The records among *ids* that are stored, in the order asked for.

    Raises:
        NotFound: there is no such collection; the sentence names the known ones.
    """
    key = tx.records.find_collection(collection)
    if key is None:
        known = ", ".join(sorted(tx.records.collection_names().values())) or "none"
        raise NotFound(f"There is no collection {collection}; known are: {known}")
    keys = tx.records.keys(key, ids)
    views = [view for view in app.views(tx) if collection in view.pipeline.collections()]
    ordered = [keys[identity] for identity in dict.fromkeys(ids) if identity in keys]
    return {row.record.id: record_at(row, stages=stages) for _, row in rows_at(tx, views, collection, ordered)}
