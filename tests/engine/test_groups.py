"""Gathers: one value for each group, when all its members are settled, and again when one of them moves."""

import pytest

import limner
from limner.domain.jobs import JobState
from limner.domain.pipelines import Pipeline, Stage
from limner.domain.records import RecordIn
from limner.domain.values import Value
from tests.engine.lab import Lab, record, toy
from tests.engine.stages import split_stage


def grouping(
    *, by: str = "parent", missing: str = "run", order: str | None = None, least: int = 100, salt: int = 0
) -> Pipeline:
    """Shots that are looked at one by one, then together."""
    stages: list[Stage] = [
        limner.Stage("look", toy("Picky"), reads={"x": "x"}, params={"least": least}),
        limner.Stage(
            "track",
            toy("Gather"),
            kind="gather",
            over="events",
            of="things",
            by=by,
            order=order,
            missing=missing,
            reads={"given": "look.value"},
            params={"salt": salt},
        ),
        limner.Stage("sum", toy("Total"), over="events", reads={"given": "track.all"}),
    ]
    return limner.Pipeline("p", collection="things", stages=stages)


def shots(**events: list[int]) -> list[RecordIn]:
    """Shots of events, both by parent and by field."""
    return [
        record(f"{event}{number}", x=x, event=event, parent=("events", event))
        for event, numbers in events.items()
        for number, x in enumerate(numbers)
    ]


def tracks(lab: Lab) -> dict[str, Value]:
    """What the gather says, by holder."""
    found = lab.values("track", collection="events")
    return {key: value["all"] if isinstance(value, dict) else value for key, value in found.items()}


@pytest.mark.parametrize("by", ["parent", "event"])
def test_one_value_for_each_group_once_its_members_are_settled(by: str) -> None:
    """Every group is inferred once, from all its members, whatever the number of tasks that these took."""
    lab = Lab(grouping(by=by))

    job = lab.run(shots(e=[1, 2, 3], f=[4]))

    assert tracks(lab) == {"e": [1, 2, 3], "f": [4]}
    assert lab.inferred() == {"look": 4, "track": 2, "sum": 2}
    assert lab.values("sum", collection="events") == {"e": {"value": 6}, "f": {"value": 4}}
    assert job.state is JobState.DONE
    assert lab.unsound() == []


@pytest.mark.parametrize("by", ["parent", "event"])
def test_only_the_group_of_a_changed_member_is_inferred_again(by: str) -> None:
    """A changed member and a new one re-run their own groups, and no other."""
    lab = Lab(grouping(by=by))
    lab.run(shots(e=[1, 2], f=[4], g=[5]))
    lab.inferred()

    lab.run(shots(e=[1, 9]))
    changed = lab.inferred()
    lab.run(shots(f=[4, 6]))

    assert changed == {"look": 1, "track": 1, "sum": 1}
    assert lab.inferred() == {"look": 1, "track": 1, "sum": 1}
    assert tracks(lab) == {"e": [1, 9], "f": [4, 6], "g": [5]}


@pytest.mark.parametrize("by", ["parent", "event"])
def test_member_that_moves_re_runs_both_groups(by: str) -> None:
    """A record that leaves one group for another is missed in the one and found in the other."""
    lab = Lab(grouping(by=by))
    lab.run(shots(e=[1, 2], f=[4]))
    lab.inferred()

    lab.run([record("e1", x=2, event="f", parent=("events", "f"))])

    assert tracks(lab) == {"e": [1], "f": [2, 4]}
    assert lab.inferred() == {"track": 2, "sum": 2}
    assert lab.unsound() == []


def test_member_that_names_no_group_any_more_leaves_it() -> None:
    """A record whose group field is gone belongs to no group."""
    lab = Lab(grouping(by="event"))
    lab.run(shots(e=[1, 2]))

    lab.run([record("e1", x=2)])

    assert tracks(lab) == {"e": [1]}


@pytest.mark.parametrize(
    ("missing", "track", "total"),
    [
        ("run", [1], {"value": 1}),
        ("fail", ("failed", "UPSTREAM_FAILED", "look"), ("failed", "UPSTREAM_FAILED", "track")),
    ],
)
def test_failed_member_is_left_out_or_fails_its_group(missing: str, track: Value, total: Value) -> None:
    """What a member without a value does is declared; healed, it counts again."""
    lab = Lab(grouping(missing=missing, least=100))

    lab.run(shots(e=[1, 200], f=[3]))
    before = tracks(lab)["e"], lab.values("sum", collection="events")["e"], tracks(lab)["f"]
    lab.run(shots(e=[1, 2]))

    assert before == (track, total, [3])
    assert tracks(lab)["e"] == [1, 2]
    assert lab.values("sum", collection="events")["e"] == {"value": 3}
    assert lab.unsound() == []


def test_members_come_in_the_order_of_the_field_then_of_their_ids() -> None:
    """Numbers stand before texts, and members without the field last."""
    lab = Lab(grouping(order="at"))
    given = {"d": 2, "c": 10, "b": "first", "a": None, "e": 2}

    lab.run(
        [
            record(key, fields={"x": number} if at is None else {"x": number, "at": at}, parent=("events", "e"))
            for number, (key, at) in enumerate(given.items())
        ]
    )

    assert tracks(lab) == {"e": [0, 4, 1, 2, 3]}


def test_group_without_members_is_skipped() -> None:
    """A holder that no record belongs to says so, and what reads its gather is skipped too."""
    lab = Lab(grouping())

    job = lab.run([record("e", "events", place="here"), *shots(f=[1])])

    assert tracks(lab) == {"e": ("skipped", "no_members"), "f": [1]}
    assert lab.values("sum", collection="events")["e"] == ("skipped", "upstream track skipped")
    assert job.state is JobState.DONE


def test_another_version_of_a_gather_re_runs_every_group() -> None:
    """A gather is stale by its version like any stage, and its readers only by its value."""
    lab = Lab(grouping())
    lab.run(shots(e=[1], f=[2]))
    lab.inferred()

    lab.declare(grouping(salt=1))
    lab.run()

    assert lab.inferred() == {"track": 2}


def test_many_groups_are_all_planned() -> None:
    """More groups than one look takes are planned to the last, and the job ends."""
    lab = Lab(grouping(by="event"))

    job = lab.run([record(f"r{n}", x=1, event=f"e{n}") for n in range(2100)])

    assert job.state is JobState.DONE
    assert len(tracks(lab)) == 2100


def expanding(*, only: str = "", least: int = 100, skip: bool = False) -> Pipeline:
    """Documents with parts, and what all parts of a document and all parts of a name say together."""
    split = split_stage(params={"only": only}, when=limner.where("closed", "exists", False, reason="closed"))
    gathers = [
        limner.Stage("track", toy("Gather"), kind="gather", of="parts", by="parent", reads={"given": "part.value"}),
        limner.Stage(
            "named",
            toy("Gather"),
            kind="gather",
            over="names",
            of="parts",
            by="name",
            reads={"given": "part.value"},
        ),
    ]
    part = limner.Stage("part", toy("Picky"), over="parts", reads={"x": "n"}, params={"least": least})
    last = limner.Stage("last", toy("Total"), reads={"given": "track.all"})
    return limner.Pipeline("p", collection="things", stages=[split, part, *gathers, last])


def told(lab: Lab, stage: str = "track", collection: str = "things") -> dict[str, Value]:
    """What a gather says, by holder; the numbers of a group in order of their size."""
    found = lab.values(stage, collection=collection)
    return {key: sorted(value["all"]) if isinstance(value, dict) else value for key, value in found.items()}


def test_gather_behind_an_expansion_runs_once() -> None:
    """A group whose members an expansion makes waits for the expansion and for the members."""
    lab = Lab(expanding())

    job = lab.run([record("a", parts=["x:1", "y:2"]), record("b", parts=[])])

    assert told(lab) == {"a": [1, 2], "b": ("skipped", "no_members")}
    assert lab.values("last") == {"a": {"value": 3}, "b": ("skipped", "upstream track skipped")}
    assert lab.inferred()["track"] == 1
    assert job.state is JobState.DONE
    assert lab.unsound() == []


def test_retired_member_re_runs_its_groups_by_parent_and_by_field() -> None:
    """A child that vanishes is missed by every group that it belonged to, and by no other."""
    lab = Lab(expanding())
    lab.run([record("a", parts=["x:1", "y:2"]), record("b", parts=["x:3", "z:5"])])
    lab.inferred()

    lab.run([record("a", parts=["y:2"])])

    assert told(lab) == {"a": [2], "b": [3, 5]}
    assert told(lab, "named", "names") == {"x": [3], "y": [2], "z": [5]}
    assert lab.inferred() == {"split": 1, "track": 1, "named": 1, "last": 1}
    assert lab.unsound() == []


def test_last_member_that_retires_leaves_its_group_skipped() -> None:
    """A group that loses its last member says that it has none."""
    lab = Lab(expanding())
    lab.run([record("a", parts=["x:1"])])

    lab.run([record("a", parts=[])])

    assert told(lab) == {"a": ("skipped", "no_members")}
    assert told(lab, "named", "names") == {"x": ("skipped", "no_members")}


def test_gather_whose_expansion_is_skipped_has_no_members() -> None:
    """A holder whose expansion is skipped ends, instead of waiting for children that never come."""
    lab = Lab(expanding())

    job = lab.run([record("a", parts=["x:1"], closed=True)])

    assert told(lab) == {"a": ("skipped", "no_members")}
    assert (job.state, lab.unsound()) == (JobState.DONE, [])


def test_expansion_that_is_skipped_later_has_no_children_left() -> None:
    """A record that its condition excludes after all loses the children that it had."""
    lab = Lab(expanding())
    lab.run([record("a", parts=["x:1"])])

    job = lab.run([record("a", parts=["x:1"], closed=True)])

    assert lab.children("parts") == {}
    assert told(lab) == {"a": ("skipped", "no_members")}
    assert (job.state, lab.unsound()) == (JobState.DONE, [])
    lab.run([record("a", parts=["x:1"])])
    assert told(lab) == {"a": [1]}
