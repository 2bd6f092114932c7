"""Messages that are lost on their way: their tasks are sent again, however much waits in their topic."""

import limner
from limner.domain.pipelines import Pipeline
from tests.engine.lab import Lab, record, toy


def pipeline() -> Pipeline:
    """One stage, a task for each record."""
    stage = limner.Stage("s", toy("Linear"), reads={"x": "x"}, batch=1, task_size=1)
    return limner.Pipeline("p", collection="things", stages=[stage])


def test_what_was_lost_is_sent_again_while_others_wait() -> None:
    """Of four tasks that were sent one waits still: once their leases have run out, the other three come again."""
    # given a topic from which three messages of four have vanished
    lab = Lab(pipeline(), in_flight=4)
    lab.open([record(str(n), x=n) for n in range(4)])
    lab.step()
    assert sorted(name for task in lab.take(limit=3) for name in task.records) == ["0", "1", "2"]

    # when the leases have run out
    lab.lapse()
    lab.step()

    # then those are sent again, and the one that waits is there once
    assert sorted(name for task in lab.take() for name in task.records) == ["0", "1", "2", "3"]


def test_all_that_waits_is_sent_once() -> None:
    """As long as there is a message for each task nothing is sent again, though nobody takes it for long."""
    lab = Lab(pipeline(), in_flight=4)
    lab.open([record(str(n), x=n) for n in range(6)])
    for _ in range(5):
        lab.step()
        lab.lapse()

    assert sorted(name for task in lab.take() for name in task.records) == ["0", "1", "2", "3"]
