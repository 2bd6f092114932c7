"""Implementations that only outside workers hold, their files, and who may serve what."""

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from limner.app.tokens import Tokens
from limner.domain.tasks import LocalFile
from limner.domain.values import decode
from limner.inferrers.inputs import read_digests
from limner.testing.picture_server import PictureServer
from tests.far.consumer import Consumer, Said, each
from tests.far.rig import Server

PIPELINE = """
from limner import (
    Anything, Artifact, Bytes, Implementation, Number, Pipeline, Stage, Text, Vector, file,
)

pipeline = Pipeline("trap", collection="captures", standing=False, stages=[
    Stage("detect", kind="expand", of="detections", identity=["box"], reads={"picture": file("image_url")},
          implementations={"theirs": Implementation(infer="external")},
          outputs={"box": Anything(), "score": Number()}),
    Stage("crop", over="detections", reads={"box": "box", "picture": file("parent.image_url")},
          implementations={"theirs": Implementation(infer="external")},
          outputs={"crop": Artifact(kind="image/jpeg"), "mark": Bytes(length=4), "vector": Vector(length=3)}),
])
"""
#: Two records of another kind beside them.
ALSO = """
also = Pipeline("also", collection="words", standing=False, stages=[
    Stage("length", infer="inferrers:length", reads={"word": "word"}),
])
"""
INFERRERS = """
def length(word: str) -> int:
    return len(word)
"""
DETECT = {"stage": "detect", "implementation": "theirs"}
CROP = {"stage": "crop", "implementation": "theirs"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server with two pipelines, of which one is done by outsiders."""
    with Server(tmp_path / "project", pipeline=PIPELINE + ALSO, inferrers=INFERRERS) as served:
        yield served


@pytest.fixture
def pictures() -> Iterator[PictureServer]:
    """A server of two pictures."""
    with PictureServer({"a.jpg": b"picture a", "b.jpg": b"picture b"}) as served:
        yield served


def take(who: Consumer, *serves: Said) -> Said:
    """One task of these."""
    (task,) = who.say("tasks:take", {"serves": list(serves), "wait_s": 10})["tasks"]
    found: Said = task
    return found


def tokens_of(server: Server) -> Tokens:
    """The tokens of a server."""
    return Tokens(server.host.store, clock=server.host.clock)


def put(server: Server, data: bytes, *, token: str | None = None, sha256: str | None = None) -> int:
    """Hand bytes in; the status."""
    name = sha256 or hashlib.sha256(data).hexdigest()
    return server.put(f"artifacts/{name}", data, token=token).status_code


def test_a40_a_job_is_done_by_outsiders_alone(server: Server, pictures: PictureServer) -> None:
    """Children, files, bytes and vectors come over the wire, and everything is as if it was inferred here."""
    urls = [pictures.url("a.jpg"), pictures.url("b.jpg")]
    job = server.submit([{"image_url": url} for url in urls], pipeline="trap", collection="captures")
    theirs = Consumer(server)
    assert theirs.hello(code="7", serves=[DETECT, CROP], model_digest="ab" * 32)["told"] == []

    task = take(theirs, DETECT)
    boxes = [{"box": [0, 0, 9, 9], "score": 0.9}, {"box": [5, 5, 8, 8], "score": 0.4}]
    assert [record["reads"]["picture"]["url"] for record in task["records"]] == urls
    assert theirs.complete(task, each(task, lambda reads: boxes))["problems"] == []
    crop = b"jpeg"
    assert put(server, crop) == 204
    seen = 0
    while seen < 4:
        task = take(theirs, CROP)
        results = each(task, lambda reads: {"mark": "00ff00ff", "vector": [0, 0.5, 1]})
        for result in results:
            result["artifacts"] = {"crop": hashlib.sha256(crop).hexdigest()}
        assert theirs.complete(task, results)["problems"] == []
        seen += len(results)

    assert server.wait(job) == "done"
    with server.host.store.reading() as tx:
        children = tx.records.page(tx.records.find_collection("detections") or 0, after=0, limit=10)
        (node,) = [node for node in tx.nodes.of("trap") if node.stage == "crop"]
        values = list(map(decode, tx.results.values(children, node=node.pk, version=node.active or 0).values()))
        stored = tx.nodes.versions([node.active or 0])[node.active or 0].version
    assert len(values) == 4
    assert values[0]["mark"] == b"\x00\xff\x00\xff"
    assert values[0]["crop"] == {"sha256": hashlib.sha256(crop).hexdigest(), "bytes": 4, "kind": "image/jpeg"}
    assert list(values[0]["vector"]) == [0.0, 0.5, 1.0]
    assert stored.code == "7"
    assert stored.model is not None
    assert stored.model.sha256 == "ab" * 32


def test_a_file_that_was_not_handed_in_is_no_output(server: Server, pictures: PictureServer) -> None:
    """A result may name only what was uploaded before, and only where an artifact is declared."""
    job = server.submit([{"image_url": pictures.url("a.jpg")}], pipeline="trap", collection="captures")
    theirs = Consumer(server)
    theirs.hello(serves=[DETECT, CROP])
    task = take(theirs, DETECT)
    theirs.complete(task, each(task, lambda reads: [{"box": [n], "score": 1} for n in range(2)]))
    task = take(theirs, CROP)
    first, second = each(task, lambda reads: {"mark": "00000000", "vector": [1, 2, 3]})
    first["artifacts"] = {"crop": "cd" * 32}
    second["artifacts"] = {"mark": "cd" * 32}

    receipt = theirs.complete(task, [first, second])

    assert receipt["state"] == "refused"
    assert "was not uploaded" in receipt["problems"][0]
    assert "does not declare" in receipt["problems"][1]
    assert server.wait(job) == "failed"


def test_the_digest_of_what_was_read_is_that_of_limners_own_worker(server: Server, pictures: PictureServer) -> None:
    """A consumer that names the SHA-256 of the file has the record's read digest computed for it."""
    sha256 = hashlib.sha256(b"picture a").hexdigest()
    job = server.submit([{"image_url": pictures.url("a.jpg")}], pipeline="trap", collection="captures")
    theirs = Consumer(server)
    theirs.hello(serves=[DETECT])
    task = take(theirs, DETECT)
    (result,) = each(task, lambda reads: [])

    theirs.complete(task, [{**result, "input_digest": sha256}])

    assert server.wait(job) == "done"
    reads = {"picture": server.host.pipelines["trap"].stage("detect").reads["picture"].file}
    columns = {"picture": [msgspec.msgpack.encode(LocalFile(path="anywhere", sha256=sha256))]}
    with server.host.store.reading() as tx:
        (node,) = [node for node in tx.nodes.of("trap") if node.stage == "detect"]
        (record,) = tx.records.page(tx.records.find_collection("captures") or 0, after=0, limit=10)
        found = tx.results.reads([record], node=node.pk, version=node.active or 0)
    assert found[record] == read_digests(columns, reads=reads)[0]


def test_mixed_workers_do_not_flip_a_version(server: Server) -> None:
    """New weights wait until nobody serves the old ones any more; then they are the version."""
    old, new = Consumer(server, name="old"), Consumer(server, name="new")
    assert old.hello(code="1", serves=[DETECT], model_digest="aa" * 32)["told"] == []

    (told,) = new.hello(code="1", serves=[DETECT], model_digest="bb" * 32)["told"]
    assert "model " + "bb" * 32 in told["why"]
    assert served(server) == "aa" * 32

    with server.host.store.transaction() as tx:
        tx.workers.forget(seen_before=server.host.clock.now() + 1)
    assert new.hello(code="1", serves=[DETECT], model_digest="bb" * 32)["told"] == []
    assert served(server) == "bb" * 32


def served(server: Server) -> str:
    """The model digest of the detector that is served."""
    found = server.get("work/implementations").json()["implementations"]
    (version,) = [one["version"] for one in found if one["stage"] == "detect"]
    digest: str = version["model_digest"]
    return digest


def test_a40_a_token_of_a_stage_brings_an_implementation(server: Server, pictures: PictureServer) -> None:
    """What no pipeline declares is offered by hello, chosen by a job, and done."""
    tokens = tokens_of(server)
    tokens.create("boss", scopes=["admin"])
    theirs = Consumer(server, token=tokens.create("team", scopes=["work:detect"]).token)
    mine = {"stage": "trap.detect", "implementation": "flatbug"}
    plain = Consumer(server, name="plain", token=tokens.create("any", scopes=["work"]).token)

    (told,) = plain.hello(serves=[mine])["told"]
    assert told["why"] == "the stage has no implementation flatbug; it has: theirs"
    assert theirs.hello(code="3", serves=[mine])["told"] == []
    job = server.submit(
        [{"image_url": pictures.url("a.jpg")}],
        pipeline="trap",
        collection="captures",
        choices={"detect": ["flatbug"], "crop": []},
    )
    task = take(theirs, mine)
    theirs.complete(task, each(task, lambda reads: []))

    assert server.wait(job) == "done"


def test_a_token_of_a_stage_serves_that_stage_alone(server: Server) -> None:
    """Work of another stage is neither given nor taken from its holder."""
    tokens = tokens_of(server)
    theirs = Consumer(server, token=tokens.create("team", scopes=["work:detect"]).token)
    length = {"stage": "length", "implementation": "default"}
    server.submit([{"word": "moth"}], pipeline="also", collection="words")

    (told,) = theirs.hello(serves=[length])["told"]
    answer = theirs.say("tasks:take", {"serves": [length], "wait_s": 0.2})

    assert told["why"] == "the token's scope does not permit it"
    assert (answer["tasks"], answer["told"][0]["why"]) == ([], told["why"])


def test_a3_without_a_right_token_nothing_is_told(server: Server) -> None:
    """No token and a wrong one are 401, one without the scope is 403, on every call of a worker."""
    reader = tokens_of(server).create("reader", scopes=["read"]).token

    for path in ("workers:hello", "workers:heartbeat", "tasks:take", "tasks:extend", "tasks:complete", "tasks:release"):
        assert server.post(path, {"worker_id": "w"}).status_code == 401
        assert server.post(path, {"worker_id": "w"}, token="wrong").status_code == 401
        assert server.post(path, {"worker_id": "w"}, token=reader).status_code == 403
    assert server.get("work/implementations", token=reader).status_code == 403
    assert server.get("workers", token=reader).status_code == 200
    assert put(server, b"x", token=reader) == 403


def test_a_project_sees_nothing_of_another(server: Server) -> None:
    """A lease, an artifact and the workers of one project are nothing to a token of another."""
    tokens = tokens_of(server)
    server.projects.make("other")
    here = tokens.create("here", scopes=["work", "read"]).token
    there = tokens.create("there", project="other", scopes=["work", "read"]).token
    mine, spy = Consumer(server, token=here), Consumer(server, token=there)
    server.submit([{"word": "moth"}], pipeline="also", collection="words")
    length = {"stage": "length", "implementation": "default"}
    code = next(
        one["version"]["code"]
        for one in server.get("work/implementations", token=here).json()["implementations"]
        if one["stage"] == "length"
    )
    mine.hello(code=code, serves=[length])
    spy.hello(code=code, serves=[length])
    task = take(mine, length)
    data = b"mine alone"
    assert put(server, data, token=here) == 204
    place = f"artifacts/{hashlib.sha256(data).hexdigest()}"

    assert spy.complete(task, each(task, lambda reads: {"value": 4}))["state"] == "refused"
    assert server.get(place, token=there).status_code == 404
    assert server.get(place, token=here).content == data
    assert len(server.get("workers", token=there).json()["workers"]) == 1
    assert spy.say("tasks:take", {"serves": [length], "wait_s": 0})["tasks"] == []


def test_artifacts_are_checked_and_come_in_ranges(server: Server) -> None:
    """Other bytes than promised are refused; what is kept is told, given whole, or in part."""
    data = bytes(range(256)) * 1000
    place = f"artifacts/{hashlib.sha256(data).hexdigest()}"

    assert server.get(place).status_code == 404
    wrong = server.put(place, data[:-1])
    assert (wrong.status_code, server.get(place).status_code) == (422, 404)
    assert put(server, data) == 204
    assert put(server, data) == 204
    whole = server.get(place)
    part = server.get(place, Range="bytes=100-199")

    assert (whole.content, whole.headers["content-length"]) == (data, "256000")
    assert (part.status_code, part.content) == (206, data[100:200])
    assert server.head(place).headers["content-length"] == "256000"
    assert server.get("artifacts/../../etc/passwd").status_code in (404, 422)
    assert server.get(f"artifacts/{'A' * 64}").status_code == 422


def test_a_signed_link_needs_no_token(server: Server) -> None:
    """Whoever has the link has the file, until it expires, and of that file alone."""
    tokens_of(server).create("boss", scopes=["admin"])
    token = tokens_of(server).create("team", scopes=["work"]).token
    assert put(server, b"a crop", token=token) == 204
    assert put(server, b"another", token=token) == 204
    sha256, other = (hashlib.sha256(data).hexdigest() for data in (b"a crop", b"another"))
    link = server.host.key.link(sha256, project="default", base_url="", lifetime=timedelta(hours=1))
    over = server.host.key.link(sha256, project="default", base_url="", lifetime=timedelta(seconds=-5))
    place = link.removeprefix("/api/v1/")

    assert server.get(place).content == b"a crop"
    assert server.get(f"artifacts/{sha256}").status_code == 401
    assert server.get(place.replace(sha256, other)).status_code == 401
    assert server.get(over.removeprefix("/api/v1/")).status_code == 401


def test_the_file_of_a_model_is_fetched_by_number_and_by_digest(server: Server, tmp_path: Path) -> None:
    """A worker fetches the model of its task from the server, and nothing that is not the project's."""
    file = tmp_path / "weights.bin"
    file.write_bytes(b"weights")
    server.host.app.registry.add("net", file)

    by_number = server.get("models/net/1/file")
    by_digest = server.get(f"artifacts/{hashlib.sha256(b'weights').hexdigest()}")

    assert by_number.content == by_digest.content == b"weights"
    assert "weights.bin" in by_number.headers["content-disposition"]
    assert server.get("models/net/2/file").status_code == 404
