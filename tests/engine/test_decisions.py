"""What is decided without inferring: conditions, absent fields, skips and failures that go on downstream."""

import pytest

import limner
from limner.domain.jobs import Fate, JobState
from limner.domain.pipelines import Pipeline
from limner.domain.reads import Condition
from limner.domain.values import Value
from tests.engine.lab import Lab, record, toy


def pipeline(*conditions: Condition, least: int = 100) -> Pipeline:
    """A stage, one under conditions, one that needs that, and one that can do without."""
    return limner.Pipeline(
        "p",
        collection="things",
        stages=[
            limner.Stage("first", toy("Picky"), reads={"x": "x"}, params={"least": least}),
            limner.Stage("second", toy("Linear"), reads={"x": "first.value"}, when=conditions),
            limner.Stage("third", toy("Linear"), reads={"x": "second.value"}, params={"add": 1}),
            limner.Stage("fourth", toy("Linear"), reads={"x": "x", "y": limner.optional("third.value")}),
        ],
    )


def all_of(lab: Lab, identity: str = "a") -> list[Value]:
    """What the four stages say of a record."""
    return [lab.values(name).get(identity) for name in ("first", "second", "third", "fourth")]


def test_condition_skips_with_its_reason_and_all_that_needs_the_stage() -> None:
    """A skip goes on to what reads it, and stops at a read that is optional."""
    lab = Lab(pipeline(limner.where("first.value", ">", 3, reason="small")))

    job = lab.run([record("a", x=3), record("b", x=4)])

    assert all_of(lab) == [{"value": 3}, ("skipped", "small"), ("skipped", "upstream second skipped"), {"value": 3}]
    assert all_of(lab, "b") == [{"value": 4}, {"value": 4}, {"value": 5}, {"value": 9}]
    assert lab.inferred() == {"first": 2, "second": 1, "third": 1, "fourth": 2}
    assert job.state is JobState.DONE
    assert lab.unsound() == []


def test_condition_that_holds_later_runs_the_stage_and_the_other_way_round() -> None:
    """A record that comes to fulfil a condition is inferred; one that ceases to is skipped."""
    lab = Lab(pipeline(limner.where("first.value", ">", 3, reason="small")))
    lab.run([record("a", x=3), record("b", x=4)])

    lab.run([record("a", x=9), record("b", x=1)])

    assert all_of(lab) == [{"value": 9}, {"value": 9}, {"value": 10}, {"value": 19}]
    assert all_of(lab, "b")[1] == ("skipped", "small")
    assert lab.unsound() == []


def test_first_condition_that_does_not_hold_gives_the_reason() -> None:
    """Conditions are asked in their order, over fields and results alike."""
    lab = Lab(
        pipeline(
            limner.where("licence", "in", ["cc0", "pd"], reason="closed"),
            limner.where("first.value", "<=", 3, reason="large"),
        )
    )

    lab.run(
        [record("a", x=9), record("b", x=9, licence="cc0"), record("c", x=1, licence="pd"), record("d", x=1)], page=2
    )

    said = {key: all_of(lab, key)[1] for key in "abcd"}
    closed = ("skipped", "closed")
    assert said == {"a": closed, "b": ("skipped", "large"), "c": {"value": 1}, "d": closed}


def test_condition_is_part_of_the_version() -> None:
    """Another condition is another version: only its stage is planned, and only what it skips is lost."""
    lab = Lab(pipeline(limner.where("first.value", ">", 3, reason="small")))
    lab.run([record("a", x=3), record("b", x=4)])
    lab.inferred()

    lab.declare(pipeline(limner.where("first.value", ">", 2, reason="small")))
    planned = lab.plan()
    lab.run()

    assert planned.stages["second"].reasons == {"version": 2}
    assert lab.inferred() == {"second": 2, "third": 1, "fourth": 1}
    assert all_of(lab)[1] == {"value": 3}


def test_absent_field_skips_with_its_name() -> None:
    """A record without a field that is read is skipped, and so is what reads that."""
    lab = Lab(pipeline())

    job = lab.run([record("a", title="no x"), record("b", x=1)])

    assert all_of(lab) == [
        ("skipped", "no_x"),
        ("skipped", "upstream first skipped"),
        ("skipped", "upstream second skipped"),
        ("skipped", "no_x"),
    ]
    assert lab.fates(job.id) == {"a": Fate.SKIPPED, "b": Fate.DONE}


def test_reason_of_an_absent_file_may_be_declared() -> None:
    """A file read says in its own words why a record without an address is skipped; an empty one counts as none."""
    stage = limner.Stage("size", toy("Size"), reads={"text": limner.file("url", absent="no picture")})
    lab = Lab(limner.Pipeline("p", collection="things", stages=[stage]))

    lab.run([record("a"), record("b", url="")])

    assert lab.values("size") == {"a": ("skipped", "no picture"), "b": ("skipped", "no picture")}


def test_failure_points_at_its_stage_and_heals_downstream() -> None:
    """What needs a failed stage fails by its name; an optional read runs on; healing reaches all of them."""
    lab = Lab(pipeline(least=5))
    job = lab.run([record("a", x=7)])
    before = all_of(lab)
    lab.declare(pipeline(least=50))

    healed = lab.run()

    assert before == [
        ("failed", "MODEL_ERROR", None),
        ("failed", "UPSTREAM_FAILED", "first"),
        ("failed", "UPSTREAM_FAILED", "second"),
        {"value": 7},
    ]
    assert (job.state, healed.state) == (JobState.FAILED, JobState.DONE)
    assert all_of(lab) == [{"value": 7}, {"value": 7}, {"value": 8}, {"value": 15}]
    assert lab.unsound() == []


def test_optional_stage_fails_no_record() -> None:
    """A record whose only failure is in a stage that is not required is done."""
    stage = limner.Stage("first", toy("Picky"), reads={"x": "x"}, params={"least": 5}, required=False)
    lab = Lab(limner.Pipeline("p", collection="things", stages=[stage]))

    job = lab.run([record("a", x=7)])

    assert (job.state, lab.fates(job.id)) == (JobState.DONE, {"a": Fate.DONE})


def test_stage_that_becomes_required_changes_the_fates_and_infers_nothing() -> None:
    """Whether a record needs a stage is no part of a version, and counts from the next run on."""

    def declared(required: bool) -> Pipeline:
        stage = limner.Stage("first", toy("Picky"), reads={"x": "x"}, params={"least": 5}, required=required)
        return limner.Pipeline("p", collection="things", stages=[stage])

    lab = Lab(declared(False))
    lab.run([record("a", x=7)])
    lab.inferred()

    lab.declare(declared(True))
    job = lab.run()

    assert (job.state, lab.inferred()) == (JobState.FAILED, {})


@pytest.mark.parametrize(
    ("compare", "wanted", "yes", "no"),
    [
        ("==", 3, [3, 3.0], [4, "3", None]),
        ("!=", 3, [4, "3", None], [3]),
        ("<", 3, [2, 2.9], [3, "a", None]),
        ("<=", 3, [3], [3.1, None]),
        (">", "b", ["c"], ["b", 9, None]),
        (">=", 3, [3, 4], [2, None]),
        ("in", ["a", "b"], ["a"], ["c", None]),
        ("not in", ["a", "b"], ["c", None], ["a"]),
        ("matches", "^a+$", ["aa"], ["ab", 3, None]),
        ("exists", True, [0, "", False], [None]),
        ("exists", None, [0], [None]),
        ("exists", False, [None], [0]),
    ],
)
def test_comparisons_mean_what_they_say(compare: str, wanted: Value, yes: list[Value], no: list[Value]) -> None:
    """An absent value fulfils only what speaks of absence; what cannot be ordered is neither less nor more."""
    stage = limner.Stage("s", toy("Size"), reads={"text": "text"}, when=limner.where("v", compare, wanted))
    lab = Lab(limner.Pipeline("p", collection="things", stages=[stage]))
    given = {f"{at}": value for at, value in enumerate([*yes, *no])}

    lab.run([record(key, text="x", **({} if v is None else {"v": v})) for key, v in given.items()])

    ran = [key for key, said in lab.values("s").items() if isinstance(said, dict)]
    assert [given[key] for key in ran] == yes
