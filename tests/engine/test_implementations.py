"""Several ways to do a stage: side by side, each with its own results and children."""

from datetime import timedelta

import pytest

import limner
from limner.domain.jobs import JobState
from limner.domain.pipelines import Pipeline
from limner.errors import NotFound, UsageError
from tests.engine.lab import Lab, record, toy
from tests.engine.stages import split_stage


def pipeline(*, standing: bool = True) -> Pipeline:
    """A stage with two ways, and one that reads it."""
    ways = {
        name: limner.Implementation(infer=toy("Linear"), params={"add": add}) for name, add in (("one", 1), ("two", 2))
    }
    return limner.Pipeline(
        "p",
        collection="things",
        stages=[
            limner.Stage("before", toy("Linear"), reads={"x": "x"}),
            limner.Stage("way", implementations=ways, reads={"x": "before.value"}),
            limner.Stage("after", toy("Linear"), reads={"x": "way.value"}, params={"factor": 10}),
        ],
        standing=standing,
    )


def test_job_that_chooses_another_way_leaves_the_default_alone() -> None:
    """Results of another implementation, and of what reads it, stand beside those of the default."""
    lab = Lab(pipeline())
    lab.run([record("a", x=1), record("b", x=2)])
    before, counts = lab.values("after"), lab.counts("p")
    lab.inferred()

    job = lab.run(ids=["a"], choices={"way": ["two"]})

    assert lab.inferred() == {"way/two": 1, "after": 1}
    assert lab.values("after", choices={"way": ["two"]}) == {"a": {"value": 30}}
    assert (lab.values("after"), lab.counts("p")) == (before, counts)
    assert (job.state, lab.counts(job.id).done) == (JobState.DONE, 1)
    with lab.store.reading() as tx:
        assert {(n.stage, n.implementation, n.variant) for n in tx.nodes.of("p")} == {
            ("before", "default", ""),
            ("way", "one", ""),
            ("after", "default", ""),
            ("way", "two", ""),
            ("after", "default", "way=two"),
        }


def test_several_ways_in_one_job() -> None:
    """A job may choose several at once; what reads the stage reads the last one."""
    lab = Lab(pipeline())

    lab.run([record("a", x=1)], choices={"way": ["one", "two"]})

    assert lab.values("way", choices={"way": ["one"]}) == {"a": {"value": 2}}
    assert lab.values("way", choices={"way": ["two"]}) == {"a": {"value": 3}}
    assert lab.values("after", choices={"way": ["one", "two"]}) == {"a": {"value": 30}}


def test_job_of_another_choice_asks_for_its_own_records_only() -> None:
    """What a default run makes of other records is not carried on in the way that a job chose for few."""
    lab = Lab(pipeline())
    lab.run([record("a", x=1)])
    lab.open([record("a", x=3)], choices={"way": ["two"]})
    lab.open([record(str(n), x=n) for n in range(5)])

    lab.drain()

    assert set(lab.values("way", choices={"way": ["two"]})) == {"a"}
    assert len(lab.values("way")) == 6


def test_pipeline_on_request_infers_only_what_jobs_ask_for() -> None:
    """A pipeline that does not stand leaves records alone that no job names."""
    lab = Lab(pipeline(standing=False))
    lab.run([record("a", x=1)])
    other = limner.Pipeline("q", collection="things", stages=[limner.Stage("s", toy("Linear"), reads={"x": "x"})])
    lab.declare(other)

    lab.run([record("b", x=2)], pipeline="q")
    between = set(lab.values("way", pipeline="p"))
    job = lab.run(ids=["b"], pipeline="p")

    assert between == {"a"}
    assert set(lab.values("way", pipeline="p")) == {"a", "b"}
    assert job.state is JobState.DONE


def test_second_job_of_the_same_choice_infers_nothing() -> None:
    """What a choice made once is current for whoever makes it again."""
    lab = Lab(pipeline())
    lab.run([record("a", x=1)], choices={"way": ["two"]})
    lab.inferred()

    job = lab.run([record("a", x=1)], choices={"way": ["two"]})

    assert (lab.inferred(), job.inferred, job.reused) == ({}, 0, 3)


@pytest.mark.parametrize(
    ("choices", "error"),
    [({"way": ["three"]}, NotFound), ({"wax": ["one"]}, NotFound), ({"way": []}, UsageError)],
)
def test_choice_that_is_not_offered_is_refused(choices: dict[str, list[str]], error: type[Exception]) -> None:
    """A sentence names what there is."""
    lab = Lab(pipeline())

    with pytest.raises(error):
        lab.open([record("a", x=1)], choices=choices)


def expanding() -> Pipeline:
    """Two ways to find the parts of a thing."""
    ways = {
        "all": limner.Implementation(infer=toy("Split")),
        "some": limner.Implementation(infer=toy("Split"), params={"only": "x", "add": 5}),
    }
    return limner.Pipeline(
        "p",
        collection="things",
        stages=[
            split_stage(None, implementations=ways),
            limner.Stage("part", toy("Picky"), over="parts", reads={"x": "n"}, params={"least": 8}),
            limner.Stage("all", toy("Gather"), kind="gather", of="parts", by="parent", reads={"given": "part.value"}),
        ],
    )


def test_children_of_two_ways_stand_side_by_side() -> None:
    """One way's children are neither retired nor failed by another's."""
    lab = Lab(expanding())
    lab.run([record("a", parts=["x:3", "y:2"])])
    counts = lab.counts("p")

    other = lab.run(ids=["a"], choices={"split": ["some"]})

    assert sorted((c["name"], c["n"]) for c in lab.children("parts").values()) == [("x", 3), ("x", 8), ("y", 2)]
    assert other.state is JobState.FAILED
    assert lab.counts("p") == counts
    assert sorted(lab.values("all")["a"]["all"]) == [2, 3]
    assert lab.unsound() == []


def test_next_default_run_is_untouched_by_another_way() -> None:
    """A run of the default plans nothing for the children of another way."""
    lab = Lab(expanding())
    lab.run([record("a", parts=["x:3", "y:2"])])
    lab.run(ids=["a"], choices={"split": ["some"]})
    lab.inferred()

    again = lab.run([record("a", parts=["x:3"])])

    assert lab.inferred() == {"split/all": 1, "all": 1}
    assert again.state is JobState.DONE
    assert sorted((c["name"], c["n"]) for c in lab.children("parts").values()) == [("x", 3), ("x", 8)]


def test_a_way_may_have_its_own_batch_and_limit() -> None:
    """Each way's tasks say how many inputs one call takes, and for how long, by the way or else by the stage."""
    ways = {
        "slow": limner.Implementation(infer=toy("Linear"), batch=7, timeout=timedelta(minutes=3)),
        "plain": limner.Implementation(infer=toy("Linear")),
    }
    stage = limner.Stage("way", implementations=ways, reads={"x": "x"}, batch=5, timeout=timedelta(seconds=9))

    assert (stage.batch_of("slow"), stage.timeout_of("slow")) == (7, timedelta(minutes=3))
    assert (stage.batch_of("plain"), stage.timeout_of("plain")) == (5, timedelta(seconds=9))
    lab = Lab(limner.Pipeline("p", collection="things", stages=[stage]))
    lab.open([record("a", x=1)])
    lab.step()
    (task,) = lab.take()
    assert (task.runtime.batch, task.runtime.timeout) == (7, timedelta(minutes=3))
