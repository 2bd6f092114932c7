"""Packages that misbehave cost the one molecule that they misbehave with, as a worker runs them."""

from datetime import timedelta
from pathlib import Path

import pytest

from limner.domain.values import decode
from tests.systems.ersilia.made_packages import CULPRIT, made, misbehaving
from tests.systems.ersilia.predicted import values_of, working

SMILES = ["CC", "CCO", CULPRIT, "CCCO", "CCCCO"]
LENGTHS = [2, 3, 3, 4, 5]


def spared(failure: tuple[str, str | None]) -> list[object]:
    """The lengths of all SMILES but for the culprit's, which failed."""
    return [failure if smiles == CULPRIT else [length] for smiles, length in zip(SMILES, LENGTHS, strict=True)]


@pytest.mark.parametrize("in_process", [False, True])
def test_a_package_that_behaves_answers_in_order(tmp_path: Path, in_process: bool) -> None:
    """One value a molecule, in one call, by the command as by the function."""
    with working(misbehaving(tmp_path, "plain", in_process=in_process), folder=tmp_path) as worker:
        assert values_of(worker.predict(SMILES)) == [[length] for length in LENGTHS]
        assert worker.calls == [5]


@pytest.mark.parametrize("in_process", [False, True])
@pytest.mark.parametrize(
    ("name", "failure"),
    [
        ("drop", ("OUTPUT_INVALID", "misaligned")),
        ("nan", ("OUTPUT_INVALID", "no_output")),
        ("text", ("OUTPUT_INVALID", "bad_type")),
    ],
)
def test_one_bad_answer_spares_the_rest(tmp_path: Path, name: str, failure: tuple[str, str], in_process: bool) -> None:
    """A row left out is found by halving, never guessed; a cell that is no number costs its own row, in one call."""
    with working(misbehaving(tmp_path, name, in_process=in_process), folder=tmp_path) as worker:
        assert values_of(worker.predict(SMILES)) == spared(failure)
        assert (len(worker.calls) > 1) == (name == "drop")


def test_a_command_that_crashes_is_halved(tmp_path: Path) -> None:
    """The molecule that ends the model's process fails with what the command said; the others have their values."""
    with working(misbehaving(tmp_path, "crash"), folder=tmp_path) as worker:
        outcomes = worker.predict(SMILES)
        assert values_of(outcomes) == spared(("MODEL_ERROR", "command_failed"))
        assert str(outcomes[2].failure and outcomes[2].failure.message).startswith("command_failed: run.sh ended with")


def test_a_function_that_crashes_takes_only_its_own_process(tmp_path: Path) -> None:
    """In process it is the child that dies, which the worker replaces."""
    with working(misbehaving(tmp_path, "crash", in_process=True), folder=tmp_path) as worker:
        assert values_of(worker.predict(SMILES)) == spared(("WORKER_LOST", None))


def test_exit_status_and_what_was_said_stand_in_the_failure(tmp_path: Path) -> None:
    """A command that ends badly fails each molecule with its status and the end of its words."""
    package = made(tmp_path, body="import sys\nsys.exit('no licence found')")
    with working(package, folder=tmp_path) as worker:
        outcomes = worker.predict(["CC", "CCO"])
        assert values_of(outcomes) == [("MODEL_ERROR", "command_failed")] * 2
        assert "exit status 1" in str(outcomes[0].failure)
        assert "no licence found" in str(outcomes[0].failure)


@pytest.mark.slow
def test_e10_a_molecule_that_takes_too_long_fails_alone(tmp_path: Path) -> None:
    """Past the limit the call is ended with all that it started, and halved until the culprit is alone."""
    with working(misbehaving(tmp_path, "sleep"), folder=tmp_path, timeout=timedelta(seconds=5)) as worker:
        assert values_of(worker.predict(["CC", CULPRIT])) == [[2], ("STAGE_TIMEOUT", None)]


@pytest.mark.parametrize("in_process", [False, True])
def test_a_molecule_that_eats_all_memory_fails_alone(tmp_path: Path, in_process: bool) -> None:
    """What finds no memory is told apart from the others, in the command as in the function."""
    package = misbehaving(tmp_path, "eat", in_process=in_process)
    with working(package, folder=tmp_path, memory_mb=2_000) as worker:
        failure = ("OUT_OF_MEMORY", None) if in_process else ("MODEL_ERROR", "command_failed")
        assert values_of(worker.predict(SMILES)) == spared(failure)


def test_swapped_columns_fail_every_molecule_in_one_call(tmp_path: Path) -> None:
    """Of columns in another order nothing is stored, and nothing is halved either."""
    with working(misbehaving(tmp_path, "swap"), folder=tmp_path) as worker:
        outcomes = worker.predict(SMILES)
        assert values_of(outcomes) == [("OUTPUT_INVALID", "bad_columns")] * 5
        assert worker.calls == [5]
        assert "column 1 is 'other', and 'value' is declared there" in str(outcomes[0].failure)


@pytest.mark.parametrize("in_process", [False, True])
def test_what_a_package_prints_is_no_answer(tmp_path: Path, in_process: bool) -> None:
    """Standard output is kept out of the way."""
    with working(misbehaving(tmp_path, "print", in_process=in_process), folder=tmp_path) as worker:
        assert values_of(worker.predict(SMILES)) == [[length] for length in LENGTHS]


def test_some_values_missing_are_stored_as_none(tmp_path: Path) -> None:
    """A row with at least one value is done, its holes being None."""
    package = made(
        tmp_path,
        body="return [[len(one), None, '' if one == 'CC' else 'long'] for one in smiles]",
        columns=["length:integer", "weight:float", "word:string"],
        golden=None,
    )
    with working(package, folder=tmp_path) as worker:
        assert values_of(worker.predict(["CC", "CCO"])) == [[2, None, None], [3, None, "long"]]


def test_e29_a_third_of_the_molecules_fails_with_one_reason(tmp_path: Path) -> None:
    """The package that a canary is to stop fails on about 30 % of any molecules, each by itself."""
    smiles = [f"{'C' * length}O" for length in range(1, 201)]
    with working(misbehaving(tmp_path, "third"), folder=tmp_path) as worker:
        found = values_of(worker.predict(smiles))
    failed = [one for one in found if one == ("OUTPUT_INVALID", "no_output")]
    assert 0.2 < len(failed) / len(found) < 0.4
    assert len(worker.calls) == 1


def test_each_call_has_a_folder_of_its_own(tmp_path: Path) -> None:
    """What a package leaves in its current folder is gone with the call, and the folder was empty before."""
    package = made(
        tmp_path,
        body="""
        from pathlib import Path
        assert not list(Path().iterdir()), "the folder is not empty"
        assert " " not in str(Path().absolute())
        Path("left.txt").write_text(str(Path().absolute()))
        return [[str(Path().absolute())] for one in smiles]
        """,
        columns=["place:string"],
        golden=None,
    )
    with working(package, folder=tmp_path) as worker:
        places = [str(decode(worker.predict(["CC"])[0].value)["values"][0]) for _ in range(2)]
    assert len(set(places)) == 2
    assert not any(Path(place).exists() for place in places)
