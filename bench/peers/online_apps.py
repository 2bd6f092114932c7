"""Two servers of work C: FastAPI as its tutorial writes it, and the bare protocol with batches of its own."""

import asyncio
import json
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

fastapi = FastAPI()
_waiting: list[tuple[float, asyncio.Future[float]]] = []


class Tensor(BaseModel):
    """An input."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Asked(BaseModel):
    """The body of a request."""

    inputs: list[Tensor]


def _double(numbers: list[float]) -> list[float]:
    return [2 * one for one in numbers]


def _told(numbers: list[float]) -> dict[str, Any]:
    return {"outputs": [{"name": "x", "shape": [len(numbers)], "datatype": "FP64", "data": numbers}]}


@fastapi.post("/v2/models/tiny.double/infer")
def infer(body: Asked) -> dict[str, Any]:
    """One request."""
    return _told(_double(body.inputs[0].data))


def _batch() -> None:
    """Infer whatever waits."""
    group = _waiting[:]
    _waiting.clear()
    for (_, done), found in zip(group, _double([number for number, _ in group]), strict=True):
        done.set_result(found)


async def bare(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401  what the protocol hands over
    """The same call without anything between the socket and the batch."""
    if scope["type"] != "http":
        return
    message = await receive()
    told = b"{}"
    if scope["method"] == "POST":
        number = json.loads(message["body"])["inputs"][0]["data"][0]
        loop = asyncio.get_running_loop()
        done: asyncio.Future[float] = loop.create_future()
        if not _waiting:
            loop.call_soon(_batch)
        _waiting.append((number, done))
        told = json.dumps(_told([await done])).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(told)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": told})
