"""What far workers and the server say to each other of leases and answers, and the tasks that a worker was given."""

from msgspec import Struct

from limner.domain.tasks import Task
from limner.domain.workers import Told


class HelloAnswer(Struct, frozen=True, kw_only=True):
    """What a worker is to keep to."""

    heartbeat_s: float
    lease_s: float
    max_body_bytes: int
    server_time: float
    #: Why it is given no work of something that it named.
    told: list[Told]


class BeatAnswer(Struct, frozen=True, kw_only=True):
    """What a worker is told with its heartbeat."""

    #: Tasks that nobody waits for any more.
    cancelled: list[int]
    #: Finish what is in hand, and stop.
    drain: bool


class LeaseAsk(Struct, frozen=True, kw_only=True):
    """A lease that a worker speaks of."""

    task_id: int
    token: str
    done_records: int = 0
    #: Release: only these records; all of them if None.
    keys: list[str] | None = None


class LeaseState(Struct, frozen=True, kw_only=True):
    """Where a lease stands: ``held``, ``lost`` or ``cancelled``."""

    task_id: int
    state: str
    expires_at: float | None = None


class TaskReceipt(Struct, frozen=True, kw_only=True):
    """What became of an answer: ``committed``, ``duplicate``, ``late_accepted``, ``cancelled`` or ``refused``."""

    task_id: int
    state: str
    #: Records of the task that are still open.
    open: int
    problems: list[str]


class TakenTask(Struct, frozen=True, kw_only=True):
    """One task for a worker."""

    topic: str
    task: Task
    #: The encoded task.
    body: bytes
    token: str
    #: It holds more records than are handed out.
    cut: bool


class Taken(Struct, frozen=True, kw_only=True):
    """What was taken for a worker; it is put back unless it is handed out."""

    tasks: list[TakenTask]
    expires_at: float = 0.0
