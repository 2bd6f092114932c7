"""What the repository holds: no index host, no path of one machine, nothing huge, nobody else's data."""

import hashlib
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

LARGEST = 3 * 1024 * 1024
# Each is written so that it does not match itself.
INDEX_HOST = re.compile(rb"(?:pypi|pythonhosted|npmjs|yarnpkg|crates)[.](?:org|com|io)|(?:extra-)?index-url[ =]+http")
MACHINE_PATH = re.compile(rb"(?<![\w.$}-])/(?:work|root|Users|home/[a-z]+)/\w")


def tracked() -> list[Path]:
    """Every file that is or would be committed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("this copy is no git clone, so what belongs to it cannot be told")
    paths = {REPOSITORY / name.decode() for name in listed.stdout.split(b"\0") if name}
    return sorted(path for path in paths if path.is_file())


def digest(path: Path) -> str:
    """The sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("pattern", [INDEX_HOST, MACHINE_PATH], ids=["index host", "machine path"])
def test_nothing_of_one_machine(pattern: re.Pattern[bytes]) -> None:
    """No file names the host of a package index or a path that exists on one machine only."""
    found = [
        f"{path.relative_to(REPOSITORY)}: {match[0]!r}"
        for path in tracked()
        for match in pattern.finditer(path.read_bytes())
    ]
    assert found == []


def test_patterns_find_what_they_forbid() -> None:
    """The patterns match what they are for, and leave relative paths alone."""
    # given
    host, path = b"https://files.pythonhosted" + b".org/x", b"open('/wo" + b"rk/data')"

    # then
    assert INDEX_HOST.search(host)
    assert MACHINE_PATH.search(path)
    assert not MACHINE_PATH.search(b"../shared/work/data and https://host/api/work/1")


def test_nothing_huge() -> None:
    """No file is above 3 MB."""
    assert [path for path in tracked() if path.stat().st_size > LARGEST] == []


@pytest.mark.real_data
def test_real_data_stays_outside(shared_data: Path) -> None:
    """No file of the project is a copy of a file of the real data."""
    # given
    ours: dict[int, list[Path]] = {}
    for path in tracked():
        ours.setdefault(path.stat().st_size, []).append(path)

    # when
    copies = [
        (path, theirs)
        for theirs in sorted(shared_data.rglob("*"))
        if theirs.is_file() and theirs.stat().st_size
        for path in ours.get(theirs.stat().st_size, [])
        if digest(path) == digest(theirs)
    ]

    # then
    assert copies == []
