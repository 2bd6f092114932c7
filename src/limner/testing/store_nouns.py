"""What the store promises about results, tasks, jobs, groups, the journal and versions, over every database."""

from collections.abc import Iterator

import pytest

from limner.domain.failures import Failure, FailureCode
from limner.domain.jobs import Job, JobState
from limner.domain.records import RecordIn
from limner.domain.tasks import Status
from limner.domain.versions import Version
from limner.errors import IllegalMove, NotFound
from limner.store.results import FailedAttempt, ResultRow, encode_failure
from limner.store.store import Store
from limner.store.tasks import NewTask, Tally

LOST = Failure(code=FailureCode.WORKER_LOST, message="Gone.", reason="worker lost")


def row(
    record: int, *, node: int = 1, version: int = 1, status: Status = Status.DONE, value: bytes = b"v"
) -> ResultRow:
    """One result."""
    return (record, node, version, status.value, None, 1, b"asked", b"read", b"digest", value)


def planned(*keys: int, job: str | None = "j", node: int = 1, not_before: float = 0.0) -> NewTask:
    """A task to plan."""
    return NewTask(node=node, version=1, keys=list(keys), job=job, not_before=not_before)


class NounsContract:
    """Tests that run over every database; *store* is empty at the start of each."""

    @pytest.fixture
    def store(self) -> Store | Iterator[Store]:
        """The store to test, empty; a generator closes it."""
        raise NotImplementedError("abstract: a subclass gives the fixture `store`")

    def test_result_is_one_for_each_record_node_and_version(self, store: Store) -> None:
        """A later result overwrites its own kind only; what is held is asked for by version."""
        with store.transaction() as tx:
            tx.results.put([row(1), row(1, version=2, value=b"w"), row(2), row(1, node=2)])
            tx.results.put([row(1, value=b"x")])

            assert tx.results.values([1, 2], node=1, version=1) == {1: b"x", 2: b"v"}
            assert tx.results.values([1, 2], node=1, version=2) == {1: b"w"}
            held = tx.results.held([1, 2], versions={1: 1, 2: 1})
            assert {node: sorted(records) for node, records in held.items()} == {1: [1, 2], 2: [1]}
            assert tx.results.held([1], versions={1: 9}) == {1: {}}
            assert tx.results.held([1], versions={}) == {}
            assert tx.results.count(versions={1: 1}) == {(1, Status.DONE): 2}
            assert tx.results.known([1, 2, 3], node=1) == {1, 2}
            assert tx.results.reads([1], node=1, version=1) == {1: b"read"}
            assert [r[0] for r in tx.results.scan(node=1, version=1, first=1, last=9)] == [1, 2]

    def test_value_is_loaded_only_where_it_is_asked_for(self, store: Store) -> None:
        """Conditions ask for values; the rest goes by digests."""
        with store.transaction() as tx:
            tx.results.put([row(1), row(1, node=2)])
            held = tx.results.held([1], versions={1: 1, 2: 1}, with_value=frozenset({2}))

        assert (held[1][1].value, held[2][1].value) == (b"", b"v")

    def test_confirmed_result_keeps_its_value_under_the_new_question(self, store: Store) -> None:
        """What was found unchanged is current for what was asked now; a forgotten question is stale."""
        with store.transaction() as tx:
            tx.results.put([row(1), row(2)])
            tx.results.confirm([(b"again", 1, 1, 1)])
            tx.results.forget_asked([(2, 1, 1)])
            held = tx.results.held([1, 2], versions={1: 1})

        assert (held[1][1].asked, held[1][2].asked) == (b"again", b"")
        assert held[1][1].value_digest == b"digest"

    def test_failed_results_are_paged_by_record(self, store: Store) -> None:
        """Failures of the served versions are found in order, within a span."""
        with store.transaction() as tx:
            failed = encode_failure(LOST)
            tx.results.put([row(key, status=Status.FAILED, value=failed) for key in (5, 3, 9)])
            tx.results.put([row(4, version=2, status=Status.FAILED, value=failed), row(6)])
            first = tx.results.failed(versions={1: 1}, limit=2)
            rest = tx.results.failed(versions={1: 1}, after=first[-1][0])
            span = tx.results.failed(versions={1: 1}, span=(4, 9))

        assert [r[0] for r in first] == [3, 5]
        assert [r[0] for r in rest] == [9]
        assert [r[0] for r in span] == [5, 9]
        assert span[0][4] == LOST

    def test_attempts_are_kept_in_their_order(self, store: Store) -> None:
        """The history of a record holds every failed attempt."""
        attempt = FailedAttempt(
            record=1, node=1, version=1, task=1, job=None, tried=1, worker="w", at=1.0, final=False, failure=LOST
        )
        with store.transaction() as tx:
            tx.results.log_attempts([attempt, attempt])

            assert tx.results.attempts(1) == [attempt, attempt]
            assert tx.results.attempts(2) == []

    def test_task_goes_from_ready_to_sent_to_ended(self, store: Store) -> None:
        """A task is handed out, leased, answered in parts and then gone from the open ones."""
        with store.transaction() as tx:
            tx.tasks.plan([planned(1, 2, 3), planned(4, not_before=50.0)], now=0.0)
            (task,) = tx.tasks.ready(node=1, job="j", now=10.0, limit=9)
            tx.tasks.send([(task.pk, 60.0)])
            sent = tx.tasks.load([task.pk])[task.pk]
            tx.tasks.tally([Tally(pk=task.pk, open=[3], done=2, worker="w", started=5.0, seconds=1.0)])
            partly = tx.tasks.load([task.pk])[task.pk]
            tx.tasks.tally([Tally(pk=task.pk, open=[], failed=1, worker="w", started=6.0, seconds=2.0, ended=True)])

            assert (task.keys, sent.attempt, sent.lease_until) == ([1, 2, 3], 1, 60.0)
            assert (partly.keys, partly.done, partly.state) == ([3], 2, 1)
            assert tx.tasks.load([task.pk]) == {}
            assert tx.tasks.in_flight() == {}
            assert tx.tasks.backlog() == {(1, "j"): 1}
            assert tx.tasks.any_open(job="j")
            assert tx.tasks.any_of([1])
            assert not tx.tasks.any_of([2])

    def test_lease_runs_out_unless_it_is_moved(self, store: Store) -> None:
        """Only sent tasks expire, and a heartbeat moves their end."""
        with store.transaction() as tx:
            tx.tasks.plan([planned(1), planned(2), planned(3)], now=0.0)
            first, second, _ = tx.tasks.ready(node=1, job="j", now=0.0, limit=9)
            tx.tasks.send([(first.pk, 60.0), (second.pk, 60.0)])
            tx.tasks.extend([second.pk], until=120.0, worker="w")

            assert [task.pk for task in tx.tasks.expired(now=61.0)] == [first.pk]
            assert tx.tasks.unsend([first.pk]) == 1
            assert tx.tasks.expired(now=61.0) == []
            assert tx.tasks.unsend() == 1

    def test_nothing_waits_longer_than_it_may(self, store: Store) -> None:
        """Leases of sent tasks are shortened, and ready ones are brought forward; what is due before stays."""
        with store.transaction() as tx:
            tx.tasks.plan([planned(1), planned(2), planned(3, not_before=3600.0), planned(4, not_before=9.0)], now=0.0)
            first, second = tx.tasks.ready(node=1, job="j", now=0.0, limit=9)
            tx.tasks.send([(first.pk, 3660.0), (second.pk, 20.0)])

            tx.tasks.shorten(until=60.0)
            tx.tasks.bring_forward(until=120.0)

            assert [task.lease_until for task in tx.tasks.load([first.pk, second.pk]).values()] == [60.0, 20.0]
            assert [len(tx.tasks.ready(node=1, job="j", now=now, limit=9)) for now in (9.0, 119.0, 120.0)] == [1, 1, 2]

    def test_dropped_task_holds_nothing(self, store: Store) -> None:
        """A dropped task is neither sent nor in anybody's way."""
        with store.transaction() as tx:
            tx.tasks.plan([planned(1, 2), planned(5, job=None)], now=0.0)
            (task,) = tx.tasks.ready(node=1, job="j", now=0.0, limit=9)
            before = [t.pk for t in tx.tasks.overlapping([1], first=2, last=3)]
            tx.tasks.drop([task.pk])

            assert before == [task.pk]
            assert tx.tasks.overlapping([1], first=2, last=3) == []
            assert not tx.tasks.any_open(job="j")
            assert [t.keys for t in tx.tasks.ready(node=1, job=None, now=0.0, limit=9)] == [[5]]
            assert tx.tasks.durations(nodes=[1]) == {1: (1, 1)}
            tx.tasks.give_to([t.pk for t in tx.tasks.open_of(nodes=[1])], job="k")
            assert tx.tasks.any_open(job="k")

    def test_job_keeps_state_counters_and_events(self, store: Store) -> None:
        """A job moves as it may, its counters grow, and its events tell."""
        job = Job(id="j", pipeline="p", state=JobState.WAITING, priority=3, created=1.0, choices={"s": ["a"]})
        with store.transaction() as tx:
            tx.jobs.add(job)
            tx.jobs.add(Job(id="k", pipeline="q", state=JobState.WAITING, created=2.0))
            tx.jobs.move("j", JobState.RUNNING, at=2.0)
            tx.jobs.grow("j", inferred=2, reused=1)
            tx.jobs.grow("j", inferred=3)
            opened = [found.id for found in tx.jobs.open()]
            tx.jobs.move("j", JobState.DONE, at=9.0)
            found = tx.jobs.get("j")

            assert opened == ["j", "k"]
            assert (found.inferred, found.reused, found.state, found.ended) == (5, 1, JobState.DONE, 9.0)
            assert found.choices == {"s": ["a"]}
            assert [event.kind for event in tx.jobs.events("j")] == ["created", "running", "done"]
            assert [j.id for j in tx.jobs.listing()] == ["k", "j"]
            assert [j.id for j in tx.jobs.listing(states=[JobState.DONE])] == ["j"]
            latest = tx.jobs.latest(pipeline="p")
            assert latest is not None
            assert latest.id == "j"
            with pytest.raises(IllegalMove):
                tx.jobs.move("j", JobState.CANCELLING, at=9.0)
            with pytest.raises(NotFound, match="limner jobs"):
                tx.jobs.get("nobody")

    def test_group_memberships_move_and_marks_are_kept_once(self, store: Store) -> None:
        """A member belongs to one group of a gather; a mark stands until it is taken."""
        with store.transaction() as tx:
            tx.groups.join(1, [(10, 100), (11, 100), (12, 101)])
            left = tx.groups.join(1, [(10, 101), (11, 100)])
            tx.groups.mark(1, [100, 101], job="j")
            tx.groups.mark(1, [100], job="k")

            assert left == {100}
            assert tx.groups.members(1, [100, 101, 102]) == {100: [11], 101: [10, 12], 102: []}
            assert tx.groups.leave(1, [11, 99]) == {100}
            assert tx.groups.holders(1, [10, 11]) == {10: 101}
            assert tx.groups.marked([1, 2]) == {1: [(100, "j"), (101, "j")]}
            tx.groups.unmark(1, [100])
            assert tx.groups.any_marked([1])
            assert not tx.groups.any_marked([2])

    def test_journal_numbers_only_grow_and_followers_remember(self, store: Store) -> None:
        """A follower reads what came after the last number that it took."""
        with store.transaction() as tx:
            before = tx.journal.last()
            tx.journal.write(1, [3, 4], kind="records", at=1.0)
            tx.journal.write(2, [], kind="version", at=2.0)
            entries = tx.journal.read(after=before)
            tx.journal.take("index", entries[0].number)

            assert [(entry.collection, entry.kind, entry.records) for entry in entries] == [
                (1, "records", [3, 4]),
                (2, "version", []),
            ]
            assert [entry.kind for entry in tx.journal.read(after=tx.journal.taken("index"))] == ["version"]
            assert tx.journal.taken("nobody") == 0
            assert tx.journal.last() == entries[-1].number

    def test_nodes_and_versions_are_registered_once(self, store: Store) -> None:
        """A version is known by its digest; the newest measured one tells the speed."""

        def version(name: str) -> Version:
            return Version(digest=name, code="1", model=None, params={}, environment={})

        with store.transaction() as tx:
            collection = tx.records.collection("c")
            node = tx.nodes.add("p", "s", "default", variant="", collection=collection)
            one = tx.nodes.register("p", "s", "default", version=version("aa"), now=1.0)
            two = tx.nodes.register("p", "s", "default", version=version("bb"), now=2.0)
            tx.nodes.activate(node.pk, two)
            tx.nodes.measure({one: (10, 5.0)})

            assert tx.nodes.register("p", "s", "default", version=version("aa"), now=3.0) == one
            assert tx.nodes.find_version("p", "s", "other", digest="aa") is None
            assert tx.nodes.of("p")[0].active == two
            assert tx.nodes.speed("p", "s", "default") == 0.5
            assert tx.nodes.speed("p", "t", "default") is None
            assert tx.nodes.versions([one])[one].version == version("aa")
            assert tx.nodes.versions([two])[two].seconds_per_record is None

    def test_roots_are_remembered_once(self, store: Store) -> None:
        """A folder that was named twice stands once."""
        with store.transaction() as tx:
            tx.roots.add(["/b", "/a"])
            tx.roots.add(["/a"])

            assert tx.roots.listing() == ["/a", "/b"]
            assert tx.size > 0

    def test_nothing_of_a_failed_transaction_stands(self, store: Store) -> None:
        """An error in a transaction takes all of it back."""

        def broken() -> None:
            with store.transaction() as tx:
                tx.records.take_in([RecordIn(collection="c", id="a", fields={})])
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            broken()

        with store.reading() as tx:
            assert tx.records.find_collection("c") is None
