"""Has a server begin a precalculation and says how many workers it can use: the first step of the GitHub workflow."""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence

import httpx

from limner.domain.values import Value
from limner.errors import LimnerError, ServerRefused, ServerUnavailable, UsageError

#: Seconds between two questions, and failed ones in a row that are borne.
_PAUSE, _PATIENCE = 1.0, 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Print ``run=`` and ``workers=`` as a workflow takes them for outputs; the exit status of a command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default=os.environ.get("LIMNER_URL", ""))
    parser.add_argument("--model", required=True)
    parser.add_argument("--library", default="")
    parser.add_argument("--sample", default="", help="blank: the whole library")
    parser.add_argument("--workers", default="50")
    given = parser.parse_args(arguments)
    try:
        asked = {"model": given.model, "workers": _number(given.workers, "n-workers")}
        asked |= {"sample": _number(given.sample, "sample-only")} if given.sample.strip() else {}
        asked |= {"library": given.library} if given.library.strip() else {}
        run, workers = begun(given.url, asked, token=os.environ.get("LIMNER_TOKEN", ""))
    except LimnerError as error:
        sys.stderr.write(f"{error}\n")
        return 2 if isinstance(error, UsageError) else 1
    sys.stdout.write(f"run={run}\nworkers={json.dumps(workers)}\n")
    return 0


def begun(url: str, asked: dict[str, Value], *, token: str, pause: float = _PAUSE) -> tuple[str, list[int]]:
    """
    The id of a new precalculation, and the numbers of its workers, once its shards are cut.

    There are none where nothing is to be computed.

    Raises:
        ServerRefused: the server does not do it.
        ServerUnavailable: it does not answer.
    """
    headers = {"authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        run = _asked(client, "POST", "/api/v1/precalc", json=asked)["run"]
        while True:
            found = _asked(client, "GET", f"/api/v1/precalc/{run}")
            if found["error"]:
                raise ServerRefused(str(found["error"]), status=422)
            if found["state"] == "stopped":
                raise ServerRefused(str(found["outcome"]["stopped"]), status=422)
            if found["workers"] is not None:
                return run, found["workers"]
            time.sleep(pause)


def _asked(client: httpx.Client, method: str, path: str, **options: Value) -> Value:
    """The server's answer; a question, which does no harm twice, is put again where it found nobody."""
    for _ in range(_PATIENCE if method == "GET" else 1):
        try:
            answer = client.request(method, path, **options)
        except httpx.TransportError as error:
            last = ServerUnavailable(f"The server at {client.base_url} does not answer: {error}")
            time.sleep(_PAUSE)
            continue
        if answer.is_success:
            return answer.json()
        told = answer.json() if "json" in answer.headers.get("content-type", "") else {}
        why = "; ".join(error["message"] for error in told.get("errors", ())) or told.get("detail", answer.text[:200])
        raise ServerRefused(str(why), status=answer.status_code)
    raise last


def _number(text: str, name: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise UsageError(f"{name} takes a number from 1 on, not {text!r}.")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
