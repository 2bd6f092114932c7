"""A job may name its records in parts: each part becomes tasks of its own, and what is there already is left out."""

from hypothesis import given, settings
from hypothesis import strategies as st

import limner
from limner.app.preparing import Preparing, Request
from limner.domain.jobs import Counts
from limner.domain.pipelines import Pipeline
from tests.engine.lab import Lab, record, toy

SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=8)


def pipeline() -> Pipeline:
    """Numbers on request, in tasks of ten."""
    ways = {"one": limner.Implementation(infer=toy("Linear"), params={"add": 1})}
    ways["two"] = limner.Implementation(infer=toy("Linear"), params={"add": 2})
    stage = limner.Stage("add", implementations=ways, reads={"n": "n"}, batch=10, task_size=10)
    return limner.Pipeline("p", collection="things", stages=[stage], standing=False)


def keys_of(lab: Lab, count: int) -> list[int]:
    """The keys of so many things, which are there and were inferred one way."""
    things = [record(f"t{n}", n=n) for n in range(count)]
    lab.run(things)
    with lab.store.reading() as tx:
        found = tx.records.keys(tx.records.collection("things"), [thing.id for thing in things])
    return list(found.values())


def entered(lab: Lab, parts: list[list[int]], *, job: str) -> list[int]:
    """Enter parts into a job that has begun, and seal it; the sizes of its tasks, the largest first."""
    with lab.store.reading() as tx:
        begun = tx.jobs.get(job)
    request = Request(pipeline="p", parts=parts, choices={"add": ["two"]})
    for _ in Preparing(lab.engine).over(request, begun):
        pass
    with lab.store.reading() as tx:
        return sorted((len(task.keys) for task in tx.tasks.open_of(job=job)), reverse=True)


@settings(max_examples=20)
@given(sizes=SIZES)
def test_each_part_is_a_task(sizes: list[int]) -> None:
    """Parts that fit into a task are one each, whatever their sizes; the job ends with every record done."""
    lab = Lab(pipeline())
    keys = keys_of(lab, sum(sizes))
    rest = iter(keys)
    parts = [[next(rest) for _ in range(size)] for size in sizes]
    job = lab.open(ids=[], choices={"add": ["two"]}, seal=False)

    assert entered(lab, parts, job=job) == sorted(sizes, reverse=True)

    lab.drain()
    with lab.store.reading() as tx:
        assert tx.ledger.counts(job) == Counts(records=len(keys), done=len(keys))


def test_a_part_that_is_there_already_is_planned_once() -> None:
    """A job that is gone on with is given its parts again, and plans nothing twice."""
    lab = Lab(pipeline())
    keys = keys_of(lab, 8)
    job = lab.open(ids=[], choices={"add": ["two"]}, seal=False)

    first = entered(lab, [keys[:4]], job=job)
    second = entered(lab, [keys[:4], keys[4:]], job=job)

    assert (first, second) == ([4], [4, 4])
