"""Init, try, doctor and demo: what somebody types first."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.cases import ended, limner, process


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """A new project as ``limner init`` makes it."""
    folder = tmp_path / "new"
    assert limner("init", folder).status == 0
    return folder


def test_new_project_passes_its_own_tests(new: Path) -> None:
    """The project that init makes holds a test, which passes with nothing but pytest."""
    # when
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=new,
        capture_output=True,
        text=True,
        check=False,
    )

    # then
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_new_project_runs_at_once(new: Path) -> None:
    """The command of its README runs the new project over the pictures that it brings."""
    # when
    typed = ended(process("run", "pictures", "pictures", "--json", folder=new))

    # then
    assert (typed.status, typed.document()["done"]) == (0, 3)


def test_inferrer_of_a_new_project_imports_nothing_of_limner(new: Path) -> None:
    """The example shows that an inferrer is plain Python."""
    assert "limner" not in (new / "inferrers.py").read_text(encoding="utf-8").replace("Limner", "")


def test_folder_that_is_not_empty_is_refused(new: Path) -> None:
    """Init never writes over anything."""
    # given
    (new / "pipeline.py").write_text("mine", encoding="utf-8")

    # when
    typed = limner("init", new)

    # then
    assert typed.status == 2
    assert (new / "pipeline.py").read_text(encoding="utf-8") == "mine"


def test_project_of_a_system_is_its_template(tmp_path: Path) -> None:
    """With --from the project begins with the system's own files, and one that keeps results out of git."""
    # when
    typed = limner("init", "--from", "catalogue", tmp_path / "cat", "--json")

    # then
    assert typed.status == 0
    assert {"pipeline.py", "limner.toml", ".gitignore"} <= set(typed.document()["files"])
    assert limner("plan", "catalogue", "--json", project=tmp_path / "cat").status in (0, 2)


def test_unknown_system_is_named_with_the_known_ones(tmp_path: Path) -> None:
    """A system that is not installed is a user's mistake, and nothing is written."""
    # when
    typed = limner("init", "--from", "nobody", tmp_path / "new")

    # then
    assert typed.status == 2
    assert "catalogue" in typed.err
    assert not (tmp_path / "new").exists()


def test_try_shows_what_an_inferrer_says(new: Path) -> None:
    """One inferrer answers for each file, with the seconds that it took, and no store is made."""
    # when
    typed = limner("try", "inferrers:Facts", new / "pictures" / "red.png", "--json", project=new)

    # then
    (one,) = typed.document()["files"]
    assert (one["value"]["kind"], one["code"]) == ("png", None)
    assert one["seconds"] > 0
    assert not (new / ".limner").exists()


def test_try_takes_a_file_of_python(new: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An inferrer may be named by its file, from wherever the command is typed."""
    # given
    monkeypatch.chdir(new.parent)

    # when
    typed = limner("try", "new/inferrers.py:Facts", "new/limner.toml")

    # then
    assert typed.status == 0
    assert "kind: other" in typed.out


def test_try_tells_the_file_that_fails_and_goes_on(new: Path) -> None:
    """A file that fails has its code and message, the others their values; status 1."""
    # given
    (new / "empty").touch()

    # when
    typed = limner("try", "inferrers:Facts", new / "empty", new / "limner.toml", "--json", project=new)

    # then
    bad, good = typed.document()["files"]
    assert typed.status == 1
    assert (bad["code"], bad["value"]) == ("MODEL_ERROR", None)
    assert "the file is empty" in bad["message"]
    assert good["value"]["kind"] == "other"


def test_try_gives_parameters_and_several_inputs(tmp_path: Path) -> None:
    """Several inputs come from a JSON object, parameters from the command, each with its type."""
    # given
    code = "def join(left: str, right: str, times: int = 1) -> dict:\n    return {'joined': (left + right) * times}\n"
    (tmp_path / "joining.py").write_text(code, encoding="utf-8")
    (tmp_path / "both.json").write_text('{"left": "a", "right": "b"}', encoding="utf-8")

    # when
    typed = limner("try", f"{tmp_path}/joining.py:join", tmp_path / "both.json", "--param", "times=2", "--json")

    # then
    assert typed.document()["files"][0]["value"] == {"joined": "abab"}


def test_try_says_how_to_give_several_inputs(tmp_path: Path) -> None:
    """An inferrer of two inputs cannot take a plain file; the sentence shows what it takes."""
    # given
    (tmp_path / "joining.py").write_text("def join(left: str, right: str) -> str:\n    return left\n", encoding="utf-8")

    # when
    typed = limner("try", f"{tmp_path}/joining.py:join", tmp_path / "joining.py")

    # then
    assert typed.status == 2
    assert '{"left": "…", "right": "…"}' in typed.err


def test_try_outlives_an_inferrer_that_dies(tmp_path: Path) -> None:
    """An inferrer that kills its process is told with its code."""
    # given
    code = "import os\n\n\ndef die(data: bytes) -> int:\n    os._exit(3)\n"
    (tmp_path / "dying.py").write_text(code, encoding="utf-8")

    # when
    typed = limner("try", f"{tmp_path}/dying.py:die", tmp_path / "dying.py", "--json")

    # then
    assert typed.status == 1
    assert typed.document()["files"][0]["code"] == "WORKER_LOST"


def test_try_ends_an_inferrer_that_hangs(tmp_path: Path) -> None:
    """An inferrer that outlasts its time is ended and told."""
    # given
    code = "import time\n\n\ndef hang(data: bytes) -> int:\n    time.sleep(60)\n"
    (tmp_path / "hanging.py").write_text(code, encoding="utf-8")

    # when
    typed = limner("try", f"{tmp_path}/hanging.py:hang", tmp_path / "hanging.py", "--timeout", "3", "--json")

    # then
    assert typed.document()["files"][0]["code"] == "STAGE_TIMEOUT"


def test_inferrer_that_cannot_be_imported_is_told(tmp_path: Path) -> None:
    """A module that raises is named with what it raised: status 2, no traceback."""
    # given
    (tmp_path / "broken.py").write_text("raise RuntimeError('no luck')\n", encoding="utf-8")

    # when
    typed = limner("try", f"{tmp_path}/broken.py:Broken", tmp_path / "broken.py")

    # then
    assert typed.status == 2
    assert "no luck" in typed.err


def test_doctor_finds_nothing_wrong_in_a_new_project(new: Path) -> None:
    """A project that works is sound in every part."""
    # when
    typed = limner("doctor", "--json", project=new)

    # then
    found = typed.document()
    assert (typed.status, found["sound"]) == (0, True)
    parts = {finding["part"] for finding in found["findings"]}
    assert {"settings", "store", "bus", "artifacts", "cache", "pipeline pictures"} <= parts


def test_doctor_names_the_setting_that_is_wrong(new: Path) -> None:
    """A setting that cannot be read is found, with what to do, and the command still answers."""
    # given
    (new / "limner.toml").write_text('keeep = "done"\n', encoding="utf-8")

    # when
    typed = limner("doctor", "--json", project=new)

    # then
    (finding,) = typed.document()["findings"]
    assert (typed.status, finding["part"], finding["state"]) == (1, "settings", "wrong")
    assert "keeep" in finding["said"]
    assert "limner.toml" in finding["remedy"]


def test_doctor_finds_every_part_that_is_wrong(new: Path) -> None:
    """A broken inferrer and a bus that nobody speaks are both found; one hides no other."""
    # given
    (new / "inferrers.py").write_text("import nowhere_to_be_found\n", encoding="utf-8")

    # when
    typed = limner("--bus", "pigeon:", "--project", new, "doctor", "--json")

    # then
    wrong = {f["part"]: f["said"] for f in typed.document()["findings"] if f["state"] == "wrong"}
    assert typed.status == 1
    assert "pigeon" in wrong["bus"]
    assert "nowhere_to_be_found" in wrong["pipeline pictures, stage facts/default"]


def test_doctor_names_a_model_that_is_not_there(new: Path) -> None:
    """A stage whose model was never added is found, with the command that adds it."""
    # given
    text = (new / "pipeline.py").read_text(encoding="utf-8")
    (new / "pipeline.py").write_text(text.replace("batch=16,", "batch=16, model='taste@champion',"), encoding="utf-8")

    # when
    typed = limner("doctor", project=new)

    # then
    assert typed.status == 1
    assert "There is no model taste@champion" in typed.out
    assert "limner models add taste FILE" in typed.out


def test_doctor_notes_a_variable_that_sets_nothing(new: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt variable of the environment is noted, and nothing is wrong for it."""
    # given
    monkeypatch.setenv("LIMNER_KEEEP", "always")

    # when
    typed = limner("doctor", project=new)

    # then
    assert typed.status == 0
    assert "LIMNER_KEEEP sets nothing" in typed.out


def test_demo_needs_a_folder_of_its_own(tmp_path: Path) -> None:
    """A demo never works in a folder that holds something."""
    # given
    (tmp_path / "mine").touch()

    # when
    typed = limner("demo", "catalogue", "--folder", tmp_path)

    # then
    assert typed.status == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
