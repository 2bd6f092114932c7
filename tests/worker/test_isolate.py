"""Halving finds exactly the guilty records, and does each neighbour once."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.domain.failures import FailureCode
from limner.domain.tasks import Outcome, Status
from limner.worker.calls import Done, Reply, Trouble, Unusable, Written
from limner.worker.isolate import InferrerUnusable, isolate


class Inferrer:
    """Goes wrong as a whole whenever a guilty record is in the call, and counts what it did."""

    def __init__(self, *, guilty: set[int], most: int = 1000) -> None:
        self.guilty = guilty
        #: More records than this at once are too many.
        self.most = most
        self.calls: list[list[int]] = []
        self.done: Counter[int] = Counter()

    def run(self, positions: Sequence[int]) -> Reply:
        """One call."""
        self.calls.append(list(positions))
        if self.guilty & set(positions):
            return Trouble(code=FailureCode.STAGE_TIMEOUT, message="It was slow.")
        if len(positions) > self.most:
            return Trouble(code=FailureCode.OUT_OF_MEMORY, message="It was much.")
        self.done.update(positions)
        outcomes = [Outcome(index=index, status=Status.DONE) for index in range(len(positions))]
        files = [Written(sha256=str(position), path="", index=at) for at, position in enumerate(positions)]
        return Done(outcomes=outcomes, files=files)

    def outcomes(self, positions: Sequence[int]) -> dict[int, Outcome]:
        """What halving makes of *positions*."""
        parts = list(isolate(self.run, positions))
        found = [outcome for part in parts for outcome in part.outcomes]
        assert len({outcome.index for outcome in found}) == len(found)
        assert {file.sha256 for part in parts for file in part.files} == {str(position) for position in self.done}
        return {outcome.index: outcome for outcome in found}


@given(count=st.integers(1, 70), data=st.data())
def test_the_guilty_fail_alone_and_the_others_are_done_once(count: int, data: st.DataObject) -> None:
    """Whichever records are guilty, they fail with what the call died of, and no other does."""
    positions = [3 * number + 1 for number in range(count)]
    guilty = set(data.draw(st.lists(st.sampled_from(positions), unique=True)))
    inferrer = Inferrer(guilty=guilty)

    outcomes = inferrer.outcomes(positions)

    assert set(outcomes) == set(positions)
    for position, outcome in outcomes.items():
        assert (outcome.status is Status.FAILED) == (position in guilty)
        assert outcome.alone == (position in guilty)
        if outcome.failure:
            assert outcome.failure.code is FailureCode.STAGE_TIMEOUT
    assert inferrer.done == Counter(set(positions) - guilty)


@pytest.mark.parametrize("guilty", [0, 31, 32, 63])
def test_a_hung_record_costs_a_deadline_a_halving_at_most(guilty: int) -> None:
    """Of 64 records one hangs: it is met seven times at most, once in each size."""
    inferrer = Inferrer(guilty={guilty})

    inferrer.outcomes(range(64))

    assert sum(guilty in call for call in inferrer.calls) <= 7
    assert inferrer.calls.count([guilty]) == 1


def test_a_batch_that_is_only_too_large_is_done_in_parts() -> None:
    """Where no record is guilty alone, smaller calls do them all."""
    inferrer = Inferrer(guilty=set(), most=10)

    outcomes = inferrer.outcomes(range(64))

    assert all(outcome.status is Status.DONE for outcome in outcomes.values())
    assert set(inferrer.done.values()) == {1}


def test_an_inferrer_that_cannot_be_used_ends_it() -> None:
    """What was done before stands; nothing is blamed on the records that are left."""
    inferrer = Inferrer(guilty={0})
    found: list[int] = []

    def run(positions: Sequence[int]) -> Reply:
        return Unusable(reason="gone") if len(inferrer.calls) == 4 else inferrer.run(positions)

    def collect() -> None:
        for part in isolate(run, range(8)):
            found.extend(outcome.index for outcome in part.outcomes)

    with pytest.raises(InferrerUnusable, match="gone"):
        collect()

    assert found == [0]


def test_a_host_that_miscounts_is_halved() -> None:
    """An answer with too few outcomes is never matched to records by guess."""

    def run(positions: Sequence[int]) -> Reply:
        outcomes = [Outcome(index=index, status=Status.DONE) for index in range(min(1, len(positions)))]
        return Done(outcomes=outcomes, files=[])

    outcomes = [outcome for part in isolate(run, range(4)) for outcome in part.outcomes]

    assert sorted(outcome.index for outcome in outcomes) == [0, 1, 2, 3]
