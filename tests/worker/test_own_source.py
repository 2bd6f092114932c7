"""What runs is what stands in a project's files, and never what was compiled of an earlier text."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from limner.app.declared import load_file
from limner.domain.values import decode
from limner.worker.calls import Done
from limner.worker.child import ChildRunner
from tests.worker.cases import column, load

INFERRERS = """
import parts.helper

class Says:
    version = "1"

    def infer(self, number: list[int]) -> list[int]:
        return [parts.helper.ANSWER + {more} for _ in number]
"""


def written(folder: Path, name: str, text: str) -> None:
    """Write a file that was always written in the same second."""
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    os.utime(file, (1_700_000_000, 1_700_000_000))


def compiled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile all modules of a folder, and have the processes of the test use what is compiled."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(folder)], check=True)
    assert list(folder.rglob("*.pyc"))


def test_a_text_of_the_same_second_and_size_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child runs the newer text of the inferrer, and of a module in a package that it imports."""
    # given
    written(tmp_path, "tempers.py", INFERRERS.format(more=10))
    written(tmp_path, "parts/helper.py", "ANSWER = 1\n")
    compiled(tmp_path, monkeypatch)

    # when
    written(tmp_path, "tempers.py", INFERRERS.format(more=20))
    written(tmp_path, "parts/helper.py", "ANSWER = 2\n")
    runner = ChildRunner(load("Says", project=tmp_path))
    try:
        reply = runner.run(column([0]), prior=[b""])
    finally:
        runner.close()

    # then
    assert isinstance(reply, Done), reply
    assert reply.outcomes[0].failure is None
    assert decode(reply.outcomes[0].value) == {"value": 22}


def test_a_declaration_of_the_same_second_and_size_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with pipelines, and what it imports, are read as they stand."""
    written(tmp_path, "names_of_this_test.py", "NAME = 'one'\n")
    written(tmp_path, "pipeline.py", "from names_of_this_test import NAME\nFOUND = NAME + ' a'\n")
    compiled(tmp_path, monkeypatch)

    written(tmp_path, "names_of_this_test.py", "NAME = 'two'\n")
    written(tmp_path, "pipeline.py", "from names_of_this_test import NAME\nFOUND = NAME + ' b'\n")

    assert load_file(tmp_path / "pipeline.py").FOUND == "two b"


def test_a_project_above_python_s_own_library_does_not_own_it() -> None:
    """A project in a home folder, where Python itself may be installed, compiles none of it anew."""
    code = (
        "import os, sys; from pathlib import Path; from limner.inferrers.own_source import read_from_source; "
        "read_from_source(Path(os.__file__).parent.parent.parent); import this; print(type(this.__loader__).__name__)"
    )

    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    assert said.splitlines()[-1] == "SourceFileLoader"


def test_installed_packages_inside_a_project_are_not_compiled_again(tmp_path: Path) -> None:
    """An environment in the project's own folder keeps what was compiled of it."""
    packages = tmp_path / ".venv" / "lib" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "installed.py").write_text("")
    code = (
        "import sys; from limner.inferrers.own_source import read_from_source; "
        f"sys.path.insert(0, {str(packages)!r}); read_from_source({str(tmp_path)!r}); import installed"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    subprocess.run([sys.executable, "-c", code], check=True, env=environment)

    assert [file.name.partition(".")[0] for file in packages.rglob("*.pyc")] == ["installed"]
