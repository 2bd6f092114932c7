"""What the store promises about look-ups: records and results by key, however many, over a connection that is kept."""

from collections.abc import Iterator

import pytest

from limner.domain.records import RecordIn
from limner.domain.tasks import Status
from limner.domain.values import encode
from limner.errors import StoreUnavailable
from limner.store.store import Store


class LookUpsContract:
    """Tests that run over every database; *store* is empty at the start of each."""

    @pytest.fixture
    def store(self) -> Store | Iterator[Store]:
        """The store to test, empty; a generator closes it."""
        raise NotImplementedError("abstract: a subclass gives the fixture `store`")

    @pytest.mark.parametrize("count", [1, 5, 300, 1000])
    def test_records_are_found_by_their_ids(self, store: Store, count: int) -> None:
        """Any number of ids: each stored one is found once, with its fields and its parent; others are not."""
        # given
        with store.transaction() as tx:
            given = [RecordIn(collection="c", id=f"r{n}", fields={"n": n}, parent=("p", "up")) for n in range(count)]
            keys = tx.records.take_in(given).keys
            tx.records.take_in([RecordIn(collection="other", id="r0", fields={})])
            collection = tx.records.collection("c")

        # when
        with store.looking_up() as tx:
            found = tx.lookups.records(collection, [f"r{n}" for n in range(2 * count)])
            above = tx.lookups.parents(list({row[2] for row in found if row[2] is not None}))
            names = tx.records.collection_names()

        # then
        assert sorted((row[0], row[1], row[5]) for row in found) == sorted(
            (f"r{n}", key, encode({"n": n})) for n, key in enumerate(keys)
        )
        assert {(names[one], identity) for one, identity in above.values()} == {("p", "up")}

    def test_results_are_those_of_the_versions_asked_for(self, store: Store) -> None:
        """What failed, what another version said and what was said of other records is left out."""
        # given
        said = encode({"x": 1})
        with store.transaction() as tx:
            tx.results.put(
                [
                    (1, 7, 1, Status.DONE, None, 1, b"a", b"read", b"d", said),
                    (1, 7, 2, Status.DONE, None, 1, b"a", b"newer", b"d", said),
                    (2, 7, 2, Status.FAILED, None, 1, b"a", b"r", b"d", b""),
                    (3, 8, 3, Status.DONE, None, 1, b"a", b"other", b"d", said),
                    (4, 7, 2, Status.DONE, None, 1, b"a", b"r", b"d", said),
                ]
            )

        # when
        with store.looking_up() as tx:
            found = tx.lookups.results([1, 2, 3], versions=[2, 3])
            none = tx.lookups.results([1, 2, 3], versions=[])

        # then
        assert sorted(found) == [(1, 7, 2, b"newer", said), (3, 8, 3, b"other", said)]
        assert none == []

    def test_a_look_up_sees_each_commit_before_it(self, store: Store) -> None:
        """The connection is kept, and what it sees is not: each look-up is of its own moment."""
        seen = []
        for number in range(3):
            with store.transaction() as tx:
                tx.records.take_in([RecordIn(collection="c", id=f"r{number}", fields={})])
                collection = tx.records.collection("c")
            with store.looking_up() as tx:
                seen.append(len(tx.lookups.records(collection, ["r0", "r1", "r2"])))

        assert seen == [1, 2, 3]

    def test_a_look_up_that_broke_leaves_the_next_one_alone(self, store: Store) -> None:
        """What the database refuses is told as such, and the next look-up begins anew."""
        with pytest.raises(StoreUnavailable), store.looking_up() as tx:
            tx.connection.exec_driver_sql("SELECT nothing FROM nowhere")

        with store.looking_up() as tx:
            assert tx.lookups.nodes() == []
