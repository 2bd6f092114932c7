"""The consumer that docs/workers.md shows is run as it stands there, by a shell, with curl."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from limner.app.tokens import Tokens
from tests.far.rig import Server
from tests.processes import kill


def blocks(page: str, words: str) -> list[str]:
    """The code blocks of a page that are marked so."""
    return re.findall(rf"^```{words}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_a40_a_consumer_is_twenty_lines_of_shell(repository: Path, tmp_path: Path) -> None:
    """Declared as the page shows it, the stage is done by the page's own script."""
    page = (repository / "docs" / "workers.md").read_text()
    (pipeline,) = blocks(page, "python")
    (script,) = blocks(page, "bash consumer")
    assert len(script.splitlines()) <= 20
    with Server(tmp_path / "project", pipeline=pipeline, inferrers="") as server:
        made = Tokens(server.host.store, clock=server.host.clock).create("curl", scopes=["work:length"])
        words = ["moth", "beetle", "silverfish", ""]
        job = server.submit([{"word": word} for word in words], pipeline="words", collection="words")
        consumer = subprocess.Popen(
            ["sh", "-eu", "-c", script],
            cwd=tmp_path,
            env={**os.environ, "LIMNER_URL": server.url, "LIMNER_TOKEN": made.token},
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            assert server.wait(job) == "done"
        finally:
            kill(consumer)

        found = server.values(job, stage="length", implementation="theirs")
        assert found == {f"r{at}": {"length": len(word)} for at, word in enumerate(words)}
