"""What the store promises about many rows at once, which a database may take in another way than a few."""

from collections.abc import Iterator

import pytest

from limner.domain.jobs import Fate
from limner.domain.records import RecordIn
from limner.domain.tasks import Status
from limner.store.store import Store
from limner.store.tasks import Tally, TaskState
from limner.testing.store_nouns import planned, row

#: More than any database takes one by one.
MANY = 500


def record(number: int, *, title: str | None = None, version: int | None = None) -> RecordIn:
    """One record, with the oddest of texts in it."""
    fields = {"title": title if title is not None else f"{number}\t\\N 'ß' \x00"}
    return RecordIn(collection="things", id=f"n{number}", fields=dict(fields), source_version=version)


def _put_and_break(store: Store) -> None:
    with store.transaction() as tx:
        tx.results.put([row(number) for number in range(MANY)])
        raise ZeroDivisionError


class ManyContract:
    """Tests that run over every database; *store* is empty at the start of each."""

    @pytest.fixture
    def store(self) -> Store | Iterator[Store]:
        """The store to test, empty; a generator closes it."""
        raise NotImplementedError("abstract: a subclass gives the fixture `store`")

    def test_many_records_come_in_and_change(self, store: Store) -> None:
        """Every one is stored as it was given; a second page changes those that differ, and no other."""
        with store.transaction() as tx:
            first = tx.records.take_in([record(number) for number in range(MANY)])
        again = [record(number, title="new" if number % 2 else None) for number in range(MANY)]
        with store.transaction() as tx:
            second = tx.records.take_in(again)
            found = tx.records.load(first.keys)

        assert second.keys == first.keys
        assert sorted(second.changed) == sorted(first.keys[1::2])
        assert [found[key].values()["title"] for key in first.keys] == [one.fields["title"] for one in again]
        assert {found[key].source_version for key in first.keys} == {None}

    def test_many_results_are_put_twice_in_one_transaction(self, store: Store) -> None:
        """What is put later stands; what was confirmed in between has the new question."""
        with store.transaction() as tx:
            tx.results.put([row(number) for number in range(MANY)])
            tx.results.confirm([(b"again", number, 1, 1) for number in range(MANY)])
            tx.results.put([row(number, value=b"w", status=Status.SKIPPED) for number in range(0, MANY, 2)])
            held = tx.results.held(list(range(MANY)), versions={1: 1})
            counted = tx.results.count(versions={1: 1})

        assert counted == {(1, Status.DONE): MANY // 2, (1, Status.SKIPPED): MANY // 2}
        assert [held[1][number].asked for number in range(MANY)] == [b"asked", b"again"] * (MANY // 2)

    def test_many_tasks_are_planned_sent_and_tallied(self, store: Store) -> None:
        """Each has its own lease and counts; what is added is added to what stands."""
        with store.transaction() as tx:
            tx.tasks.plan([planned(number, number + 1000) for number in range(MANY)], now=1.0)
            keys = [task.pk for task in tx.tasks.ready(node=1, job="j", now=2.0, limit=MANY)]
            tx.tasks.send([(key, 10.0 + key) for key in keys])
            half = [Tally(pk=key, open=[1], done=1, worker="w", started=3, seconds=0.5) for key in keys]
            tx.tasks.tally(half)
            tx.tasks.tally([Tally(pk=key, open=[], failed=1, seconds=0.25, ended=True) for key in keys[::2]])
            still = tx.tasks.load(keys)
            ended = tx.tasks.any_state(keys[0])

        assert len(keys) == MANY
        assert sorted(still) == keys[1::2]
        assert {(task.state, task.done, task.worker, task.attempt) for task in still.values()} == {
            (TaskState.SENT, 1, "w", 1)
        }
        assert [still[key].lease_until for key in keys[1::2]] == [10.0 + key for key in keys[1::2]]
        assert ended is not None
        assert (ended.state, ended.done, ended.failed) == (TaskState.ENDED, 1, 1)

    def test_many_fates_are_entered_and_settled(self, store: Store) -> None:
        """The counts are exact over many parts of the ledger."""
        count = MANY * 200
        with store.transaction() as tx:
            tx.ledger.enter("j", dict.fromkeys(range(count), Fate.OPEN))
            tx.ledger.settle("j", dict.fromkeys(range(0, count, 2), Fate.DONE))
            tx.ledger.settle("j", dict.fromkeys(range(0, count, 5), Fate.FAILED), only_open=True)
            counts = tx.ledger.counts("j")

        assert (counts.records, counts.done, counts.failed) == (count, count // 2, count // 10)

    def test_nothing_of_many_rows_stands_after_an_error(self, store: Store) -> None:
        """A transaction that broke leaves nothing behind, neither for readers nor for the next one."""
        with pytest.raises(ZeroDivisionError):
            _put_and_break(store)
        with store.transaction() as tx:
            tx.results.put([row(number, value=b"x") for number in range(MANY, 2 * MANY)])
            found = tx.results.values(list(range(2 * MANY)), node=1, version=1)

        assert sorted(found) == list(range(MANY, 2 * MANY))
