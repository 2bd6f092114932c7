"""I: the inferrers over HTTP, in the form that the library's own clients speak, and by the online door."""

import base64
import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from PIL import Image

from limner.testing.picture_server import PictureServer, Reply
from tests.api.served import Served, serving
from tests.systems.catalogue.conftest import Library
from tests.systems.catalogue.projects import CatalogueProject, from_template, plain_picture

PATHS = ("/palette/", "/feature-vector/", "/aspect-ratio/")
HIGH = (40, 60)


def jpeg(size: tuple[int, int] = HIGH) -> bytes:
    """A small JPEG with a slope of colours."""
    across, down = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    pixels = np.stack([across, down, 255 - across], axis=-1).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG whose header promises more pixels than may be decoded."""
    buffer = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def pictures() -> Iterator[PictureServer]:
    """Pictures, good and bad, behind an address."""
    good = jpeg()
    held = {
        "a picture+1.jpg": good,
        "iiif-img/one/full/!400,400/0/default.jpg": good,
        "empty.jpg": b"",
        "page.jpg": b"<!doctype html><title>Wait</title>",
        "cut.jpg": good[: len(good) // 2],
        "bomb.png": bomb(),
    }
    plan = {"busy.jpg": [Reply(status=503, retry_after="9")], "gone.jpg": [Reply(status=404)]}
    with PictureServer({**held, "busy.jpg": good, "gone.jpg": good}, plan=plan) as server:
        yield server


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory, pictures: PictureServer) -> Iterator[Served]:
    """A new project, served; nothing was ever run in it."""
    project = from_template(tmp_path_factory.mktemp("doors") / "cat")
    (project.folder / "one.jpg").write_bytes(jpeg())
    with serving(project.folder, allow_hosts=[pictures.host]) as up:
        yield up


def asked(served: Served, path: str, url: str) -> httpx.Response:
    """What the inferrer at *path* says of the picture at *url*."""
    return served.client.get(f"{path}?query_url={quote(url, safe='')}")


def numbers(text: str) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    """The vector in base64."""
    return np.frombuffer(base64.b64decode(text), dtype="<f4")


def test_i1_contract(doors: Served) -> None:
    """Each inferrer answers with exactly the keys of the original, vectors as little-endian float32."""
    # given
    url = (doors.folder / "one.jpg").as_uri()

    # when
    found = {path: asked(doors, path, url) for path in PATHS}

    # then
    palette, features, ratio = (found[path].json() for path in PATHS)
    assert set(palette) == {"palette_embedding", "average_color_hex"}
    assert set(features) == {"features_b64"}
    assert ratio == {"aspect_ratio": pytest.approx(HIGH[0] / HIGH[1], rel=1e-6)}
    assert len(numbers(palette["palette_embedding"])) == 1000
    assert np.linalg.norm(numbers(features["features_b64"])) == pytest.approx(1, abs=1e-4)
    assert doors.client.get("/healthcheck").json() == {"status": "healthy"}
    assert all(answer.headers["limner-version"] for answer in found.values())
    assert len(found["/feature-vector/"].headers["limner-model-digest"]) == 64


@pytest.mark.real_data
def test_i1_values_of_the_original(tmp_path: Path, shared_data: Path) -> None:
    """On the real picture and drawn plates the values are those that the original gave."""
    # given
    folder = shared_data / "catalogue"
    expected = json.loads((folder / "expected.json").read_text())["pictures"]
    palettes = np.load(folder / "palette_expected.npz")
    stored = dict(zip(map(str, palettes["name"]), palettes["palette"], strict=True))
    with serving(from_template(tmp_path / "cat").folder, file_roots=[str(folder / "pictures")]) as served:
        for name in ["test-image.jpg", *sorted(expected)[:5]]:
            # when
            url = (folder / "pictures" / name).as_uri()
            ratio = asked(served, "/aspect-ratio/", url).json()["aspect_ratio"]
            palette = asked(served, "/palette/", url).json()

            # then
            assert ratio == pytest.approx(expected[name]["aspect_ratio"], rel=1e-6)
            mine = [int(palette["average_color_hex"][at : at + 2], 16) for at in (1, 3, 5)]
            theirs = [int(expected[name]["average_color_hex"][at : at + 2], 16) for at in (1, 3, 5)]
            assert max(abs(a - b) for a, b in zip(mine, theirs, strict=True)) <= 1
            vector, other = numbers(palette["palette_embedding"]), np.asarray(stored[name], dtype=np.float64)
            assert float(vector @ other / np.linalg.norm(other)) >= 0.999


@pytest.mark.parametrize("path", PATHS)
def test_i2_all_routes_equal(doors: Served, pictures: PictureServer, path: str) -> None:
    """A file, an address, a IIIF description, the bytes and an address encoded twice give byte-equal bodies."""
    # given
    address = pictures.url("a%20picture%2B1.jpg")
    twice = quote(quote(address, safe=""), safe="")

    # when
    bodies = [
        asked(doors, path, (doors.folder / "one.jpg").as_uri()).content,
        asked(doors, path, address).content,
        asked(doors, path, pictures.url("iiif-img/one/info.json")).content,
        doors.client.post(path, content=jpeg(), headers={"content-type": "image/jpeg"}).content,
        doors.client.get(f"{path}?query_url={twice}").content,
        doors.client.get(f"{path.rstrip('/')}?query_url={quote(address, safe='')}").content,
    ]

    # then
    assert b"detail" not in bodies[0]
    assert len(set(bodies)) == 1


def test_i2_online_door_agrees(doors: Served) -> None:
    """Open Inference Protocol v2 gives the same vector as the library's own address."""
    # given
    picture = base64.b64encode(jpeg()).decode()
    body = {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [picture]}]}

    # when
    answer = doors.client.post("/v2/models/features/infer", json=body).json()
    own = doors.client.post("/feature-vector/", content=jpeg()).json()

    # then
    vector = next(output for output in answer["outputs"] if output["name"] == "vector")
    assert np.array_equal(np.array(vector["data"], dtype=np.float32), numbers(own["features_b64"]))


def test_i3_typed_errors(doors: Served, pictures: PictureServer) -> None:
    """What is wrong with a picture is told by status, code and whether to try again."""
    # given
    names = ["empty.jpg", "page.jpg", "cut.jpg", "bomb.png", "gone.jpg", "busy.jpg"]

    # when
    found = {name: asked(doors, "/palette/", pictures.url(name)) for name in names}

    # then
    assert [found[name].status_code for name in names] == [422, 422, 422, 413, 404, 503]
    assert [found[name].json()["code"] for name in names] == [
        "SOURCE_TRUNCATED",
        "SOURCE_WRONG_TYPE",
        "SOURCE_TRUNCATED",
        "SOURCE_TOO_LARGE",
        "SOURCE_NOT_FOUND",
        "SOURCE_UNAVAILABLE",
    ]
    assert [found[name].json()["retryable"] for name in names] == [False, False, False, False, False, True]
    assert found["busy.jpg"].headers["retry-after"] == "9"
    assert all(found[name].json()["detail"] for name in names)
    assert doors.client.get("/palette/").status_code == 422


def test_i4_one_bad_of_sixteen(doors: Served, pictures: PictureServer) -> None:
    """Of sixteen requests at once the one about a broken picture fails, the others do not."""
    # given
    urls = [pictures.url("cut.jpg" if n == 7 else "a%20picture%2B1.jpg") for n in range(16)]

    # when
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda url: asked(doors, "/feature-vector/", url).status_code, urls))

    # then
    assert statuses == [422 if n == 7 else 200 for n in range(16)]


SLOW = """
import time
from pathlib import Path


class Slow:
    def infer(self, image: list[Path]) -> list:
        Path(__file__).with_name("began").touch()
        time.sleep(5)
        return [{"value": 1.0} for _ in image]
"""


@pytest.mark.timed
@pytest.mark.slow
def test_i5_responsive_and_stops(cat: CatalogueProject) -> None:
    """Health is answered while a batch of five seconds runs, and SIGTERM ends the server within five."""
    # given
    cat.write("slow.py", SLOW)
    cat.stages(
        'Stage("aspect_ratio", infer="slow:Slow", reads={"image": file("image_url")}, outputs={"value": Number()}),'
    )
    (cat.folder / "one.jpg").write_bytes(jpeg())
    command = [str(Path(sys.executable).with_name("limner")), "serve", "--port", "0", "--json"]
    with subprocess.Popen(command, cwd=cat.folder, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = json.loads(server.stdout.readline())["url"]
            with ThreadPoolExecutor(1) as pool:
                body = {"pipeline": "catalogue", "records": [{"id": "a", "image_url": str(cat.folder / "one.jpg")}]}
                httpx.post(f"{url}/api/v1/jobs", json=body)
                asking = pool.submit(httpx.post, f"{url}/aspect-ratio/", content=jpeg(), timeout=30)
                with httpx.Client(base_url=url) as client:
                    while not (cat.folder / "began").exists():
                        client.get("/healthz")

                    # when
                    times = []
                    for _ in range(20):
                        began = time.perf_counter()
                        assert client.get("/healthz").status_code == 200
                        times.append(time.perf_counter() - began)
                stopped = time.perf_counter()
                server.send_signal(signal.SIGTERM)
                status = server.wait(15)
                took = time.perf_counter() - stopped
                asking.exception()
        finally:
            server.kill()

    # then
    assert sorted(times)[len(times) // 2] < 0.1
    assert status == 0
    assert took < 5


def test_i8_metadata(doors: Served) -> None:
    """A stage says its version, its model's digest, its vector's length and type, and how pictures are prepared."""
    # when
    told = doors.client.get("/v2/models/features").json()

    # then
    output = told["outputs"][0]
    assert len(told["version"]) == 32
    assert len(told["model_digest"]) == 64
    assert (output["name"], output["datatype"], output["shape"]) == ("vector", "FP32", [-1, 128])
    assert output["parameters"] == {"unit": True}
    assert told["parameters"]["normalised"] is True
    assert told["parameters"]["preprocessing"]["size"] == [96, 96]
    assert told["parameters"]["licence"]


def test_i10_ready_only_when_verified(tmp_path: Path) -> None:
    """With one byte of the model's file changed the stage is not ready, says why, and gives no answer."""
    with serving(from_template(tmp_path / "cat").folder) as served:
        # given
        app = served.projects.root
        path = app.artifacts.path(app.registry.find("features").sha256)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.chmod(0o644)
        path.write_bytes(data)

        # when
        ready = served.client.get("/v2/models/features/ready")
        answer = served.client.post("/feature-vector/", content=jpeg())

        # then
        assert ready.status_code == 503
        assert "digest" in ready.json()["detail"]
        assert answer.status_code == 503


def test_d4_same_values_from_the_door(library: Library, tmp_path: Path) -> None:
    """A picture that comes in by HTTP has the value digests of the same picture that came from a file."""
    # given
    project = library.project.copy(tmp_path / "cat")
    one = library.drawn.pictures[0]
    with serving(project.folder) as served:
        # when
        served.put("images", {"id": "by-door", "image_url": library.server.url(one.path.name)})
        app = served.projects.root
        digests = {
            identity: {
                origin.stage: origin.value_digest
                for origin in app.why("images", identity).origins
                if origin.stage in ("palette", "features", "aspect_ratio")
            }
            for identity in (one.id, "by-door")
        }

        # then
        assert len(digests["by-door"]) == 3
        assert digests["by-door"] == digests[one.id]


def test_plain_picture_is_answered(doors: Served) -> None:
    """A picture of one colour has that colour for its average."""
    # when
    told = doors.client.post("/palette/", content=plain_picture((10, 200, 30))).json()

    # then
    assert told["average_color_hex"] == "#0ac81e"
