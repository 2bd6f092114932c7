"""Q: where a stage runs, who may ask, about what, and which models are public."""

import json
from pathlib import Path

import httpx
import pytest

from limner.testing.picture_server import PictureServer, Reply
from tests.api.served import serving
from tests.systems.catalogue.acceptance.test_i_doors import jpeg
from tests.systems.catalogue.projects import from_template, limner
from tests.waiting import until


@pytest.mark.slow
def test_q1_compute_differs(tmp_path: Path) -> None:
    """With features inferred by another server over HTTP the values are the same as here."""
    far = from_template(tmp_path / "far")
    near = from_template(tmp_path / "near")
    for project in (far, near):
        (project.folder / "one.jpg").write_bytes(jpeg())
    with serving(far.folder) as there:
        # given
        near.edit(
            """    "features",
    infer="onnx",
    model="features@champion",""",
            f"""    "features",
    infer="http",
    params={{"url": "{there.url}", "protocol": "v2", "model": "features"}},""",
        )
        with serving(near.folder, allow_hosts=["127.0.0.1"]) as here:
            # when
            here.put("images", {"id": "one", "image_url": str(near.folder / "one.jpg")})
            there.put("images", {"id": "one", "image_url": str(far.folder / "one.jpg")})
            values = [
                one.client.get("/api/v1/collections/images/records/one").json()["values"] for one in (here, there)
            ]

    # then
    assert values[0]["features"]["vector"] == values[1]["features"]["vector"]
    assert values[0]["palette"] == values[1]["palette"]


@pytest.mark.slow
def test_q2_public_door(tmp_path: Path) -> None:
    """A public address needs a token and a rate; with both, who has no token gets 401 and who asks too often 429."""
    # given
    project = from_template(tmp_path / "cat")
    without_token = limner(project, "serve", "--host", "0.0.0.0", "--port", "0")
    assert limner(project, "token", "create", "--scope", "submit").returncode == 0
    settings = project.folder / "limner.toml"
    before = settings.read_text()
    settings.write_text(f"rate_limit = 0\n{before}")
    without_rate = limner(project, "serve", "--host", "0.0.0.0", "--port", "0")
    settings.write_text(before)

    # when
    with serving(project.folder, public=True, rate_limit=3.0) as served:
        headers = served.token("submit")
        none = served.client.get("/palette/?query_url=file:///x")
        statuses = [served.client.post("/palette/", content=jpeg(), headers=headers).status_code for _ in range(12)]

    # then
    assert (without_token.returncode, without_rate.returncode) == (2, 2)
    assert "token" in without_token.stderr
    assert "rate_limit" in without_rate.stderr
    assert none.status_code == 401
    assert statuses[0] == 200
    assert 429 in statuses


def test_q3_content_policy(tmp_path: Path) -> None:
    """Addresses and files that may not be read are refused with 403, one that is listed is not; so in jobs."""
    project = from_template(tmp_path / "cat")
    root = project.folder
    (root / "in.jpg").write_bytes(jpeg())
    (tmp_path / "out.jpg").write_bytes(jpeg())
    plan = {"away.jpg": [Reply(status=302, redirect="http://169.254.169.254/latest/meta-data")]}
    with PictureServer({"a.jpg": jpeg(), "away.jpg": jpeg()}, plan=plan) as pictures:
        port = pictures.host.rpartition(":")[2]
        refused = [
            "http://169.254.169.254/a.jpg",
            pictures.url("away.jpg"),
            f"http://localhost:{port}/a.jpg",
            (tmp_path / "out.jpg").as_uri(),
            f"{root.as_uri()}/../out.jpg",
        ]
        with serving(root, allow_hosts=[pictures.host]) as served:
            # when
            statuses = [served.client.get("/palette/", params={"query_url": url}).status_code for url in refused]
            listed = served.client.get("/palette/", params={"query_url": pictures.url("a.jpg")}).status_code
            job = served.put("images", *({"id": f"r{n}", "image_url": url} for n, url in enumerate(refused)))
            lines = served.client.get(f"/api/v1/jobs/{job}/errors").text.splitlines()

    # then
    assert statuses == [403] * len(refused)
    assert listed == 200
    codes = {json.loads(line)["error"]["code"] for line in lines}
    assert codes - {"UPSTREAM_FAILED"} == {"SOURCE_REFUSED"}


def test_q4_public_models(tmp_path: Path) -> None:
    """A private model is refused to strangers, a public one is handed out with its digest; public needs a licence."""
    project = from_template(tmp_path / "cat")
    with serving(project.folder) as served:
        # given
        registry = served.projects.root.registry
        plain = tmp_path / "plain.bin"
        plain.write_bytes(b"numbers")
        registry.add("plain", plain)
        served.token("read")
        until(lambda: served.client.get("/api/v1/jobs").status_code == 401)

        # when
        private = served.client.get("/api/v1/models/features/versions/1/file")
        registry.publish("features@1")
        public = served.client.get("/api/v1/models/features/versions/1/file")
        with pytest.raises(Exception, match="licence"):
            registry.publish("plain@1")

        # then
        assert private.status_code == 403
        assert public.status_code == httpx.codes.OK
        assert public.headers["limner-model-digest"] == registry.find("features").sha256
