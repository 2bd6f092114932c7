"""What the tests of a far worker's bus share: the bus of a worker that a server knows, and answers to tasks."""

from limner.bus.base import Delivery
from limner.bus.http import HttpBus
from limner.clock import SystemClock
from limner.domain.digests import digest
from limner.domain.tasks import Answer, Outcome, Status, Task, encode_message
from limner.domain.values import encode
from tests.far.consumer import Consumer
from tests.far.rig import PIPELINE, Server
from tests.waiting import LONG

TOPIC = "far.double/default"
#: One record a task; a value may be anything.
SINGLY = PIPELINE.replace("task_size=8", "task_size=1").replace("batch=4", "batch=1")
WIDE = PIPELINE.replace('outputs={"value": Number()},', "").replace("task_size=8", "task_size=64")


def settings(**more: object) -> str:
    """The settings of a server that has many tasks out at once, and takes nobody for lost."""
    chosen = {"lease": 60.0, "in_flight": 1000} | more
    return "".join(f"{name} = {value}\n" for name, value in chosen.items())


def bus_of(server: Server, *, name: str = "w1", **options: object) -> HttpBus:
    """The bus of a worker that says hello."""
    assert Consumer(server, name=name).hello()["told"] == []
    return HttpBus(server.client(), worker=name, **options)  # type: ignore[arg-type]  # the tests' own options


def take_all(bus: HttpBus, *, count: int) -> list[Delivery]:
    """Take until so many came."""
    taken: list[Delivery] = []
    while len(taken) < count:
        more = bus.take([TOPIC], limit=count - len(taken), wait=LONG)
        assert more, f"only {len(taken)} of {count} came"
        taken += more
    return taken


def answer(task: Task, *, value: object = None, worker: str = "w1", last: bool = True) -> bytes:
    """The answer that a worker gives to a whole task."""
    data = encode({"value": 1.0} if value is None else value)
    return encode_message(
        Answer(
            task=task.id,
            attempt=task.attempt,
            worker=worker,
            outcomes=[
                Outcome(index=at, status=Status.DONE, value=data, value_digest=digest(data), read_digest=b"r" * 16)
                for at in range(len(task.keys))
            ],
            keys=task.keys,
            asked=task.asked,
            started=SystemClock().now(),
            seconds=0.1,
            last=last,
        )
    )


def numbers(count: int, *, start: int = 0) -> list[dict[str, int]]:
    """Records."""
    return [{"number": start + n} for n in range(count)]
