"""A package behind a running model server: asked over HTTP, and held to what a file is held to."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from limner.errors import UsageError
from limner.systems.ersilia.made_molecules import made_molecules
from limner.systems.ersilia.packages.golden import check_package
from limner.systems.ersilia.packages.reading import read_package
from limner.systems.ersilia.packages.wide import read_rows
from tests.systems.ersilia.calculating import Bench
from tests.systems.ersilia.made_packages import CULPRIT, GOLDEN, made
from tests.systems.ersilia.model_server import ModelServer
from tests.systems.ersilia.predicted import values_of, working

SMILES = ["CC", "CCO", CULPRIT, "CCCO", "CCCCO"]
LENGTHS = [2, 3, 3, 4, 5]
AWAY = ("MODEL_UNAVAILABLE", None)


def spared(failure: tuple[str, str | None]) -> list[object]:
    """The lengths of all SMILES but for the culprit's, which failed."""
    return [failure if smiles == CULPRIT else [length] for smiles, length in zip(SMILES, LENGTHS, strict=True)]


def allowing(bench: Bench, server: ModelServer) -> None:
    """Let the project call a server on this machine."""
    (bench.folder / "limner.toml").write_text(f"allow_hosts = {json.dumps([server.host])}\n")


@pytest.mark.slow
def test_e31_a_served_package_is_precalculated_as_any_other(bench: Bench, tmp_path: Path) -> None:
    """Checked, tried and published by several workers; what was predicted is not asked for again."""
    with ModelServer(tmp_path / "server") as server:
        made(bench.folder / "packages", served=server.url)
        allowing(bench, server)
        molecules = made_molecules(250)
        library = bench.library(molecules)

        outcome = bench.run(library)
        asked = len(server.requests())
        again = bench.run(library)

        assert (outcome.state, outcome.counts.stored, outcome.inferred) == ("done", 250, 250)
        assert [(row["input"], row["value"]) for row in bench.rows(outcome.job)] == [
            (one, str(len(one))) for one in molecules
        ]
        assert (again.inferred, len(server.requests())) == (0, asked)
        assert bench.limner("models", "check", "packages/eos0pln").stdout.startswith("eos0pln v1.0.0: sound")


@pytest.mark.slow
def test_e31_a_server_that_is_busy_is_asked_again(bench: Bench, tmp_path: Path) -> None:
    """503 twice, and then all molecules of the call are answered and stored."""
    # given: the first two requests are those of the check
    with ModelServer(tmp_path / "server", busy=(3, 4)) as server:
        made(bench.folder / "packages", served=server.url)
        allowing(bench, server)

        # when
        outcome = bench.run(bench.library(SMILES), workers=1)

        # then
        assert (outcome.state, outcome.counts.stored) == ("done", 5)
        assert server.requests() == [3, 3, 5, 5, 5]


@pytest.mark.slow
def test_e31_a_molecule_that_the_server_fails_with_is_tried_three_times(bench: Bench, tmp_path: Path) -> None:
    """500 is halved until the molecule is alone, which is asked for twice more; its neighbour is stored."""
    with ModelServer(tmp_path / "server", odd="fail") as server:
        made(bench.folder / "packages", served=server.url)
        allowing(bench, server)

        outcome = bench.run(bench.library(["CC", CULPRIT]), workers=1)

        assert (outcome.counts.stored, outcome.counts.failed) == (1, 1)
        # Twice the check, then both together, each alone, and the culprit twice more.
        assert server.requests() == [3, 3, 2, 1, 1, 1, 1]
    (row,) = bench.set_aside(outcome.job)
    assert (row["input"], row["code"]) == (CULPRIT, "MODEL_UNAVAILABLE")
    assert "answered 500" in row["message"]


@pytest.mark.slow
def test_e31_a_server_that_is_away_stops_the_run_before_any_work(bench: Bench, tmp_path: Path) -> None:
    """Nobody answers: the check says so, with the address, and nothing is predicted."""
    server = ModelServer(tmp_path / "server")
    made(bench.folder / "packages", served=server.url)
    allowing(bench, server)
    ended = bench.limner("precalc", "eos0pln", "--library", str(bench.library(["CCO"])))
    assert ended.returncode == 2
    assert f"{server.url}/run cannot be reached" in ended.stderr


def test_a_server_that_went_away_is_told_for_each_molecule_at_once(tmp_path: Path) -> None:
    """No halves are tried where nobody can be asked; back again, it answers as before."""
    with ModelServer(tmp_path / "server") as server:
        package = made(tmp_path, served=server.url)
        with working(package, folder=tmp_path, allow_hosts=(server.host,)) as worker:
            server.kill()
            away = values_of(worker.predict(SMILES))
            calls = list(worker.calls)
            server.start()
            back = values_of(worker.predict(SMILES))
    assert (away, calls) == ([AWAY] * 5, [5])
    assert back == [[length] for length in LENGTHS]


@pytest.mark.parametrize(
    ("odd", "failure"),
    [
        ("fail", AWAY),
        ("refuse", ("MODEL_ERROR", "command_failed")),
        ("drop", ("OUTPUT_INVALID", "misaligned")),
        ("text", ("OUTPUT_INVALID", "bad_type")),
        ("null", ("OUTPUT_INVALID", "no_output")),
        ("nan", ("OUTPUT_INVALID", "no_output")),
    ],
)
def test_one_molecule_that_the_server_cannot_do_spares_the_rest(
    tmp_path: Path, odd: str, failure: tuple[str, str | None]
) -> None:
    """Where the whole request goes wrong it is halved until the culprit is alone; a bad row costs itself."""
    with ModelServer(tmp_path / "server", odd=odd) as server:
        package = made(tmp_path, served=server.url)
        with working(package, folder=tmp_path, allow_hosts=(server.host,)) as worker:
            assert values_of(worker.predict(SMILES)) == spared(failure)
            assert (len(worker.calls) > 1) == (odd in ("fail", "refuse", "drop"))


def test_a_molecule_that_ends_the_server_is_not_blamed_on_the_rest(tmp_path: Path) -> None:
    """The connection breaks off and nobody is there any more: all may be asked again once the server is back."""
    with ModelServer(tmp_path / "server", odd="die") as server:
        package = made(tmp_path, served=server.url)
        with working(package, folder=tmp_path, allow_hosts=(server.host,)) as worker:
            assert values_of(worker.predict(SMILES)) == [AWAY] * 5
            server.start()
            assert values_of(worker.predict(["CC"])) == [[2]]


@pytest.mark.slow
def test_a_molecule_that_hangs_the_server_spares_the_rest(tmp_path: Path) -> None:
    """What is not answered in time is halved, and the process that waited lives on."""
    with ModelServer(tmp_path / "server", odd="hang") as server:
        package = made(tmp_path, served=server.url)
        allowed = (server.host,)
        with working(package, folder=tmp_path, allow_hosts=allowed, timeout=timedelta(seconds=4)) as worker:
            assert values_of(worker.predict(["CC", CULPRIT])) == [[2], AWAY]


@pytest.mark.parametrize(
    ("odd", "failure"),
    [
        ("missing", ("MODEL_ERROR", "command_failed")),
        ("rename", ("OUTPUT_INVALID", "bad_columns")),
    ],
)
def test_what_fewer_molecules_would_not_mend_is_asked_once(
    tmp_path: Path, odd: str, failure: tuple[str, str | None]
) -> None:
    """An address without a model, or a model with other columns: every molecule fails in one request."""
    with ModelServer(tmp_path / "server", odd=odd) as server:
        package = made(tmp_path, served=server.url)
        with working(package, folder=tmp_path, allow_hosts=(server.host,)) as worker:
            assert values_of(worker.predict(["CC", "CCO"])) == [failure] * 2
        assert server.requests() == [2]


@pytest.mark.parametrize(
    ("odd", "told"),
    [
        ("words", "not JSON"),
        ("object", "misaligned: the answer is no list of rows"),
        ("rename", "row 1 has no 'value', which is declared"),
        ("missing", "/run answered 404"),
    ],
)
def test_the_check_says_what_is_wrong_with_a_server(tmp_path: Path, odd: str, told: str) -> None:
    """Whatever it answers in place of rows is one sentence."""
    with ModelServer(tmp_path / "server", odd=odd) as server:
        package = read_package(made(tmp_path, served=server.url))
        (tmp_path / "limner.toml").write_text(f"allow_hosts = {json.dumps([server.host])}\n")
        verdict = check_package(package, project=tmp_path)
    assert told in verdict.problems[0]


def test_a_server_that_is_not_public_is_called_only_where_that_is_allowed(tmp_path: Path) -> None:
    """A package cannot have this machine call its neighbours: the setting is named, and nobody is called."""
    with ModelServer(tmp_path / "server") as server:
        verdict = check_package(read_package(made(tmp_path, served=server.url)), project=tmp_path)
        assert server.requests() == []
    assert "allow_hosts" in verdict.problems[0]


def test_a_served_package_is_not_installed(bench: Bench) -> None:
    """It runs elsewhere, so there is nothing to build; and what is no address is no server."""
    home = made(bench.folder / "packages", served="http://models.example:8080")
    ended = bench.limner("models", "install", "eos0pln")
    assert ended.returncode == 2
    assert "runs at http://models.example:8080, so it needs no environment here" in ended.stderr

    (home / "metadata.yml").write_text("Identifier: eos0pln\nServed: models.example:8080\n")
    with pytest.raises(UsageError, match="Served: String should match pattern"):
        read_package(home)


def test_wide_rows_of_a_server_are_kept_as_those_of_a_file(tmp_path: Path) -> None:
    """More than 64 columns lie in one Parquet file a call, in the order of the package's columns."""
    names = tuple(f"c{n:03}" for n in range(70))
    with ModelServer(tmp_path / "server", columns=names) as server:
        package = made(tmp_path, served=server.url, columns=[f"{name}:integer" for name in names], golden=None)
        with working(package, folder=tmp_path, allow_hosts=(server.host,)) as worker:
            outcomes = worker.predict(["CC", "CCO"])
            (file,) = worker.files.values()
    assert len(outcomes) == 2
    (tmp_path / "rows.parquet").write_bytes(file)
    rows = [list(row) for row in read_rows(tmp_path / "rows.parquet", [0, 1])]
    assert rows == [[length + n for n in range(70)] for length in (2, 3)]


def test_the_golden_example_of_a_served_package_is_asked_twice(tmp_path: Path) -> None:
    """It is sound where the server answers as the package says; where it runs stands in its environment."""
    with ModelServer(tmp_path / "server") as server:
        (tmp_path / "limner.toml").write_text(f"allow_hosts = {json.dumps([server.host])}\n")
        verdict = check_package(read_package(made(tmp_path, served=server.url)), project=tmp_path)
        assert server.requests() == [len(GOLDEN[0])] * 2
    assert (verdict.problems, verdict.environment) == ((), {"served": server.url})
