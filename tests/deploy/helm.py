"""The real Helm: fetched once for every clone of this user, and asked in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml
from msgspec import Struct

from tests.conftest import REPOSITORY
from tests.fetched import fetched

CHART = REPOSITORY / "deploy" / "helm" / "limner"
_HERE = Path(__file__).parent
_LOCK = _HERE / "helm.lock"
#: 71 MB to fetch, 244 MB on the disk.
_VERSION = "0.2.2"
#: Values of a chart, or a manifest, as YAML has them.
Tree = dict[str, object]


class Rendered(Struct, frozen=True):
    """What Helm made of one set of values."""

    manifests: list[Tree]
    #: What ``helm install`` would print.
    notes: str
    #: What ``helm lint`` finds wrong.
    problems: list[str]

    def of(self, kind: str, name: str | None = None) -> list[Tree]:
        """The manifests of a kind; only those whose name ends so, if one is given."""
        return [
            one
            for one in self.manifests
            if one["kind"] == kind and (name is None or str(at(one, "metadata.name")).endswith(name))
        ]

    def the(self, kind: str, name: str | None = None) -> Tree:
        """The only manifest of a kind, by the end of its name."""
        (found,) = self.of(kind, name)
        return found


class Answers(Struct, frozen=True):
    """What became of several sets of values."""

    version: str
    rendered: dict[str, Rendered]
    #: Why the others were refused.
    refused: dict[str, str]


def at(tree: object, path: str) -> object:
    """What stands at *path* of a manifest, ``spec.template.spec.containers.0``; None where nothing does."""
    for step in path.split("."):
        tree = tree[int(step)] if isinstance(tree, list) else _dict(tree).get(step)
    return tree


def _dict(tree: object) -> Tree:
    return tree if isinstance(tree, dict) else {}


def ask(sets: Mapping[str, Tree]) -> Answers:
    """
    Lint and render the chart with each of *sets*.

    Raises:
        Missing: there is no Helm, and it cannot be fetched.
    """
    environment = {**os.environ, "PYTHONPATH": str(fetched(f"helm-{_VERSION}", _LOCK))}
    done = subprocess.run(
        [sys.executable, str(_HERE / "helm_calls.py")],
        input=json.dumps({"chart": str(CHART), "sets": sets}),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    rendered, refused = {}, {}
    for name, found in told["sets"].items():
        if "refused" in found:
            refused[name] = found["refused"]
        else:
            rendered[name] = _rendered(found)
    return Answers(told["helm"], rendered, refused)


def _rendered(found: Mapping[str, dict[str, object]]) -> Rendered:
    files = {Path(name).name: str(text) for name, text in found["files"].items()}
    notes = files.pop("NOTES.txt")
    manifests = [one for text in files.values() for one in yaml.safe_load_all(text) if one]
    said = found["lint"]
    problems = [str(one) for one in _list(said["errors"])]
    # Severity 1 is a remark, such as that a chart has no icon.
    problems += [str(one) for one in _list(said["messages"]) if one["severity"] > 1]
    return Rendered(manifests, notes, problems)


def _list(found: object) -> list[dict[str, int]]:
    assert isinstance(found, list)
    return found
