"""The plan before anything runs: what, why, how many, how long; and nothing is written."""

import limner
from limner.domain.pipelines import Pipeline
from tests.engine.lab import Lab, record, toy
from tests.engine.stages import split_stage
from tests.store.rows import everything


def pipeline(*, salt: int = 0, least: int = 100) -> Pipeline:
    """Three stages in a row."""
    return limner.Pipeline(
        "p",
        collection="things",
        stages=[
            limner.Stage("s", toy("Picky"), reads={"x": "x"}, params={"salt": salt, "least": least}),
            limner.Stage("t", toy("Linear"), reads={"x": "s.value"}),
            limner.Stage("u", toy("Linear"), reads={"x": "t.value"}),
        ],
    )


def test_new_records_are_planned_in_every_stage() -> None:
    """Records that nothing is known of are stale in all stages, because they are new."""
    lab = Lab(pipeline())
    lab.open([record("a", x=1), record("b", x=2)])

    plan = lab.plan()

    assert {name: (stage.stale, stage.reasons) for name, stage in plan.stages.items()} == {
        name: (2, {"new": 2}) for name in "stu"
    }
    assert (plan.records, plan.stale) == (2, 6)


def test_moved_version_is_stale_and_what_reads_it_possible() -> None:
    """Of the stages after one whose version moved it is not known whether they have to be inferred."""
    lab = Lab(pipeline())
    lab.run([record("a", x=1), record("b", x=2)])
    lab.declare(pipeline(salt=1))

    plan = lab.plan()

    assert plan.stages["s"].reasons == {"version": 2}
    assert [(plan.stages[name].stale, plan.stages[name].possible) for name in "tu"] == [(0, 2), (0, 2)]


def test_changed_record_is_stale_by_its_input() -> None:
    """A record that was changed and not yet run is stale where it reads what changed."""
    lab = Lab(pipeline())
    lab.run([record("a", x=1), record("b", x=2)])
    lab.open([record("a", x=9)])

    plan = lab.plan()

    assert (plan.stages["s"].reasons, plan.stages["t"].possible) == ({"input": 1}, 1)


def test_retried_record_is_stale_by_the_retry() -> None:
    """What a retry asks again is named as that."""
    lab = Lab(pipeline(least=5))
    job = lab.run([record("a", x=9), record("b", x=1)])
    lab.retry(job.id)

    assert lab.plan().stages["s"].reasons == {"retry": 1}


def test_current_records_need_nothing() -> None:
    """After a run, and after a plan, there is nothing to do."""
    lab = Lab(pipeline())
    lab.run([record("a", x=1)])

    assert lab.plan().stale == 0
    assert lab.plan(full=True).stale == 0


def test_plan_writes_nothing() -> None:
    """Planning a change leaves every row of the store as it was."""
    lab = Lab(pipeline())
    lab.run([record("a", x=1)])
    lab.declare(pipeline(salt=1))
    with lab.store.reading() as tx:
        before = everything(tx)

    lab.plan()

    with lab.store.reading() as tx:
        assert everything(tx) == before


def test_seconds_are_estimated_from_what_was_measured() -> None:
    """A stage that took so long a record is expected to take so long again, by an earlier version where need be."""
    lab = Lab(pipeline())
    lab.run([record("a", x=1), record("b", x=2)])
    unmeasured = lab.plan().stages["s"].seconds
    with lab.store.transaction() as tx:
        (node,) = [node for node in tx.nodes.of("p") if node.stage == "s"]
        assert node.active is not None
        tx.nodes.measure({node.active: (2, 8.0)})
    lab.declare(pipeline(salt=1))

    assert unmeasured == 0.0
    assert lab.plan().stages["s"].seconds == 4.0


def test_children_and_groups_are_planned() -> None:
    """Expansions, what is inferred of children, and gathers stand in the plan by their stages."""

    def declared(salt: int) -> Pipeline:
        return limner.Pipeline(
            "p",
            collection="things",
            stages=[
                split_stage(),
                limner.Stage("part", toy("Linear"), over="parts", reads={"x": "n"}, params={"salt": salt}),
                limner.Stage(
                    "all",
                    toy("Gather"),
                    kind="gather",
                    of="parts",
                    by="parent",
                    reads={"given": "part.value"},
                    params={"salt": salt},
                ),
            ],
        )

    lab = Lab(declared(0))
    lab.run([record("a", parts=["x:1", "y:2"]), record("b", parts=["x:1"])])
    current = lab.plan()
    lab.inferred()
    lab.declare(declared(1))

    plan = lab.plan()
    lab.run()

    assert current.stale == 0
    assert {name: stage.stale for name, stage in plan.stages.items()} == {"split": 0, "part": 3, "all": 2}
    assert lab.inferred() == {"part": 3, "all": 2}


def test_plan_of_a_choice_names_its_implementations() -> None:
    """Where several ways are chosen, each has its own line."""
    ways = {name: limner.Implementation(infer=toy("Linear"), params={"add": n}) for n, name in enumerate(("a", "b"))}
    stage = limner.Stage("way", implementations=ways, reads={"x": "x"})
    lab = Lab(limner.Pipeline("p", collection="things", stages=[stage]))
    lab.run([record("r", x=1)])

    plan = lab.plan(choices={"way": ["a", "b"]}, full=True)

    assert {name: stage.stale for name, stage in plan.stages.items()} == {"way/a": 0, "way/b": 1}
