"""Which web server answers the online door best: uvicorn or granian, both in the process of the engine, 64 clients."""

import argparse
import asyncio
import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from http_load import loaded, request
from measuring import project
from online import INFERRERS, PIPELINE, WAY
from processes import free_port, until

SERVERS = ("uvicorn", "granian")


def serve(kind: str, folder: Path, port: int) -> None:
    """Limner's own application behind one of the servers, until this process is killed."""
    import uvloop

    from limner.api.app import create
    from limner.app.projects import Projects
    from limner.settings import load_project

    sys.setswitchinterval(0.001)
    projects = Projects(load_project(folder))
    projects.start()
    app = create(projects)
    if kind == "uvicorn":
        import uvicorn

        uvicorn.run(app, port=port, log_config=None, access_log=False)
        return
    from granian.constants import Interfaces
    from granian.server.embed import Server

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGI, log_access=False).serve())
    projects.stop(timedelta(seconds=1))


def measured(kind: str, *, seconds: float, clients: int) -> dict[str, float]:
    """Requests a second and percentiles of many clients behind one server."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    body = json.dumps({"inputs": [{"name": "n", "shape": [1], "datatype": "FP64", "data": [21]}]}).encode()
    asked = request("POST", url + WAY, body)
    with project({"pipeline.py": PIPELINE, "work.py": INFERRERS}) as folder:
        command = [sys.executable, __file__, "--serve", kind, "--folder", str(folder), "--port", str(port)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
            try:
                until(lambda: _answers(url, asked))
                load = loaded(url, lambda _: asked, clients=clients, seconds=seconds)
            finally:
                running.kill()
    (output,) = json.loads(load.last)["outputs"]
    assert output["data"] == [42]
    return load.figures()


def _answers(url: str, asked: bytes) -> bool:
    try:
        found = loaded(url, lambda _: asked, clients=1, seconds=0.05)
    except OSError:
        return False
    return bool(found.took) and not found.refused


def main() -> None:
    """Measure both in turns, several times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", choices=SERVERS)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--port", type=int)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.serve, asked.folder, asked.port)
        return
    for turn in range(asked.rounds):
        for kind in SERVERS:
            found = measured(kind, seconds=asked.seconds, clients=asked.clients)
            print(
                f"{turn + 1} {kind}: {found['rate']:,.0f} rps, p50 {found['p50_ms']:.1f}, p99 {found['p99_ms']:.1f} ms"
            )


if __name__ == "__main__":
    main()
