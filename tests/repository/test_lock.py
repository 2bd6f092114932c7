"""The lock: every declared dependency, pinned and hashed, from no named host."""

import re
import tomllib
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement

from tests.conftest import REPOSITORY

#: What ``make setup`` installs; and what a node of Ray is given, since Ray is too large for every clone.
FILES = ("requirements.lock", "deploy/ray/requirements.txt")
LOCKS = {name: (REPOSITORY / name).read_text(encoding="utf-8") for name in FILES}
PIN = re.compile(r"^([a-z0-9][a-z0-9-]*)==([^ ;\\]+)(.*(?:\n    --hash=sha256:[0-9a-f]{64}.*)*)", re.MULTILINE)


def declared() -> Iterator[Requirement]:
    """What pyproject.toml asks for: at run time, by each extra, for development and to build."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    lists = [
        project["project"]["dependencies"],
        *project["project"].get("optional-dependencies", {}).values(),
        *project.get("dependency-groups", {}).values(),
        project["build-system"]["requires"],
    ]
    for text in (text for entries in lists for text in entries):
        requirement = Requirement(text)
        if requirement.name != "limner":
            yield requirement


def test_lock_has_what_is_declared() -> None:
    """Every declared dependency is pinned at a version that its bounds allow; if not, run ``make lock``."""
    # given
    pins: dict[str, list[str]] = {}
    for name, version, _ in (pin for lock in LOCKS.values() for pin in PIN.findall(lock)):
        pins.setdefault(name, []).append(version)

    # when
    missing = [
        str(requirement)
        for requirement in declared()
        if not any(
            requirement.specifier.contains(version, prereleases=True)
            for version in pins.get(requirement.name.lower().replace("_", "-"), [])
        )
    ]

    # then
    assert missing == []


def test_both_locks_agree() -> None:
    """A node of Ray has the versions that everything else was tested with."""
    # given
    pins, on_ray = ({name: version for name, version, _ in PIN.findall(lock)} for lock in LOCKS.values())

    # then
    assert "ray" not in pins
    assert on_ray == {"ray": on_ray["ray"]} | {name: pins[name] for name in on_ray.keys() - {"ray"}}


@pytest.mark.parametrize("file", FILES)
def test_every_pin_is_hashed(file: str) -> None:
    """No pin may be satisfied by a file that was not there when it was made."""
    # given
    lock = LOCKS[file]
    pins = PIN.findall(lock)

    # then
    assert pins
    assert [name for name, _, rest in pins if "--hash=sha256:" not in rest] == []
    lines = re.findall(r"^[^ #\n]", lock, flags=re.MULTILINE)
    assert len(pins) == len(lines), "a line is neither pin, hash nor comment"


@pytest.mark.parametrize("file", FILES)
def test_lock_names_no_host(file: str) -> None:
    """The lock installs from whichever index the machine is set up for."""
    assert "://" not in LOCKS[file]
