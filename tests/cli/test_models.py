"""Models by command: added, listed, shown, checked, promoted and rolled back."""

import pickle
from pathlib import Path

import pytest

from tests.cli.cases import limner

np = pytest.importorskip("numpy")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two model files of arrays."""
    made = [tmp_path / "first.npz", tmp_path / "second.npz"]
    for at, file in enumerate(made):
        np.savez(file, centres=np.full((4, 2), at, dtype=np.float32))
    return made


@pytest.fixture
def added(project: Path, files: list[Path]) -> Path:
    """A project with two versions of a model."""
    for file in files:
        assert limner("models", "add", "taste", file, "--licence", "CC0-1.0", project=project).status == 0
    return project


def test_models_are_listed_with_digest_licence_and_aliases(added: Path) -> None:
    """Both forms of the listing hold number, sha256, licence and aliases; the first version is the champion."""
    # when
    alone = limner("models", "--json", project=added).document()
    named = limner("models", "list", "taste", "--json", project=added).document()

    # then
    assert alone == named
    first, second = alone["models"]
    assert (first["number"], first["aliases"], first["licence"]) == (1, ["champion"], "CC0-1.0")
    assert (second["number"], second["aliases"]) == (2, [])
    assert len(first["sha256"]) == 64


def test_pickle_is_refused(project: Path, tmp_path: Path) -> None:
    """A file that runs code when it is loaded is refused with status 2, and nothing is added."""
    # given
    file = tmp_path / "model.pkl"
    file.write_bytes(pickle.dumps({"weights": [1.0]}))

    # when
    typed = limner("models", "add", "taste", file, "--json", project=project)

    # then
    assert (typed.status, typed.out) == (2, "")
    assert "pickle" in typed.err
    assert limner("models", "--json", project=project).document() == {"models": []}


def test_manifest_keeps_its_types(project: Path, files: list[Path]) -> None:
    """Facts of the manifest are numbers where they look like numbers."""
    # when
    limner(
        "models", "add", "taste", files[0], "--manifest", "threshold=0.5", "--manifest", "unit=pixel", project=project
    )

    # then
    version = limner("models", "show", "taste", "--json", project=project).document()["version"]
    assert version["manifest"] == {"threshold": 0.5, "unit": "pixel"}


def test_alias_moves_and_moves_back(added: Path) -> None:
    """Promoting moves the champion, rolling back moves it back, and both are shown with who did it."""
    # when
    promoted = limner("models", "promote", "taste@2", "champion", "--json", project=added)
    back = limner("models", "rollback", "taste", "--json", project=added)

    # then
    assert (promoted.status, promoted.document()) == (0, {"model": "taste@2", "alias": "champion"})
    assert (back.status, back.document()) == (0, {"model": "taste@1", "alias": "champion"})
    moves = limner("models", "show", "taste@2", "--json", project=added).document()["moves"]
    assert [(move["old"], move["new"]) for move in moves] == [(1, 2), (2, 1)]
    assert all(move["by"] for move in moves)


def test_damaged_file_is_found_by_check(added: Path) -> None:
    """A model whose file was damaged fails its check: status 1 and what to do."""
    # given
    sound = limner("models", "check", "taste@1", "--json", project=added)
    sha256 = limner("models", "--json", project=added).document()["models"][0]["sha256"]
    (file,) = (path for path in (added / ".limner" / "artifacts").rglob(f"*{sha256}*") if path.is_file())
    file.chmod(0o644)
    file.write_bytes(b"damaged")

    # when
    damaged = limner("models", "check", "taste@1", "--json", project=added)

    # then
    assert (sound.status, sound.document()["problems"]) == (0, [])
    assert damaged.status == 1
    assert damaged.document()["problems"]


def test_unknown_trainer_is_named_with_the_known_ones(project: Path) -> None:
    """Training by a name that no system brings is a user's mistake."""
    # when
    typed = limner("train", "nobody.nothing", project=project)

    # then
    assert (typed.status, typed.out) == (2, "")
    assert "catalogue.codes" in typed.err
