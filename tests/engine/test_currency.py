"""What is current, what is inferred again, and where a wave of changes stops."""

from pathlib import Path

import limner
from limner.domain.jobs import JobState
from limner.domain.pipelines import Pipeline
from tests.engine.lab import Lab, record, toy


def two_steps(*, first: str = "Half", salt: int = 0, add: int = 0) -> Pipeline:
    """A stage and one that reads its value."""
    return limner.Pipeline(
        "p",
        collection="things",
        stages=[
            limner.Stage("first", toy(first), reads={"x": "x"}, params={"salt": salt}),
            limner.Stage("second", toy("Linear"), reads={"x": "first.value"}, params={"add": add}),
        ],
    )


def test_second_run_infers_nothing() -> None:
    """A run over records that are current calls no inferrer, and finds every result."""
    lab = Lab(two_steps())
    given = [record(str(n), x=n) for n in range(10)]
    first = lab.run(given)
    lab.inferred()

    second = lab.run(given)
    third = lab.run()

    assert (first.inferred, first.state) == (20, JobState.DONE)
    assert (second.inferred, second.reused, second.state) == (0, 20, JobState.DONE)
    assert third.inferred == 0
    assert lab.counts(third.id) == lab.counts(first.id)
    assert lab.inferred() == {}


def test_identical_values_of_a_new_version_stop_the_wave() -> None:
    """A new version that says the same re-runs its own stage, and no stage that reads it."""
    lab = Lab(two_steps())
    lab.run([record(str(n), x=n) for n in range(10)])
    lab.inferred()

    lab.declare(two_steps(salt=1))
    lab.run()

    assert lab.inferred() == {"first": 10}


def test_only_what_reads_a_changed_value_is_inferred_again() -> None:
    """Of two records that change, the one whose upstream value stays the same goes no further."""
    lab = Lab(two_steps())
    lab.run([record("a", x=4), record("b", x=6)])
    lab.inferred()

    lab.run([record("a", x=5), record("b", x=9)])

    assert lab.inferred() == {"first": 2, "second": 1}
    assert lab.values("second") == {"a": {"value": 2}, "b": {"value": 4}}


def test_part_of_a_value_that_is_not_read_infers_nothing() -> None:
    """A stage that reads one part of a value is found unchanged when only another part moves."""
    pipeline = limner.Pipeline(
        "p",
        collection="things",
        stages=[
            limner.Stage("pair", toy("Pair"), reads={"x": "x"}),
            limner.Stage("tens", toy("Linear"), reads={"x": "pair.tens"}),
        ],
    )
    lab = Lab(pipeline)
    lab.run([record("a", x=41)])
    lab.inferred()

    job = lab.run([record("a", x=47)])

    assert lab.inferred() == {"pair": 1}
    assert (job.inferred, job.reused) == (1, 1)
    assert lab.unsound() == []


def test_field_that_no_stage_reads_infers_nothing() -> None:
    """A record that changes in a field nobody reads stays current."""
    lab = Lab(two_steps())
    lab.run([record("a", x=4, title="old")])
    lab.inferred()

    job = lab.run([record("a", x=4, title="new")])

    assert (job.inferred, lab.inferred()) == (0, {})
    assert lab.children("things")["a"] == {"x": 4, "title": "new"}


def test_new_revision_of_the_same_bytes_is_unchanged(tmp_path: Path) -> None:
    """Another revision has the file read again; the same bytes are inferred no second time."""
    (tmp_path / "a.txt").write_text("four")
    pipeline = limner.Pipeline(
        "p", collection="things", stages=[limner.Stage("size", toy("Size"), reads={"text": limner.file("url")})]
    )
    lab, url = Lab(pipeline), (tmp_path / "a.txt").as_uri()
    lab.run([record("a", url=url, revision="1")])
    lab.inferred()

    same = lab.run([record("a", url=url, revision="2")])
    asked = lab.worker.asked["p.size/default"]
    (tmp_path / "a.txt").write_text("three")
    other = lab.run([record("a", url=url, revision="3")])

    assert asked == 2
    assert (same.inferred, same.reused, same.state) == (0, 1, JobState.DONE)
    assert (other.inferred, lab.values("size")) == (1, {"a": {"value": 5}})
    assert lab.unsound() == []


def test_rolling_back_a_version_infers_nothing() -> None:
    """The results of an earlier version stand, and are served again as soon as it is active again."""
    lab = Lab(two_steps())
    lab.run([record(str(n), x=n) for n in range(5)])
    lab.declare(two_steps(add=10))
    lab.run()
    lab.inferred()

    lab.declare(two_steps())
    lab.run()

    assert lab.inferred() == {}
    assert lab.values("second")["4"] == {"value": 2}


def test_rolling_back_half_way_loses_nothing() -> None:
    """Work of an old version that a new one pushed aside is taken up again after going back to the old one."""
    lab = Lab(two_steps(), in_flight=1)
    lab.open([record(str(n), x=n) for n in range(5)])
    lab.step()
    lab.declare(two_steps(first="Linear", salt=1))
    lab.open()
    lab.step()

    lab.declare(two_steps())
    lab.run()

    assert len(lab.values("second")) == 5
    assert lab.unsound() == []


def test_version_killed_before_its_pass_loses_nothing() -> None:
    """A process that dies between moving a version and looking through the records leaves nothing undone."""
    lab = Lab(two_steps())
    lab.open([record(str(n), x=n) for n in range(5)])
    moved = two_steps(first="Linear", salt=1)
    lab.declare(moved)
    with lab.store.transaction() as tx:
        from limner.domain.versions import Description, version_of
        from limner.engine.passes import activate

        view = lab.engine.view(tx, "p", {})
        versions = {
            n.pk: version_of(n.stage, implementation="default", description=Description(code="1"), model=None)
            for n in view.nodes
        }
        activate(tx, view, versions, now=lab.clock.now())
    lab.step()
    lab.declare(two_steps())
    lab.restart()

    lab.run()

    assert len(lab.values("second")) == 5
    assert lab.unsound() == []


def test_record_that_changes_while_its_task_is_out_is_asked_again() -> None:
    """An answer about a record as it was is kept as such, and the record is asked again as it is."""
    lab = Lab(two_steps())
    lab.open([record("a", x=4)])
    lab.step()
    job = lab.open([record("a", x=10)])
    lab.work()

    lab.drain()

    assert lab.values("second") == {"a": {"value": 5}}
    assert lab.job(job).state is JobState.DONE
    assert lab.unsound() == []


def test_record_that_changes_back_while_it_waits_is_left_alone() -> None:
    """A record that is as it was before its task is sent is dropped from it."""
    lab = Lab(two_steps())
    lab.run([record("a", x=4)])
    lab.inferred()

    first = lab.open([record("a", x=10)])
    second = lab.open([record("a", x=4)])
    lab.drain()

    assert lab.inferred() == {}
    assert {lab.job(first).state, lab.job(second).state} == {JobState.DONE}


def test_older_source_version_changes_nothing() -> None:
    """A row older than the stored one is passed over, in another page and in the same one."""
    lab = Lab(two_steps())
    lab.run([record("a", x=4, source_version=5), record("a", x=6, source_version=3)])
    lab.run([record("a", x=8, source_version=4)])

    assert lab.values("first") == {"a": {"value": 2}}


def test_answers_may_come_twice_late_and_out_of_order() -> None:
    """A repeated answer, and one of an attempt that was given up, change nothing."""
    lab = Lab(two_steps())
    job = lab.open([record(str(n), x=n) for n in range(4)])
    lab.step()
    waiting = lab.bus.take(lab.topics(), limit=10)
    lab.bus.release(waiting)
    lab.work()
    answers = lab.bus.take(["answers"], limit=10)
    for _ in range(2):
        lab.bus.publish("answers", [delivery.body for delivery in reversed(answers)])
        lab.drain()

    assert (lab.job(job).inferred, lab.counts(job).done) == (8, 4)


def test_added_stage_is_the_only_one_planned_and_a_removed_one_is_retired() -> None:
    """A stage that joins the declaration is inferred alone; one that leaves it is neither run nor served."""
    short = limner.Pipeline("p", collection="things", stages=two_steps().stages[:1])
    lab = Lab(short)
    lab.run([record(str(n), x=n) for n in range(5)])
    lab.inferred()

    lab.declare(two_steps())
    planned = {name: stage.stale for name, stage in lab.plan().stages.items()}
    lab.run()
    added = lab.inferred()
    lab.declare(short)
    lab.run([record("5", x=5)])

    assert planned == {"first": 0, "second": 5}
    assert added == {"second": 5}
    assert lab.inferred() == {"first": 1}
    with lab.store.reading() as tx:
        assert [(node.stage, node.retired) for node in tx.nodes.of("p")] == [("first", 0), ("second", 1)]


def test_work_of_a_stage_that_was_removed_holds_no_job_open() -> None:
    """A job whose remaining work belongs to a stage that is not declared any more ends."""
    lab = Lab(two_steps())
    job = lab.open([record("a", x=4)])
    lab.step()
    lab.work()
    lab.step()
    lab.declare(limner.Pipeline("p", collection="things", stages=two_steps().stages[:1]))
    lab.restart()

    other = lab.run()

    assert {lab.job(job).state, other.state} == {JobState.DONE}


def test_job_ends_when_another_implementation_becomes_the_default() -> None:
    """Work of an implementation that nobody looks through any more is given up; nothing of the new one is missing."""

    def declared(default: str) -> Pipeline:
        ways = {
            name: limner.Implementation(infer=toy("Linear"), params={"add": add})
            for name, add in (("one", 1), ("two", 2))
        }
        stages = [limner.Stage("s", implementations=ways, default=default, reads={"x": "x"})]
        return limner.Pipeline("p", collection="things", stages=stages)

    lab = Lab(declared("one"), in_flight=1)
    job = lab.open([record("a", x=4)])
    lab.step()
    lab.declare(declared("two"))
    lab.restart()

    other = lab.run()

    assert {lab.job(job).state, other.state} == {JobState.DONE}
    assert lab.values("s") == {"a": {"value": 6}}
