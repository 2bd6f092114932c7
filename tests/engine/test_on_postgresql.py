"""The engine keeps its promises on PostgreSQL: the histories that it is tested by on SQLite, and a family of groups."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import limner
from limner.domain.jobs import JobState
from tests.engine.lab import Lab, record, toy
from tests.engine.stages import split_stage
from tests.engine.test_histories import GIVEN, MOVES, Step, judge, steps
from tests.store.databases import store_on

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server(require_service: Callable[[str], str]) -> str:
    """The URL of a running server."""
    return require_service("postgresql")


@settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(drawn=steps(), first=GIVEN, moves=st.lists(MOVES, max_size=12))
def test_histories_end_as_a_computation_from_scratch(
    server: str,
    drawn: tuple[Step, ...],
    first: list[tuple[str, dict[str, int], int]],
    moves: list[tuple[str, object]],
) -> None:
    """After any history every value is right, every job has ended, and another full run infers nothing."""
    with store_on(server) as store:
        judge(drawn, first, moves, store=store)


def test_children_and_groups(server: str) -> None:
    """Parts are made, weighed and gathered; a part that vanishes is retired and its group gathered again."""
    pipeline = limner.Pipeline(
        "p",
        collection="things",
        stages=[
            split_stage(),
            limner.Stage("weigh", toy("Linear"), over="parts", reads={"n": "n"}),
            limner.Stage(
                "whole",
                toy("Gather"),
                kind="gather",
                of="parts",
                by="parent",
                order="name",
                reads={"given": "weigh.value"},
            ),
        ],
    )
    with store_on(server) as store:
        lab = Lab(pipeline, store=store)
        lab.run([record("a", parts=["x:1", "y:2"])])
        before = lab.values("whole")

        job = lab.run([record("a", parts=["y:2", "z:5"])])

        assert (before, lab.values("whole")) == ({"a": {"all": [1, 2]}}, {"a": {"all": [2, 5]}})
        assert job.state is JobState.DONE
        assert lab.unsound() == []
