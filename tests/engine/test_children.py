"""Expansions: children are made, kept, changed, retired, and counted with their root."""

import limner
from limner.domain.jobs import Fate, JobState
from limner.domain.pipelines import Pipeline
from limner.domain.values import Value
from tests.engine.lab import Lab, record, toy
from tests.engine.stages import split_stage


def pipeline(
    *, salt: int = 0, add: int = 0, only: str = "", least: int = 100, required: bool = True, with_parent: bool = False
) -> Pipeline:
    """Documents, whose parts are inferred on."""
    reads = {"x": "n", "y": "parent.weight"} if with_parent else {"x": "n"}
    part = toy("Linear") if with_parent else toy("Picky")
    return limner.Pipeline(
        "p",
        collection="things",
        stages=[
            split_stage(params={"salt": salt, "add": add, "only": only}),
            limner.Stage(
                "part",
                part,
                over="parts",
                reads=reads,
                params={} if with_parent else {"least": least},
                required=required,
            ),
        ],
    )


def said(lab: Lab, stage: str = "part") -> dict[Value, Value]:
    """What a stage says of each live child, by the child's name."""
    children = lab.children("parts")
    return {children[key]["name"]: value for key, value in lab.values(stage, collection="parts").items()}


def test_children_are_made_and_inferred() -> None:
    """Each child is a record with the fields that the inferrer gave it."""
    lab = Lab(pipeline())

    job = lab.run([record("a", parts=["x:1", "y:2"]), record("b", parts=["x:3"]), record("c", parts=[])])

    assert job.state is JobState.DONE
    assert lab.counts(job.id).done == 3
    children = sorted((child["name"], child["n"]) for child in lab.children("parts").values())
    assert children == [("x", 1), ("x", 3), ("y", 2)]
    assert lab.inferred() == {"split": 3, "part": 3}
    assert lab.unsound() == []


def test_the_same_child_keeps_its_id_and_its_results_across_versions() -> None:
    """A new version that finds the same children makes none anew, and nothing below is inferred again."""
    lab = Lab(pipeline())
    lab.run([record("a", parts=["x:1", "y:2"])])
    before = lab.children("parts")
    lab.inferred()

    lab.declare(pipeline(salt=1))
    lab.run()

    assert lab.children("parts") == before
    assert lab.inferred() == {"split": 1}


def test_only_children_that_differ_are_inferred_again() -> None:
    """Of the children of a changed record, the new and the changed ones are inferred."""
    lab = Lab(pipeline())
    lab.run([record("a", parts=["x:1", "y:2"])])
    lab.inferred()

    lab.run([record("a", parts=["x:1", "y:3", "z:4"])])

    assert lab.inferred() == {"split": 1, "part": 2}
    assert said(lab) == {"x": {"value": 1}, "y": {"value": 3}, "z": {"value": 4}}


def test_children_that_vanish_are_retired_and_live_again() -> None:
    """A child that a record has no more is not served; once it is back, so is what was inferred of it."""
    lab = Lab(pipeline())
    lab.run([record("a", parts=["x:1", "y:2"])])
    lab.run([record("a", parts=["x:1"])])
    without = said(lab)
    lab.inferred()

    lab.run([record("a", parts=["x:1", "y:2"])])

    assert without == {"x": {"value": 1}}
    assert said(lab) == {"x": {"value": 1}, "y": {"value": 2}}
    assert lab.inferred() == {"split": 1}


def test_rolling_an_expansion_back_serves_the_children_of_then() -> None:
    """Going back to an earlier version brings its children and their fields back, and infers nothing."""
    lab = Lab(pipeline())
    lab.run([record("a", parts=["x:1", "y:2"])])
    lab.declare(pipeline(only="x", add=5))
    lab.run()
    other = said(lab)
    lab.inferred()

    lab.declare(pipeline())
    job = lab.run()

    assert other == {"x": {"value": 6}}
    assert said(lab) == {"x": {"value": 1}, "y": {"value": 2}}
    # One result stands for each record and version, and x was asked of other fields in between.
    assert lab.inferred() == {"part": 1}
    assert job.state is JobState.DONE
    assert lab.unsound() == []


def test_failed_child_fails_its_root_unless_the_stage_is_optional() -> None:
    """A root has failed where a required stage of a descendant has."""
    given = [record("a", parts=["x:1", "y:200"]), record("b", parts=["x:3"])]
    strict, lenient = Lab(pipeline()), Lab(pipeline(required=False))

    failing, tolerant = strict.run(given), lenient.run(given)

    assert strict.fates(failing.id) == {"a": Fate.FAILED, "b": Fate.DONE}
    assert failing.state is JobState.DONE_WITH_FAILURES
    assert lenient.fates(tolerant.id) == {"a": Fate.DONE, "b": Fate.DONE}


def test_root_is_open_while_a_child_is() -> None:
    """A job does not count a record as done before all its children are."""
    lab = Lab(pipeline())
    job = lab.open([record("a", parts=["x:1"])])
    lab.step()
    lab.work()
    lab.step()

    between = lab.fates(job)
    lab.drain()

    assert between == {"a": Fate.OPEN}
    assert lab.fates(job) == {"a": Fate.DONE}


def test_children_read_their_parents_fields_and_follow_them() -> None:
    """A parent that changes re-plans its children only where they read what changed."""
    lab = Lab(pipeline(with_parent=True))
    lab.run([record("a", parts=["x:1"], weight=10), record("b", parts=["x:1"], weight=10)])
    lab.inferred()

    lab.run([record("a", parts=["x:1"], weight=20), record("b", parts=["x:1"], weight=10, title="new")])

    assert lab.inferred() == {"part": 1}
    assert sorted(v["value"] for v in lab.values("part", collection="parts").values()) == [11, 21]
    assert lab.unsound() == []


def of_parent(*, salt: int = 0, least: int = 100) -> Pipeline:
    """Parts that read what a stage says of their document."""
    return limner.Pipeline(
        "p",
        collection="things",
        stages=[
            limner.Stage("weigh", toy("Picky"), reads={"x": "weight"}, params={"salt": salt, "least": least}),
            limner.Stage("heavy", toy("Linear"), reads={"x": "weigh.value"}),
            split_stage(),
            limner.Stage("part", toy("Linear"), over="parts", reads={"x": "n", "y": "parent.heavy.value"}),
            limner.Stage("last", toy("Linear"), over="parts", reads={"x": limner.optional("part.value")}),
        ],
    )


def test_children_read_what_is_said_of_their_parent() -> None:
    """A stage over children waits for the parent's value, and is inferred again when that changes."""
    lab = Lab(of_parent())
    lab.run([record("a", parts=["x:1", "y:2"], weight=10)])
    lab.inferred()

    lab.run([record("a", parts=["x:1", "y:2"], weight=20)])

    assert lab.inferred() == {"weigh": 1, "heavy": 1, "part": 2, "last": 2}
    assert said(lab) == {"x": {"value": 21}, "y": {"value": 22}}


def test_children_whose_parent_has_no_value_fail_and_are_healed() -> None:
    """What is decided about a parent without inferring reaches its children, down to those that read them."""
    lab = Lab(of_parent(least=5))
    job = lab.run([record("a", parts=["x:1"], weight=10)])
    failed, last = said(lab), said(lab, "last")
    lab.declare(of_parent(least=50))

    healed = lab.run()

    assert job.state is JobState.FAILED
    assert failed == {"x": ("failed", "UPSTREAM_FAILED", "heavy")}
    assert last == {"x": {"value": 0}}
    assert healed.state is JobState.DONE
    assert (said(lab), said(lab, "last")) == ({"x": {"value": 11}}, {"x": {"value": 11}})


def test_children_whose_parent_is_skipped_are_skipped() -> None:
    """A parent's stage that is skipped for want of a field skips the children's stage that reads it."""
    lab = Lab(of_parent())

    job = lab.run([record("a", parts=["x:1"])])

    assert said(lab) == {"x": ("skipped", "upstream heavy skipped")}
    assert job.state is JobState.DONE


def test_parents_that_change_while_children_come_from_a_source() -> None:
    """Records with a parent from another source are planned when the parent comes, changes or fails."""
    pipeline = limner.Pipeline(
        "p",
        collection="things",
        stages=[
            limner.Stage("weigh", toy("Picky"), over="works", reads={"x": "weight"}, params={"least": 50}),
            limner.Stage("thing", toy("Linear"), reads={"x": "x", "y": "parent.weigh.value"}),
        ],
    )
    lab = Lab(pipeline)
    thing = record("a", x=1, parent=("works", "w"))

    early = lab.run([thing])
    without = lab.values("thing")
    lab.run([record("w", "works", weight=10)])
    whole = lab.values("thing")
    failing = lab.run([record("w", "works", weight=90)])

    assert (without, early.state) == ({"a": ("skipped", "upstream weigh skipped")}, JobState.DONE)
    assert whole == {"a": {"value": 11}}
    assert lab.values("thing") == {"a": ("failed", "UPSTREAM_FAILED", "weigh")}
    assert failing.state is JobState.FAILED
    assert lab.counts("p").failed == 1


def test_record_without_a_parent_lacks_what_is_said_of_it() -> None:
    """A record that has no parent is skipped by a stage that reads one, or run without where the read is optional."""
    pipeline = limner.Pipeline(
        "p",
        collection="things",
        stages=[
            limner.Stage("weigh", toy("Linear"), over="works", reads={"x": "weight"}),
            limner.Stage("strict", toy("Linear"), reads={"x": "x", "y": "parent.weigh.value"}),
            limner.Stage("easy", toy("Linear"), reads={"x": "x", "y": limner.optional("parent.weigh.value")}),
        ],
    )
    lab = Lab(pipeline)

    job = lab.run([record("a", x=1)])

    assert lab.values("strict") == {"a": ("skipped", "no_parent_weigh_value")}
    assert (lab.values("easy"), job.state) == ({"a": {"value": 1}}, JobState.DONE)


def test_parents_of_another_source_are_counted_beside_expansions() -> None:
    """A record of another collection that no job counts as a root ends although the pipeline expands."""
    stages = [limner.Stage("weigh", toy("Linear"), over="works", reads={"x": "weight"}), *pipeline().stages]
    lab = Lab(limner.Pipeline("p", collection="things", stages=stages))

    job = lab.run([record("w", "works", weight=1), record("a", parts=["x:1"], parent=("works", "w"))])

    assert (job.state, lab.counts(job.id).done) == (JobState.DONE, 2)


def nested(*, only: str = "") -> Pipeline:
    """Documents with parts with letters."""
    return limner.Pipeline(
        "p",
        collection="things",
        stages=[
            split_stage(params={"only": only}),
            limner.Stage(
                "spell", toy("Letters"), kind="expand", over="parts", of="letters", identity=["at"], reads={"x": "name"}
            ),
            limner.Stage("letter", toy("Linear"), over="letters", reads={"x": "at", "y": "parent.n"}),
        ],
    )


def test_grandchildren_live_and_vanish_with_their_parents() -> None:
    """Children of a child are retired with it and live again with it, without inferring."""
    lab = Lab(nested())
    lab.run([record("a", parts=["xy:1", "z:2"])])
    whole = lab.values("letter", collection="letters")
    lab.declare(nested(only="x"))
    lab.run()
    fewer = lab.values("letter", collection="letters")
    lab.inferred()

    lab.declare(nested())
    job = lab.run()

    assert sorted(v["value"] for v in whole.values()) == [1, 2, 2]
    assert sorted(v["value"] for v in fewer.values()) == [1, 2]
    assert lab.values("letter", collection="letters") == whole
    assert (lab.inferred(), job.state) == ({}, JobState.DONE)


def test_grandchildren_follow_a_changed_child() -> None:
    """A field of a child that changes is read again by its own children."""
    lab = Lab(nested())
    lab.run([record("a", parts=["xy:1"])])

    lab.run([record("a", parts=["xy:5"])])

    assert sorted(v["value"] for v in lab.values("letter", collection="letters").values()) == [5, 6]
    assert lab.unsound() == []
