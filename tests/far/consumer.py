"""A consumer of the open protocol, as anybody would write one: plain HTTP and JSON."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from tests.far.rig import Server

Said: TypeAlias = dict[str, Any]

#: What one consumer says of itself, and what it asks for.
DOUBLE = {"stage": "double", "implementation": "default"}


class Consumer:
    """Takes tasks and hands results in."""

    def __init__(self, server: Server, *, name: str = "w1", token: str | None = None) -> None:
        self._server = server
        self._token = token
        self.name = name

    def say(self, path: str, body: Mapping[str, object], *, status: int = 200) -> Said:
        """What a call is answered, whose status is as expected."""
        answer = self._server.post(path, {"worker_id": self.name, **body}, token=self._token)
        assert answer.status_code == status, answer.text
        found: Said = answer.json()
        return found

    def hello(self, *, code: str = "1", serves: list[Said] | None = None, **version: object) -> Said:
        """Introduce itself."""
        named = serves or [DOUBLE]
        return self.say("workers:hello", {"serves": [{"version": {"code": code, **version}, **one} for one in named]})

    def ask(self, *, wait_s: float = 10.0, **more: object) -> Said:
        """What a question for tasks is answered."""
        return self.say("tasks:take", {"serves": [DOUBLE], "wait_s": wait_s, **more})

    def take(self, *, wait_s: float = 10.0, **more: object) -> list[Said]:
        """Tasks."""
        found: list[Said] = self.ask(wait_s=wait_s, **more)["tasks"]
        return found

    def complete(self, task: Said, results: list[Said]) -> Said:
        """The receipt of one answer."""
        answer = {"task_id": task["task_id"], "token": task["lease"]["token"], "results": results}
        receipts: list[Said] = self.say("tasks:complete", {"answers": [answer]})["tasks"]
        assert len(receipts) == 1
        return receipts[0]

    def lease(self, task: Said, **more: object) -> Said:
        """How it speaks of a lease."""
        return {"task_id": task["task_id"], "token": task["lease"]["token"], **more}

    def beat(self, *tasks: Said) -> Said:
        """What a heartbeat is answered."""
        return self.say("workers:heartbeat", {"busy": [task["task_id"] for task in tasks]})


def doubled(task: Said) -> list[Said]:
    """The results of a task of the stage `double`."""
    return each(task, lambda reads: {"value": 2 * reads["number"]})


def each(task: Said, value: Callable[[Said], object]) -> list[Said]:
    """Good results, by what each record reads."""
    return [{"key": record["key"], "ok": True, "value": value(record["reads"])} for record in task["records"]]
