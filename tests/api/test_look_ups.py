"""Many single records asked for at the same time: each answer is its own, whatever it was read with."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

import limner
from tests.far.rig import Server

PIPELINE = """
from limner import Pipeline, Stage

pipeline = Pipeline("tiny", collection="things", stages=[
    Stage("double", infer="inferrers:double", reads={"n": "n"}, batch=64),
])
"""
INFERRERS = 'version = "1"\n\n\ndef double(n: list[int]) -> list[dict]:\n    return [{"x": 2 * one} for one in n]\n'


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server over a hundred results."""
    served = Server(tmp_path, pipeline=PIPELINE, inferrers=INFERRERS)
    lines = tmp_path / "in.jsonl"
    lines.write_text("".join(f'{{"id": "r/{n}", "n": {n}}}\n' for n in range(100)))
    with limner.open(tmp_path) as app:
        assert app.run("tiny", lines).done == 100
    with served:
        yield served


def test_each_of_many_is_answered_with_its_own_record(server: Server) -> None:
    """A hundred records and as many that are not there, asked for by twenty at once: each has its own answer."""
    # when
    with httpx.Client(base_url=f"{server.url}/api/v1", timeout=30) as client, ThreadPoolExecutor(20) as many:
        found = list(many.map(lambda n: client.get(f"collections/things/records/r%2F{n}"), range(200)))
        elsewhere = client.get("collections/others/records/r1")

    # then
    assert [one.status_code for one in found] == [200] * 100 + [404] * 100
    assert [one.json()["values"]["double"]["x"] for one in found[:100]] == [2 * n for n in range(100)]
    assert "things has no record r/150" in found[150].text
    assert elsewhere.status_code == 404
    assert "known are: things" in elsewhere.text


def test_one_by_one_and_together_say_the_same(server: Server) -> None:
    """The look-up of many ids in one call gives what single look-ups give, in the order asked for."""
    ids = ["r/7", "r/3", "r/999", "r/50"]
    together = server.post("collections/things/records:lookup", {"ids": ids}).json()["items"]
    alone = [
        server.get(f"collections/things/records/{one.replace('/', '%2F')}").json() for one in ids if "999" not in one
    ]
    assert together == alone
    assert [one["id"] for one in together] == ["r/7", "r/3", "r/50"]
