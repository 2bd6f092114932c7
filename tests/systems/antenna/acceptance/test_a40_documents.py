"""A40: what the pages show works as it stands there: a new model in under 20 lines, and a consumer of curl."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from limner.app.tokens import Tokens
from limner.systems.antenna.trap_pictures import TrapFrame
from limner.testing.picture_server import PictureServer
from tests.conftest import REPOSITORY
from tests.systems.antenna.trap import DETECT, Trap, edit, images_of
from tests.waiting import until
from tools.pages import split

pytestmark = pytest.mark.slow
PAGES = REPOSITORY / "docs" / "systems" / "antenna"
STRIPES = ("CLASSIFICATION", "stripes")
BY_CURL = ("CLASSIFICATION", "by-curl")
SERVICE_BELOW = "# A service that cannot be reached, or takes too long, is asked three times more.\n"


def blocks(page: str, language: str) -> list[str]:
    """The examples of a page in a language."""
    return [example.code for example in split(PAGES / page)[1] if example.words[:1] == (language,)]


def write_model(folder: Path) -> str:
    """The page's model and its line in the pipeline file, where the page says they go; the page's test."""
    model, line, check = blocks("adding-a-model.md", "python")
    (folder / "inferrers" / "stripes.py").write_text(model, encoding="utf-8")
    edit(folder / "pipeline.py", SERVICE_BELOW, f"{line}\n{SERVICE_BELOW}")
    return check


def test_model_of_the_page_is_short() -> None:
    """It has fewer than twenty lines of code, and knows nothing of Limner."""
    # given
    model = blocks("adding-a-model.md", "python")[0]

    # then
    assert sum(bool(line.strip()) for line in model.splitlines()) < 20
    assert not re.search(r"^\s*(import|from) limner", model, flags=re.MULTILINE)


def test_model_keeps_the_contract(trap_folder: Path) -> None:
    """The page's own test, which holds it to the contract of inferrers, passes in a new project."""
    # given
    (trap_folder / "test_stripes.py").write_text(write_model(trap_folder), encoding="utf-8")

    # when
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_stripes.py"]
    done = subprocess.run(command, cwd=trap_folder, capture_output=True, text=True, check=False)

    # then
    assert done.returncode == 0, done.stdout


def test_model_runs_in_a_request(
    trap_folder: Path, trap: Callable[..., Trap], pictures: PictureServer, small_night: list[TrapFrame]
) -> None:
    """A request names it, and every detection has its labels."""
    # given
    write_model(trap_folder)
    served = trap()

    # when
    job = served.run(images_of(small_night[:1], url=pictures.url), [DETECT, STRIPES])

    # then
    lines = served.detections(job, small_night[0].name)
    assert job.state == "done"
    assert lines
    for line in lines:
        assert {label["name"] for label in line.values["classify"]["labels"]} == {"striped", "plain"}


def offered(served: Trap) -> bool:
    """Whether the consumer said hello."""
    return "by-curl" in served.host.pipeline("antenna").stage("classify").implementations


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq")
def test_consumer_of_curl(
    trap: Callable[..., Trap], pictures: PictureServer, small_night: list[TrapFrame], tmp_path: Path
) -> None:
    """The page's consumer, twenty lines at most, says hello with a token for its stage and classifies what is found."""
    # given
    (script,) = blocks("adding-a-consumer.md", "bash")
    assert len(script.splitlines()) <= 20
    served = trap()
    root = served.server.projects.root
    token = Tokens(root.store, root.clock).create(name="curl", project="default", scopes=["work:classify"]).token
    environ = {**os.environ, "LIMNER_URL": served.server.url, "LIMNER_TOKEN": token}
    (tmp_path / "consumer.sh").write_text(script, encoding="utf-8")
    said = (tmp_path / "said.txt").open("wb")
    consumer = subprocess.Popen(
        ["bash", str(tmp_path / "consumer.sh")], env=environ, stdout=said, stderr=said, start_new_session=True
    )

    # when
    try:
        until(lambda: offered(served))
        job = served.run(images_of(small_night[:1], url=pictures.url), [DETECT, BY_CURL])
    finally:
        os.killpg(consumer.pid, 15)
        consumer.wait(10)
        said.close()

    # then
    lines = served.detections(job, small_night[0].name)
    assert job.state == "done", (tmp_path / "said.txt").read_text()
    assert lines
    assert {line.values["classify"]["labels"][0]["name"] for line in lines} == {"seen"}
