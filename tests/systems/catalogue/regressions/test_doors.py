"""Defects of the original's inferrer servers."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest

from limner.systems.catalogue.routes import query_url
from tests.api.served import serving
from tests.systems.catalogue.projects import CatalogueProject, plain_picture

SLOW = """
import time
from pathlib import Path


class Slow:
    def infer(self, image: list[Path]) -> list:
        time.sleep(1)
        return [{"value": 1.0} for _ in image]
"""


def test_health_during_long_batch(cat: CatalogueProject) -> None:
    """There a batch of a second held up everything else; here health is answered while it runs."""
    # given
    cat.write("slow.py", SLOW)
    cat.stages(
        'Stage("aspect_ratio", infer="slow:Slow", reads={"image": file("image_url")}, outputs={"value": Number()}),'
    )
    with serving(cat.folder) as served, ThreadPoolExecutor(1) as pool:
        served.client.get("/v2/models/aspect_ratio/ready")

        # when
        asking = pool.submit(served.client.post, "/aspect-ratio/", content=plain_picture((1, 2, 3)))
        times = []
        while not asking.done():
            began = time.perf_counter()
            assert served.client.get("/healthcheck").json() == {"status": "healthy"}
            times.append(time.perf_counter() - began)

        # then
        assert asking.result().status_code == 200, asking.result().text
        assert len(times) > 5
        assert sorted(times)[len(times) // 2] < 0.1


@pytest.mark.parametrize(
    "written",
    [
        "http://a.test/x y+z%2F.jpg",
        "http://a.test/plain.jpg",
        "file:///pictures/a+b.jpg",
        "https://a.test/q?x=1&y=%20",
    ],
)
def test_double_encoded_url(written: str) -> None:
    """There an address was decoded twice and a plus became a blank; here both kinds of clients mean the same."""
    once, twice = quote(written, safe=""), quote(quote(written, safe=""), safe="")
    assert query_url(f"query_url={once}") == written
    assert query_url(f"other=1&query_url={twice}") == written


def test_unreadable_is_typed_over_http(tmp_path: Path) -> None:
    """There what was no picture gave an opaque 500; here a code, a sentence and whether to try again."""
    folder = tmp_path / "cat"
    folder.mkdir()
    project = CatalogueProject(folder)
    project.stages(
        'Stage("aspect_ratio", infer="limner.systems.catalogue.aspect_ratio:AspectRatio", '
        'reads={"image": file("image_url")}, outputs={"value": Number(), "width": Number(), "height": Number()}),'
    )
    with serving(folder) as served:
        # when
        answer = served.client.post("/aspect-ratio/", content=b"<html>wait</html>")

    # then
    assert answer.status_code == 422
    assert (answer.json()["code"], answer.json()["retryable"]) == ("SOURCE_WRONG_TYPE", False)
    assert answer.json()["detail"]
