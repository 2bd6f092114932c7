"""Records looked up by their ids, as the JSON of answers: two statements for all that are asked for together."""

import re
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from limner.app.app import App
from limner.app.record_view import RecordView
from limner.domain.nodes import Node
from limner.domain.pipelines import StageKind
from limner.domain.records import Provenance
from limner.domain.values import Value, decode, plain
from limner.domain.versions import Version
from limner.errors import NotFound
from limner.store.lookups import FoundRecord
from limner.store.store import Transaction

#: Where none of these bytes stands, MessagePack holds neither bytes nor arrays: it is JSON in other words.
_OTHER = re.compile(rb"[\xc4-\xc9\xd4-\xd8]")
_encoder = msgspec.json.Encoder()


class _Said(Struct, frozen=True, kw_only=True):
    """What stands for one node in the answer."""

    stage: str
    version: str
    model: str | None
    #: Whether only the number of children is told, which are records of their own.
    counted: bool


class _Plan(Struct, frozen=True, kw_only=True):
    """How the records of one collection are looked up, while no node moves."""

    #: Key of the collection.
    key: int
    #: By node and version, in the order in which the stages run; the last one wins where two are called the same.
    said: Mapping[tuple[int, int], _Said]
    rank: Mapping[int, int]
    versions: Sequence[int]


class LookUps:
    """The look-ups of one project; what does not change from one to the next is remembered. Shared by threads."""

    def __init__(self, app: App) -> None:
        self._app = app
        #: State of all nodes, and by collection the plan that holds while it stays.
        self._plans: tuple[object, dict[str, _Plan]] = (None, {})
        self._names: Mapping[int, str] = {}

    def each(self, asked: Sequence[tuple[str, str]]) -> list[bytes | NotFound]:
        """Each of the records *asked* for, as collection and id, with its current values; or why there is none."""
        wanted: dict[str, dict[str, None]] = {}
        for collection, identity in asked:
            wanted.setdefault(collection, {})[identity] = None
        found: dict[str, Mapping[str, RecordView] | NotFound] = {}
        with self._app.store.looking_up() as tx:
            for collection, ids in wanted.items():
                try:
                    found[collection] = self._found(tx, collection, list(ids))
                except NotFound as error:
                    found[collection] = error
        return [_one(found[collection], collection, identity) for collection, identity in asked]

    def together(self, collection: str, ids: Sequence[str], *, stages: Sequence[str] | None = None) -> bytes:
        """
        A page of the records among *ids* that are stored, in the order asked for, with what *stages* said if named.

        Raises:
            NotFound: there is no such collection; the sentence names the known ones.
        """
        distinct = list(dict.fromkeys(ids))
        with self._app.store.reading() as tx:
            found = self._found(tx, collection, distinct, stages=None if stages is None else frozenset(stages))
        return encoded({"items": [found[one] for one in distinct if one in found], "next": None})

    def _found(
        self, tx: Transaction, collection: str, ids: Sequence[str], *, stages: frozenset[str] | None = None
    ) -> dict[str, RecordView]:
        """The records that are stored among *ids*, by id, their values in JSON's types."""
        plan = self._plan(tx, collection)
        rows = tx.lookups.records(plan.key, ids)
        parents = self._parents(tx, rows)
        results = tx.lookups.results([row[1] for row in rows], versions=plan.versions)
        if len(plan.rank) > 1:
            results.sort(key=lambda row: plan.rank.get(row[1], 0))
        about: dict[int, tuple[dict[str, Value], dict[str, Provenance]]] = {row[1]: ({}, {}) for row in rows}
        for record, node, version, read, packed in results:
            said = plan.said.get((node, version))
            if said is None or (stages is not None and said.stage not in stages):
                continue
            value = readable(packed)
            values, provenance = about[record]
            values[said.stage] = {"count": value["count"]} if said.counted else value
            provenance[said.stage] = Provenance(version=said.version, model=said.model, input=read.hex())
        found = {}
        for identity, pk, parent, revision, source_version, fields in rows:
            values, provenance = about[pk]
            found[identity] = RecordView(
                collection=collection,
                id=identity,
                fields=readable(fields),
                revision=revision,
                source_version=source_version,
                parent=None if parent is None else parents[parent],
                values=values,
                provenance=provenance,
            )
        return found

    def _plan(self, tx: Transaction, collection: str) -> _Plan:
        """
        How the records of *collection* are looked up now.

        Raises:
            NotFound: there is no such collection; the sentence names the known ones.
        """
        state, plans = self._plans
        now = tuple(tx.lookups.nodes())
        if state != now:
            # Another thread may set it as well; either is right for its own moment.
            state, plans = self._plans = (now, {})
        found = plans.get(collection)
        if found is None:
            found = plans[collection] = self._planned(tx, collection)
        return found

    def _planned(self, tx: Transaction, collection: str) -> _Plan:
        key = tx.records.find_collection(collection)
        if key is None:
            known = ", ".join(sorted(tx.records.collection_names().values())) or "none"
            raise NotFound(f"There is no collection {collection}; known are: {known}")
        nodes = [
            (node, node.version)
            for view in self._app.views(tx)
            for node in view.nodes
            if node.collection == collection and node.version is not None
        ]
        versions = list(dict.fromkeys(version for _, version in nodes))
        stored = tx.nodes.versions(versions)
        return _Plan(
            key=key,
            said={(node.pk, version): _said(node, stored[version].version) for node, version in nodes},
            rank={node.pk: at for at, (node, _) in enumerate(nodes)},
            versions=versions,
        )

    def _parents(self, tx: Transaction, rows: Sequence[FoundRecord]) -> Mapping[int, tuple[str, str]]:
        """Collection and id of the records' parents."""
        keys = list({row[2] for row in rows if row[2] is not None})
        found = tx.lookups.parents(keys)
        if any(collection not in self._names for collection, _ in found.values()):
            self._names = tx.records.collection_names()
        return {key: (self._names[collection], identity) for key, (collection, identity) in found.items()}


def _said(node: Node, version: Version) -> _Said:
    return _Said(
        stage=node.stage.name,
        version=version.digest,
        model=None if version.model is None else version.model.sha256,
        counted=node.stage.kind is StageKind.EXPAND,
    )


def _one(found: Mapping[str, RecordView] | NotFound, collection: str, identity: str) -> bytes | NotFound:
    if isinstance(found, NotFound):
        return found
    view = found.get(identity)
    return NotFound(f"{collection} has no record {identity}.") if view is None else encoded(view)


def readable(packed: bytes) -> Value:
    """An encoded value in JSON's types; looked through item by item only where it may hold others."""
    return plain(decode(packed)) if _OTHER.search(packed) else decode(packed)


def encoded(told: RecordView | Mapping[str, object]) -> bytes:
    """*told*, whose values are of JSON's types, as JSON."""
    try:
        return _encoder.encode(told)
    except TypeError:
        # A key that is no text, which few values have.
        return _encoder.encode(plain(msgspec.to_builtins(told)))
