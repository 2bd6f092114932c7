"""Mistakes and breakages end with a sentence and a status, never with a traceback."""

import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from limner.cli.root import BROKEN, INTERRUPTED, MISUSED, Root
from limner.errors import SearchUnavailable, StoreUnavailable
from tests.cli.cases import ended, limner, process


def program(error: BaseException) -> typer.Typer:
    """A program whose only verb raises *error*."""
    made = typer.Typer(cls=Root, rich_markup_mode=None, pretty_exceptions_enable=False)

    @made.callback()
    def root(project: Path) -> None:
        """Take the folder of the project."""

    @made.command()
    def verb() -> None:
        """Raise."""
        raise error

    return made


def test_breakage_is_a_sentence_and_a_file(tmp_path: Path) -> None:
    """What nobody expected ends with status 70, one sentence, and the place of the traceback below .limner."""
    # when
    result = CliRunner().invoke(program(ZeroDivisionError("by zero")), [str(tmp_path), "verb"])

    # then
    (file,) = (tmp_path / ".limner" / "errors").iterdir()
    assert (result.exit_code, result.stdout) == (BROKEN, "")
    assert "Traceback" not in result.stderr
    assert str(file) in result.stderr
    assert "ZeroDivisionError: by zero" in file.read_text(encoding="utf-8")


def test_breakage_makes_no_folder_for_a_project_that_is_none(tmp_path: Path) -> None:
    """Where the project's folder does not exist, the traceback lies with the temporary files."""
    # when
    result = CliRunner().invoke(program(ZeroDivisionError()), [str(tmp_path / "none"), "verb"])

    # then
    file = Path(result.stderr.splitlines()[-1].removeprefix("The traceback lies in "))
    assert "ZeroDivisionError" in file.read_text(encoding="utf-8")
    assert not (tmp_path / "none").exists()
    file.unlink()


@pytest.mark.parametrize("error", [StoreUnavailable("The store is away."), SearchUnavailable("The index is away.")])
def test_part_that_is_away_is_told_in_a_sentence(tmp_path: Path, error: Exception) -> None:
    """A part that cannot be reached is no mistake of the user: status 70, its own sentence and no file."""
    # when
    result = CliRunner().invoke(program(error), [str(tmp_path), "verb"])

    # then
    assert (result.exit_code, result.stderr) == (BROKEN, f"Error: {error}\n")
    assert not (tmp_path / ".limner").exists()


def test_ctrl_c_says_the_command_again(tmp_path: Path) -> None:
    """Ctrl-C at any other time ends with status 130 and the command as it was typed."""
    # when
    result = CliRunner().invoke(program(KeyboardInterrupt()), [str(tmp_path), "verb"])

    # then
    assert result.exit_code == INTERRUPTED
    assert f"limner {tmp_path} verb" in result.stderr


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["paint"], "paint"),
        (["run"], "PIPELINE"),
        (["run", "words", "--sideways"], "--sideways"),
        (["run", "nobody"], "nobody"),
        (["run", "words", "nowhere.csv"], "nowhere.csv"),
        (["why", "nobody", "x"], "words"),
        (["export", "words", "--to", "file.docx"], ".parquet"),
        (["--store", "carrier-pigeon://", "status"], "store"),
        (["--bus", "carrier-pigeon:", "run", "words"], "bus"),
        (["try", "nobody", "nowhere"], "nowhere"),
        (["demo", "nobody"], "catalogue"),
        (["models", "show", "nobody"], "nobody"),
    ],
)
def test_mistake_is_told_without_a_traceback(worked: Path, words: list[str], named: str) -> None:
    """A user's mistake has status 2, names what is wrong on standard error, and leaves standard output empty."""
    # when
    typed = limner(*words, project=worked)

    # then
    assert (typed.status, typed.out) == (MISUSED, "")
    assert named in typed.err
    assert "Traceback" not in typed.err


def test_wrong_setting_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting of the environment that no part understands is named."""
    # given
    monkeypatch.setenv("LIMNER_KEEP", "sometimes")

    # when
    typed = limner("status", "--json", project=project)

    # then
    assert (typed.status, typed.out) == (MISUSED, "")
    assert "keep" in typed.err


def test_pipeline_file_that_breaks_is_told(project: Path) -> None:
    """A pipeline file that raises is the user's to mend: its name and what it raised."""
    # given
    (project / "pipeline.py").write_text("1 / 0\n", encoding="utf-8")

    # when
    typed = limner("run", "words", project=project)

    # then
    assert typed.status == MISUSED
    assert "pipeline.py" in typed.err
    assert "ZeroDivisionError" in typed.err


def test_installed_program_ends_with_its_status(project: Path) -> None:
    """The real process has the status and the streams that the tests in this process see."""
    # when
    typed = ended(process("run", "nobody", "--json", folder=project))

    # then
    assert (typed.status, typed.out) == (MISUSED, "")
    assert typed.err.startswith("Error: There is no pipeline nobody")


def test_help_loads_no_heavy_part() -> None:
    """Asking for help imports nothing that takes long, so that it comes at once."""
    # given
    heavy = {"sqlalchemy", "alembic", "numpy", "httpx", "rich", "msgspec", "structlog", "pyarrow", "PIL", "onnxruntime"}
    code = (
        "import sys\nfrom limner.cli.main import app\n"
        "try:\n    app(['--help'], prog_name='limner')\nexcept SystemExit:\n    pass\n"
        f"sys.stderr.write(' '.join(sorted({heavy!r} & set(sys.modules))))"
    )

    # when
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    # then
    assert "doctor" in done.stdout
    assert done.stderr == ""
