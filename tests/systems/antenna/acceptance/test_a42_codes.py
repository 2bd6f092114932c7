"""A42: one list of failure codes: that of the command line, of the documents, and of the platform."""

import json
import re
import subprocess
import sys
from pathlib import Path

from limner.domain.failures import FailureCode


def test_a42_failure_list(tmp_path: Path, repository: Path) -> None:
    """`limner failures --codes --json` names what the page of failures explains, and nothing else."""
    # given
    page = (repository / "docs" / "failures.md").read_text(encoding="utf-8")
    explained = dict(re.findall(r"^\| `([A-Z_]+)` \|[^|]*\| ([0-9–]+) \|", page, flags=re.MULTILINE))

    # when
    done = subprocess.run(
        [sys.executable, "-m", "limner.cli.main", "failures", "--codes", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    # then
    listed = {one["code"]: one["tries"] for one in json.loads(done.stdout)["codes"]}
    assert set(listed) == set(explained) == {code.value for code in FailureCode}
    assert {code: int(tries) for code, tries in explained.items() if tries.isdigit()} == {
        code: tries for code, tries in listed.items() if explained[code].isdigit()
    }
