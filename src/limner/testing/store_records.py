"""What the store promises about records: taken in, superseded, made as children, retired and paged."""

from collections.abc import Iterator

import pytest

from limner.domain.records import RecordIn
from limner.domain.values import encode
from limner.store.records import Child, RecordState
from limner.store.store import Store


def given(identity: str, *, version: int | None = None, parent: str | None = None, **fields: object) -> RecordIn:
    """A record of the collection ``c``."""
    above = None if parent is None else ("parents", parent)
    return RecordIn(collection="c", id=identity, fields=fields, source_version=version, parent=above)


class RecordsContract:
    """Tests that run over every database; *store* is empty at the start of each."""

    @pytest.fixture
    def store(self) -> Store | Iterator[Store]:
        """The store to test, empty; a generator closes it."""
        raise NotImplementedError("abstract: a subclass gives the fixture `store`")

    def test_taking_in_says_what_is_new_and_what_differs(self, store: Store) -> None:
        """Keys come in the order given; a record that is as it was is not among the changed ones."""
        with store.transaction() as tx:
            first = tx.records.take_in([given("a", x=1), given("b", x=1)])
            second = tx.records.take_in([given("b", x=1), given("a", x=2), given("c", x=1)])

        assert second.keys[:2] == [first.keys[1], first.keys[0]]
        assert second.changed == [second.keys[2], first.keys[0]]
        assert second.added == [second.keys[2]]
        assert first.added == first.keys == first.changed

    def test_record_given_twice_in_one_page_is_one_record(self, store: Store) -> None:
        """The last one wins, unless it is older."""
        with store.transaction() as tx:
            taken = tx.records.take_in([given("a", x=1), given("a", x=2)])
            tx.records.take_in([given("b", version=5, x=5), given("b", version=3, x=3)])
            stored = tx.records.keys(tx.records.collection("c"), ["a", "b"])
            fields = {i: tx.records.load([pk])[pk].values() for i, pk in stored.items()}

        assert taken.keys[0] == taken.keys[1]
        assert taken.added == [taken.keys[0]]
        assert fields == {"a": {"x": 2}, "b": {"x": 5}}

    def test_older_source_version_is_superseded(self, store: Store) -> None:
        """An older version changes nothing and is counted; the same version with other fields counts as a change."""
        with store.transaction() as tx:
            tx.records.take_in([given("a", version=5, x=5)])
            older = tx.records.take_in([given("a", version=4, x=4)])
            same = tx.records.take_in([given("a", version=5, x=6)])

        assert (older.superseded, older.changed) == (1, [])
        assert (same.superseded, len(same.changed)) == (0, 1)

    def test_parent_that_no_source_described_is_a_stub_until_one_does(self, store: Store) -> None:
        """A named parent has a key at once, and lives once it is described."""
        with store.transaction() as tx:
            named = tx.records.take_in([given("a", parent="p")])
            parents = tx.records.collection("parents")
            key = tx.records.keys(parents, ["p"])["p"]
            stub = tx.records.load([key])[key]
            live_before = tx.records.count(parents)
            tx.records.take_in([RecordIn(collection="parents", id="p", fields={"y": 1})])
            described = tx.records.load([key])[key]

        assert named.named == {parents: [key]}
        assert (stub.state, live_before, described.state) == (RecordState.STUB, 0, RecordState.LIVE)
        assert described.values() == {"y": 1}

    def test_record_that_moves_to_another_parent_names_the_one_it_left(self, store: Store) -> None:
        """Whoever holds the parents' groups learns which one lost a member."""
        with store.transaction() as tx:
            tx.records.take_in([given("a", parent="p")])
            left = tx.records.take_in([given("a", parent="q")]).left
            key = tx.records.keys(tx.records.collection("parents"), ["p"])["p"]

        assert left == [key]

    def test_children_are_made_changed_retired_and_revived(self, store: Store) -> None:
        """A child keeps its key whatever happens to it."""

        def child(identity: str, x: int) -> Child:
            return Child(id=identity, parent=root, root=root, fields=encode({"x": x}))

        with store.transaction() as tx:
            (root,) = tx.records.take_in([given("a")]).keys
            collection = tx.records.collection("children")
            made = tx.records.make_children(collection, [child("m", 1), child("n", 1)], made_by=7)
            again = tx.records.make_children(collection, [child("m", 1), child("n", 2)], made_by=7)
            tx.records.retire([made.keys[0]])
            alive = [record.id for record in tx.records.children([root])]
            revived = tx.records.make_children(collection, [child("m", 1)], made_by=7)

            assert again.changed == [made.keys[1]]
            assert again.added == []
            assert alive == ["n"]
            assert revived.changed == [made.keys[0]]
            assert {row[2] for row in tx.records.descendants([root])} == set(made.keys)
            assert [r.id for r in tx.records.children([root], made_by=8)] == []
            assert tx.records.children([root], collection=collection)[0].stamp == b""

    def test_pages_windows_and_listings_reach_every_live_record(self, store: Store) -> None:
        """Paging by key, by source version and by id finds each record once, and none that is retired."""
        with store.transaction() as tx:
            keys = tx.records.take_in([given(f"{n:03}", version=n, x=n) for n in range(25)]).keys
            tx.records.retire([keys[3]])
            collection = tx.records.collection("c")
            paged, after = [], 0
            while page := tx.records.page(collection, after=after, limit=7):
                paged += page
                after = page[-1]
            named, last = [], ""
            while listed := tx.records.listing(collection, after=last, limit=7):
                named += [identity for identity, _ in listed]
                last = listed[-1][0]
            window = tx.records.window(collection, since=2, until=6)
            counted = tx.records.count(collection)

        assert paged == [key for key in keys if key != keys[3]]
        assert named == [f"{n:03}" for n in range(25) if n != 3]
        assert window == [keys[2], keys[4], keys[5]]
        assert counted == 24

    def test_same_id_in_two_collections_is_two_records(self, store: Store) -> None:
        """An id names a record within its collection."""
        with store.transaction() as tx:
            other = RecordIn(collection="d", id="a", fields={})
            keys = tx.records.take_in([given("a"), other]).keys
            names = tx.records.collection_names()

        assert len(set(keys)) == 2
        assert sorted(names.values()) == ["c", "d"]

    def test_ids_come_back_exactly(self, store: Store) -> None:
        """An id is opaque, whatever it is made of."""
        odd = ["Ä", "ä", "a b", "a\nb", "'; DROP TABLE records; --", "😀", "0", "%", "x" * 500]
        with store.transaction() as tx:
            tx.records.take_in([given(identity) for identity in odd])
            found = tx.records.keys(tx.records.collection("c"), odd)

        assert sorted(found) == sorted(odd)
        assert len(set(found.values())) == len(odd)
