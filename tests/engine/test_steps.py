"""What a job chooses of a pipeline on request: which stages, in which order, and behind which gates."""

import pytest

import limner
from limner.domain.pipelines import Pipeline
from limner.errors import NotFound, UsageError
from tests.engine.lab import Lab, record, toy


def pipeline() -> Pipeline:
    """A stage with two ways, a gate on it, and a stage that reads the gate's value."""
    ways = {
        name: limner.Implementation(infer=toy("Linear"), params={"add": add}) for name, add in (("one", 1), ("two", 2))
    }
    return limner.Pipeline(
        "p",
        collection="things",
        stages=[
            limner.Stage("way", implementations=ways, reads={"x": "x"}),
            limner.Stage("gate", toy("Least"), reads={"x": "way.value"}, gate=True),
            limner.Stage("after", toy("Linear"), reads={"x": "x", "y": limner.optional("way.value")}),
        ],
        standing=False,
    )


def test_stage_that_is_left_out_is_not_computed() -> None:
    """A stage with an empty choice has no node and no result; an optional read of it is given nothing."""
    lab = Lab(pipeline())

    lab.run([record("a", x=5)], choices={"way": [], "gate": [], "after": ["default"]})

    assert lab.inferred() == {"after": 1}
    assert lab.values("after", choices={"way": [], "gate": [], "after": ["default"]}) == {"a": {"value": 5}}


def test_stage_that_needs_what_is_left_out_is_refused() -> None:
    """The sentence names the stage that is missing."""
    lab = Lab(pipeline())

    with pytest.raises(UsageError, match="no way is asked for before it"):
        lab.run([record("a", x=5)], choices={"way": [], "gate": ["default"], "after": ["default"]})


def test_order_of_the_choices_is_the_order_of_need() -> None:
    """Where every stage is named, a stage cannot read one that is named after it."""
    lab = Lab(pipeline())

    with pytest.raises(UsageError, match="no way is asked for before it"):
        lab.run([record("a", x=5)], choices={"gate": ["default"], "way": ["one"], "after": ["default"]})


def test_nothing_at_all_is_refused() -> None:
    """A job that leaves every stage out has nothing to do."""
    with pytest.raises(UsageError, match="No stage of pipeline p is chosen"):
        Lab(pipeline()).run([record("a", x=5)], choices={"way": [], "gate": [], "after": []})


def test_unknown_way_is_named() -> None:
    """A second listing is checked as the first is."""
    with pytest.raises(NotFound, match="no implementation three; it has: one, two"):
        Lab(pipeline()).run([record("a", x=5)], choices={"way": ["one"], "way#2": ["three"]})


def test_gate_stands_before_all_that_is_listed_after_it() -> None:
    """Records that it does not keep are skipped with its reason; what is listed before it is done for all."""
    lab = Lab(pipeline())
    choices = {"way": ["one"], "gate": ["default"], "way#2": ["two"], "after": ["default"]}

    job = lab.run([record("small", x=1), record("big", x=20)], choices=choices)

    assert lab.inferred() == {"way/one": 2, "gate": 2, "way/two": 1, "after": 1}
    assert lab.values("after", choices=choices) == {"small": ("skipped", "gate default"), "big": {"value": 42}}
    assert lab.counts(job.id).done == 2


def test_same_stage_with_and_without_a_gate_are_two_results() -> None:
    """A job without the gate does not take what was skipped behind it for its own."""
    lab = Lab(pipeline())
    lab.run([record("small", x=1)], choices={"way": ["one"], "gate": ["default"], "after": ["default"]})
    free = {"way": ["one"], "gate": [], "after": ["default"]}

    lab.run([record("small", x=1)], choices=free)

    assert lab.values("after", choices=free) == {"small": {"value": 3}}


def test_reader_sees_the_latest_listing_before_it() -> None:
    """A stage that stands twice is read as it was listed last before the reader."""
    lab = Lab(pipeline())
    choices = {"way": ["one"], "gate": ["default"], "way#2": ["two"], "after": ["default"]}

    lab.run([record("a", x=10)], choices=choices)

    assert lab.values("after", choices=choices) == {"a": {"value": 22}}


def test_conditions_of_an_implementation_stand_in_for_those_of_the_stage() -> None:
    """Two ways exclude each other: one is for records that bring a value along, the other for those that do not."""
    ways = {
        "made": limner.Implementation(infer=toy("Linear"), params={"add": 1}),
        "given": limner.Implementation(
            infer=toy("Linear"), reads={"x": "given"}, when=(limner.where("given", "exists", reason="none given"),)
        ),
    }
    stage = limner.Stage(
        "way", implementations=ways, reads={"x": "x"}, when=limner.where("given", "exists", False, reason="given")
    )
    lab = Lab(limner.Pipeline("p", collection="things", stages=[stage], standing=False))

    lab.run([record("a", x=1), record("b", x=1, given=7)], choices={"way": ["given", "made"]})

    assert lab.inferred() == {"way/made": 1, "way/given": 1}
    assert lab.values("way", choices={"way": ["given"]}) == {"a": ("skipped", "no_given"), "b": {"value": 7}}
    assert lab.values("way", choices={"way": ["made"]}) == {"a": {"value": 2}, "b": ("skipped", "given")}


def test_id_of_the_record_can_be_read() -> None:
    """``record.id`` is there for every stage; two records that differ in nothing else have results of their own."""
    stage = limner.Stage("name", "tests.engine.toys:Named", reads={"name": "record.id"})
    lab = Lab(limner.Pipeline("p", collection="things", stages=[stage]))

    lab.run([record("a", x=1), record("b", x=1)])

    assert lab.values("name") == {"a": {"name": "a"}, "b": {"name": "b"}}
