"""Two servers of work D over one table of SQLite: FastAPI as its tutorial writes it, and the bare protocol."""

import json
import sqlite3
import threading
from typing import Any

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

_ONE = "SELECT value FROM results WHERE id = ?"
_own = threading.local()
fastapi = FastAPI()


class Ids(BaseModel):
    """Keys that are looked up together."""

    ids: list[str]


def _connection() -> sqlite3.Connection:
    """A connection for each thread, in the current folder."""
    if not hasattr(_own, "connection"):
        _own.connection = sqlite3.connect("results.db")
    found: sqlite3.Connection = _own.connection
    return found


def _many(ids: list[str]) -> dict[str, Any]:
    connection = _connection()
    rows = ((identity, connection.execute(_ONE, (identity,)).fetchone()) for identity in ids)
    return {"items": [{"id": i, "values": {"double": json.loads(row[0])}} for i, row in rows if row is not None]}


@fastapi.get("/results/{identity}")
def one(identity: str) -> dict[str, Any]:
    """One result."""
    row = _connection().execute(_ONE, (identity,)).fetchone()
    if row is None:
        raise HTTPException(404)
    return {"id": identity, "values": {"double": json.loads(row[0])}}


@fastapi.post("/lookup")
def lookup(body: Ids) -> dict[str, Any]:
    """Many results."""
    return _many(body.ids)


async def bare(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401  what the protocol hands over
    """The same two calls without anything between the server and the table."""
    if scope["type"] != "http":
        return
    path = scope["path"]
    if path == "/lookup":
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        told = json.dumps(_many(json.loads(body)["ids"])).encode()
    else:
        identity = path.rpartition("/")[2]
        row = _connection().execute(_ONE, (identity,)).fetchone()
        told = b'{"id":"%s","values":{"double":%s}}' % (identity.encode(), row[0].encode())
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(told)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": told})
