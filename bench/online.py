"""Work C: one stage behind HTTP with dynamic batching (Open Inference Protocol v2 body), many clients, then one."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from http_load import loaded, request
from measuring import project, tell
from processes import Process, free_port, listening, serving, until

HERE = Path(__file__).resolve().parent
PIPELINE = """
from limner import Number, Pipeline, Stage

pipeline = Pipeline("tiny", collection="things", stages=[
    Stage("double", infer="work:Double", reads={"n": "n"}, outputs={"x": Number()}, batch=64),
])
"""
INFERRERS = """
class Double:
    version = "1"

    def infer(self, n: list[float]) -> list[dict]:
        return [{"x": 2 * one} for one in n]
"""
SETTINGS = 'online = ["tiny.double"]\n'
WAY = "/v2/models/tiny.double/infer"


def _measured(server: Process, *, way: str, seconds: float, clients: int) -> dict[str, float]:
    """Many clients, and one alone; every last answer is looked at."""

    def made(number: int) -> bytes:
        tensor = {"name": "n", "shape": [1], "datatype": "FP64", "data": [float(number)]}
        return request("POST", server.url + way, json.dumps({"inputs": [tensor]}).encode())

    loaded(server.url, made, clients=clients, seconds=1.0)
    many = loaded(server.url, made, clients=clients, seconds=seconds)
    alone = loaded(server.url, made, clients=1, seconds=min(2.0, seconds))
    for load in (many, alone):
        (output,) = json.loads(load.last)["outputs"]
        assert output["data"][0] % 2 == 0, load.last
        assert not load.refused
    return {**many.figures(), "alone_p50_ms": alone.figures()["p50_ms"]}


def limner(*, seconds: float, clients: int) -> dict[str, float]:
    """The online door of `limner serve`."""
    files = {"pipeline.py": PIPELINE, "work.py": INFERRERS, "limner.toml": SETTINGS}
    body = b'{"inputs":[{"name":"n","shape":[1],"datatype":"FP64","data":[1]}]}'
    with project(files) as folder, serving(folder) as server:
        until(lambda: not loaded(server.url, _once(server.url + WAY, body), clients=1, seconds=0.01).refused)
        return _measured(server, way=WAY, seconds=seconds, clients=clients)


def _once(url: str, body: bytes) -> Callable[[int], bytes]:
    return lambda number: request("POST", url, body)


def fastapi(*, seconds: float, clients: int) -> dict[str, float]:
    """FastAPI as its tutorial writes it: a pydantic body, and no batching."""
    return _uvicorn("fastapi", seconds=seconds, clients=clients)


def limit(*, seconds: float, clients: int) -> dict[str, float]:
    """The bare protocol with batches gathered in the process."""
    return _uvicorn("bare", seconds=seconds, clients=clients)


def _uvicorn(app: str, *, seconds: float, clients: int) -> dict[str, float]:
    with project({}) as folder:
        port = free_port()
        command = [sys.executable, "-m", "uvicorn", f"peers.online_apps:{app}", "--app-dir", str(HERE)]
        command += ["--port", str(port), "--log-level", "error", "--no-access-log"]
        with listening(command, port=port, folder=folder) as server:
            return _measured(server, way=WAY, seconds=seconds, clients=clients)


def litserve(*, seconds: float, clients: int) -> dict[str, float]:
    """LitServe with batches of 64 and a window of a millisecond; runs in an environment of its own."""
    with project({}) as folder:
        port = free_port()
        command = [sys.executable, str(HERE / "peers" / "litserve_app.py"), str(port)]
        with listening(command, port=port, folder=folder, ready="/health") as server:
            return _measured(server, way="/predict", seconds=seconds, clients=clients)


def main() -> None:
    """Measure one of them."""
    ways: dict[str, Callable[..., dict[str, float]]] = {
        "limner": limner,
        "fastapi": fastapi,
        "litserve": litserve,
        "limit": limit,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--who", choices=ways, default="limner")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=32)
    asked = parser.parse_args()
    figures = ways[asked.who](seconds=asked.seconds, clients=asked.clients)
    tell(work="C", who=asked.who, clients=asked.clients, **figures)


if __name__ == "__main__":
    main()
