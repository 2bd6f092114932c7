"""
A worker that infers nothing: it speaks the open protocol and answers what it was told to, on any machine.

``python -m limner.testing.stub_worker --url http://127.0.0.1:8080 --answer classify/stub='{"labels": []}'`` serves the
implementation ``stub`` of the stage ``classify``, and answers every record with that value until it is ended. It needs
no model, no graphics card, and none of Limner's extras, so that whatever stands around a model can be tried without
one. The token is that of ``LIMNER_TOKEN``.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias
from uuid import uuid4

import msgspec
from msgspec import Struct

from limner.domain.values import Value
from limner.server_client import ServerClient, token_from

#: Values by stage and implementation, as ``stage/implementation``.
Answers: TypeAlias = Mapping[str, Value]


class _Lease(Struct, frozen=True):
    token: str


class _Record(Struct, frozen=True):
    key: str


class _Task(Struct, frozen=True):
    task_id: int
    stage: str
    implementation: str
    lease: _Lease
    records: list[_Record]


class _Taken(Struct, frozen=True):
    tasks: list[_Task]


class _Receipt(Struct, frozen=True):
    state: str


class _Receipts(Struct, frozen=True):
    tasks: list[_Receipt]


class StubWorker:
    """Answers every record of some implementations with the value that stands for it."""

    def __init__(self, client: ServerClient, answers: Answers, *, version: str = "1", name: str = "") -> None:
        """*answers* by ``stage/implementation``; *version* is told as the code's."""
        self.name = name or f"stub-{uuid4().hex[:8]}"
        self._client = client
        self._answers = dict(answers)
        self._version = version
        self._ways = [dict(zip(("stage", "implementation"), way.split("/", 1), strict=True)) for way in answers]

    def hello(self) -> None:
        """
        Introduce itself.

        Raises:
            ServerUnavailable: the server cannot be reached; asking again is safe.
            ServerRefused: the token is not right.
        """
        serves = [{**way, "version": {"code": self._version}} for way in self._ways]
        self._client.tell("workers:hello", {"worker_id": self.name, "serves": serves}, type=dict[str, object])

    def work(self, *, wait_s: float = 20.0) -> int:
        """Take tasks once, waiting so long for one, and answer them; how many records that were. Raises as `hello`."""
        ask = {"worker_id": self.name, "serves": self._ways, "wait_s": wait_s}
        tasks = self._client.tell("tasks:take", ask, type=_Taken).tasks
        if tasks:
            said = {"worker_id": self.name, "answers": [self._answer(task) for task in tasks]}
            self._client.tell("tasks:complete", said, type=_Receipts)
        return sum(len(task.records) for task in tasks)

    def _answer(self, task: _Task) -> Value:
        value = self._answers[f"{task.stage.rpartition('.')[2]}/{task.implementation}"]
        results = [{"key": record.key, "ok": True, "value": value} for record in task.records]
        return {"task_id": task.task_id, "token": task.lease.token, "results": results}


def answers_of(given: Iterable[str]) -> dict[str, Value]:
    """``stage/implementation=JSON`` as a mapping; a mistake is a ValueError that names it."""
    found: dict[str, Value] = {}
    for one in given:
        way, equals, value = one.partition("=")
        if not equals or way.count("/") != 1:
            raise ValueError(f"{one} is no answer; write stage/implementation=JSON.")
        found[way] = json.loads(value)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Work until it is ended."""
    parser = argparse.ArgumentParser(description="A worker that infers nothing.")
    parser.add_argument("--url", required=True, help="the server")
    parser.add_argument("--answer", action="append", required=True, metavar="STAGE/IMPLEMENTATION=JSON")
    asked = parser.parse_args(arguments)
    try:
        answers = answers_of(asked.answer)
    except ValueError as error:
        parser.error(str(error))
    worker = StubWorker(ServerClient(asked.url, token=token_from(None)), answers)
    worker.hello()
    while True:
        done = worker.work()
        sys.stdout.write(msgspec.json.encode({"worker": worker.name, "records": done}).decode() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
