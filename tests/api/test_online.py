"""The online door over HTTP: Open Inference Protocol v2, batches of several requests, one bad record alone."""

import base64
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from limner.testing.picture_server import PictureServer, Reply
from tests.api.served import Served, serving


def tensor(*texts: str, name: str = "text") -> dict[str, object]:
    """An inference request with these texts."""
    return {"inputs": [{"name": name, "shape": [len(texts)], "datatype": "BYTES", "data": list(texts)}]}


def b64(data: bytes) -> str:
    """*data* as it travels."""
    return base64.b64encode(data).decode()


def test_infer_now(served: Served) -> None:
    """A request is answered with a tensor for each output, a row for each record, and nothing is stored."""
    # given
    before = len(served.client.get("/api/v1/jobs").json()["items"])

    # when
    answer = served.client.post("/v2/models/words.shout/infer", json={"id": "mine", **tensor("one", "two")})

    # then
    body = answer.json()
    assert (answer.status_code, body["id"], body["model_name"]) == (200, "mine", "words.shout")
    assert body["outputs"] == [{"name": "loud", "shape": [2], "datatype": "BYTES", "data": ["ONE", "TWO"]}]
    assert answer.headers["limner-version"].startswith(body["model_version"])
    assert len(served.client.get("/api/v1/jobs").json()["items"]) == before


def test_one_bad_record_fails_alone(project: Path) -> None:
    """In a request of several records the bad one has an error, the others their values; alone it is a problem."""
    (project / "broken").write_text("bad", encoding="utf-8")
    with serving(project) as served:
        # when
        several = served.client.post("/v2/models/shout/infer", json=tensor("one", "bad", "two")).json()
        alone = served.client.post("/v2/models/shout/infer", json=tensor("bad"))

        # then
        outputs = {output["name"]: output for output in several["outputs"]}
        assert outputs["loud"]["data"] == ["ONE", None, "TWO"]
        assert [bool(text) for text in outputs["error"]["data"]] == [False, True, False]
        assert outputs["error"]["parameters"]["codes"] == [None, "MODEL_ERROR", None]
        assert (alone.status_code, alone.json()["code"], alone.json()["retryable"]) == (422, "MODEL_ERROR", False)


def test_requests_share_batches(served: Served) -> None:
    """Many requests at once are all answered, each with its own record."""
    # given
    names = [f"w{n}" for n in range(64)]

    # when
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: served.client.post("/v2/models/shout/infer", json=tensor(n)).json(), names))

    # then
    assert [answer["outputs"][0]["data"] for answer in answers] == [[name.upper()] for name in names]


def test_files_by_bytes_and_by_address(project: Path) -> None:
    """A file travels as base64 or as an address, which is fetched through the guard; both give the same."""
    data = bytes(range(200))
    with PictureServer({"a.bin": data}) as files, serving(project, allow_hosts=[files.host]) as served:
        # when
        sent = served.client.post("/v2/models/weigh/infer", json=tensor(b64(data), name="data")).json()
        fetched = served.client.post("/v2/models/weigh/infer", json=tensor(files.url("a.bin"), name="data")).json()

        # then
        assert sent["outputs"] == fetched["outputs"]
        vector = next(output for output in sent["outputs"] if output["name"] == "vector")
        assert (vector["shape"], vector["datatype"]) == ([1, 4], "FP32")


def test_failures_of_files_have_their_status(project: Path) -> None:
    """What is wrong with a file is told by the status that fits, with a code and whether to try again."""
    plan = {
        "busy": [Reply(status=503, retry_after="7")],
        "gone": [Reply(status=404)],
        "away": [Reply(status=403)],
    }
    with (
        PictureServer(dict.fromkeys(plan, b"x"), plan=plan) as files,
        serving(project, allow_hosts=[files.host]) as served,
    ):
        # when
        found = {
            name: served.client.post("/v2/models/weigh/infer", json=tensor(files.url(name), name="data"))
            for name in plan
        }
        private = served.client.post("/v2/models/weigh/infer", json=tensor("http://10.1.2.3/x", name="data"))
        outside = served.client.post("/v2/models/weigh/infer", json=tensor("file:///etc/passwd", name="data"))

        # then
        assert {name: answer.status_code for name, answer in found.items()} == {"busy": 503, "gone": 404, "away": 403}
        assert found["busy"].headers["retry-after"] == "7"
        assert [answer.json()["retryable"] for answer in found.values()] == [True, False, False]
        assert {private.json()["code"], outside.json()["code"]} == {"SOURCE_REFUSED"}
        assert {private.status_code, outside.status_code} == {403}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"inputs": [{"name": "text", "shape": [2], "datatype": "BYTES", "data": ["a"]}]}, "inputs[0].data"),
        ({"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [1]}]}, "inputs[0].data[0]"),
        ({"inputs": [{"name": "text", "shape": [1], "datatype": "TEXT", "data": ["a"]}]}, "inputs[0].datatype"),
        ({"inputs": [{"name": "word", "shape": [1], "datatype": "BYTES", "data": ["a"]}]}, "inputs[0].name"),
        ({"inputs": [{"name": "text", "shape": [1], "datatype": "INT64", "data": [2**70]}]}, "inputs[0].data[0]"),
        ({"inputs": []}, "inputs"),
        ({"inputs": [{"name": "text", "shape": "1", "datatype": "BYTES", "data": ["a"]}]}, "inputs[0].shape"),
        ({"inputs": [{"name": "text", "shape": [-1], "datatype": "BYTES", "data": []}]}, "inputs"),
    ],
)
def test_wrong_tensor_is_named(served: Served, body: dict[str, object], field: str) -> None:
    """A tensor that is not right is refused with its place."""
    # when
    answer = served.client.post("/v2/models/shout/infer", json=body)

    # then
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_unknown_stage_and_version(served: Served) -> None:
    """An unknown stage or version is told with the known ones."""
    # when
    stage = served.client.post("/v2/models/sing/infer", json=tensor("a"))
    version = served.client.post("/v2/models/shout/versions/ffff/infer", json=tensor("a"))

    # then
    assert (stage.status_code, version.status_code) == (404, 404)
    assert "words.shout" in stage.json()["detail"]


def test_version_is_asked_by_its_digest(served: Served) -> None:
    """A version that was registered answers under the beginning of its digest."""
    # given
    served.put("words", {"id": "versioned", "text": "v"})
    version = served.client.get("/v2/models/shout").json()["version"]

    # when
    answer = served.client.post(f"/v2/models/shout/versions/{version[:10]}/infer", json=tensor("x"))

    # then
    assert answer.json()["outputs"][0]["data"] == ["X"]


def test_result_is_kept_if_asked(served: Served) -> None:
    """With keep the record is taken in and its result stored like any other; the job is named."""
    # when
    answer = served.client.post(
        "/v2/models/shout/infer",
        json={**tensor("keep me"), "parameters": {"keep": True, "collection": "words", "id": "kept"}},
    )

    # then
    record = served.client.get("/api/v1/collections/words/records/kept").json()
    assert answer.json()["outputs"][0]["data"] == ["KEEP ME"]
    assert record["fields"]["text"] == "keep me"
    assert record["values"]["shout"] == {"loud": "KEEP ME"}
    assert served.client.get(f"/api/v1/jobs/{answer.headers['limner-job']}").json()["state"] == "done"


def test_stored_record_is_asked_by_its_id(served: Served) -> None:
    """A stored record is inferred by its id, without its inputs being sent."""
    # given
    served.put("words", {"id": "by-id", "text": "mine"})

    # when
    answer = served.client.post("/v2/models/shout/infer", json={"parameters": {"id": "by-id"}})
    nobody = served.client.post("/v2/models/shout/infer", json={"parameters": {"id": "nobody"}})

    # then
    assert answer.json()["outputs"][0]["data"] == ["MINE"]
    assert nobody.status_code == 404


def test_only_stored_records_may_be_asked_about(project: Path) -> None:
    """Where the setting says so, only stored records are inferred; what is sent along is refused with its name."""
    with serving(project, content="ids") as served:
        # given
        served.put("words", {"id": "mine", "text": "mine"})

        # when
        sent = served.client.post("/v2/models/shout/infer", json=tensor("any"))
        stored = served.client.post("/v2/models/shout/infer", json={"parameters": {"id": "mine"}})

        # then
        assert sent.status_code == 403
        assert "content" in sent.json()["detail"]
        assert stored.status_code == 200


def test_allow_list_of_content(project: Path) -> None:
    """With an allow-list only addresses that begin as it says are fetched."""
    with (
        PictureServer({"in/a": b"a", "out/a": b"a"}) as files,
        serving(project, content="allowlist", content_allow=[files.url("in/")], allow_hosts=[files.host]) as served,
    ):
        # when
        listed = served.client.post("/v2/models/weigh/infer", json=tensor(files.url("in/a"), name="data"))
        other = served.client.post("/v2/models/weigh/infer", json=tensor(files.url("out/a"), name="data"))
        sent = served.client.post("/v2/models/weigh/infer", json=tensor(b64(b"a"), name="data"))

        # then
        assert (listed.status_code, other.status_code, sent.status_code) == (200, 403, 403)


def test_metadata_and_health(served: Served) -> None:
    """The protocol's own questions are answered: who is here, is it ready, what does a stage take and give."""
    # when
    server = served.client.get("/v2").json()
    stage = served.client.get("/v2/models/weigh").json()

    # then
    assert server["name"] == "limner"
    assert {"words.shout", "files.weigh"} <= set(server["models"])
    assert served.client.get("/v2/health/live").json()["ready"] is True
    assert served.client.get("/v2/health/ready").json()["ready"] is True
    assert served.client.get("/v2/models/weigh/ready").json() == {"name": "weigh", "ready": True}
    assert [one["name"] for one in stage["inputs"]] == ["data"]
    outputs = {one["name"]: one for one in stage["outputs"]}
    assert (outputs["vector"]["shape"], outputs["vector"]["parameters"]) == ([-1, 4], {"unit": True})
    assert outputs["size"]["datatype"] == "INT64"


def test_stage_that_cannot_be_loaded_is_not_ready(project: Path) -> None:
    """A stage whose inferrer cannot be loaded says why, is not ready, and gives no answer."""
    (project / "inferrers.py").write_text("raise RuntimeError('out of order')\n", encoding="utf-8")
    with serving(project) as served:
        # when
        ready = served.client.get("/v2/models/shout/ready")
        answer = served.client.post("/v2/models/shout/infer", json=tensor("a"))

        # then
        assert ready.status_code in (409, 503)
        assert "out of order" in ready.json()["detail"]
        assert answer.status_code in (409, 503)


def test_inferrer_that_dies_spares_its_neighbours(project: Path) -> None:
    """A record that ends the inferrer's process fails; those beside it and the next request are answered."""
    source = (project / "inferrers.py").read_text(encoding="utf-8")
    dying = source.replace(
        "        broken =",
        '        if "die" in text:\n            import os\n\n            os._exit(3)\n        broken =',
    )
    (project / "inferrers.py").write_text(dying, encoding="utf-8")
    with serving(project) as served:
        # when
        answer = served.client.post("/v2/models/shout/infer", json=tensor("one", "die", "two")).json()
        after = served.client.post("/v2/models/shout/infer", json=tensor("three")).json()

        # then
        outputs = {output["name"]: output for output in answer["outputs"]}
        assert outputs["loud"]["data"] == ["ONE", None, "TWO"]
        assert outputs["error"]["parameters"]["codes"] == [None, "ATTEMPTS_EXHAUSTED", None]
        assert after["outputs"][0]["data"] == ["THREE"]
