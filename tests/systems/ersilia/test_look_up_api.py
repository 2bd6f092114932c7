"""The better look-up: results one to one, one version in each answer, and files of many."""

import csv
import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from limner.domain.values import Value
from limner.systems.ersilia.columns import Column, ColumnType
from limner.systems.ersilia.nouns import Release
from limner.systems.ersilia.packages.packing import pack
from limner.systems.ersilia.packages.reading import HUB, read_package
from limner.testing.local_server import LocalServer
from tests.systems.ersilia.door_server import serving, write_project
from tests.systems.ersilia.shelved import failed, key_of, predicted, release_of, shelve, table_of, weight_of

WIDE = "eos5axz"
NEWER = release_of(release="v2.0.0", package="b" * 64)
BITS = tuple(Column(name=f"bit_{number:04}", type=ColumnType.INTEGER) for number in range(2048))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server over two versions of one model, the newer one half filled, and one wide model."""
    folder = write_project(tmp_path_factory.mktemp("project"))
    table = table_of(folder)
    shelve(table, [*(predicted(number) for number in range(100)), failed(100)])
    shelve(table, [predicted(number, -weight_of(number)) for number in range(10)], release=NEWER, complete=False)
    wide = [predicted(number, *((number * place) % 7 for place in range(2048))) for number in range(120)]
    shelve(table, wide, release=release_of(model=WIDE, columns=BITS))
    table.close()
    with serving(folder) as up:
        yield up


def ask(server: LocalServer, *, status: int = 200, **wanted: Value) -> Value:
    """The answer to a look-up."""
    answer = server.client.post("/api/v1/predictions", json=wanted)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_e13_look_up_results_are_one_to_one(server: LocalServer) -> None:
    """Each position is answered, in order: what is there, what failed with its reason, and what is not there."""
    # when
    block = ask(server, model="eos3b5e", keys=[key_of(5), key_of(100), "no key at all", key_of(5)])

    # then
    told = [(one["key"], one["status"], one["values"]) for one in block["results"]]
    assert told == [
        (key_of(5), "done", [weight_of(5)]),
        (key_of(100), "failed", None),
        ("no key at all", "missing", None),
        (key_of(5), "done", [weight_of(5)]),
    ]
    assert block["results"][1]["failure"]["code"] == "OUTPUT_INVALID"
    assert block["results"][1]["failure"]["message"].startswith("no_output")
    assert block["missing"] == 1


def test_an_answer_says_what_made_it(server: LocalServer) -> None:
    """Release, package, environment, scheme of the keys and columns stand in every answer."""
    block = ask(server, model="eos3b5e", keys=[])
    release = release_of()
    assert (block["version"], block["package"]) == (release.version, release.package)
    assert (block["environment"], block["environment_digest"]) == (release.environment, release.environment_digest)
    assert (block["key_scheme"], block["deterministic"], block["complete"]) == ("inchikey", True, True)
    assert block["columns"] == [{"name": "mol_weight", "type": "float"}]


@pytest.mark.parametrize(("release", "sign", "complete"), [(release_of(), 1, True), (NEWER, -1, False)])
def test_e17_an_explicit_version_answers_alone(
    server: LocalServer, release: Release, sign: int, complete: bool
) -> None:
    """Whoever names a version has its values and no other's; what it lacks is missing."""
    block = ask(server, model="eos3b5e", version=release.version, keys=[key_of(3), key_of(50)])
    assert block["results"][0]["values"] == [sign * weight_of(3)]
    assert [one["status"] for one in block["results"]] == ["done", "done" if complete else "missing"]
    assert block["complete"] is complete


def test_what_is_being_filled_does_not_answer_yet(server: LocalServer) -> None:
    """Without a champion, a version that is complete goes before a newer one that is being filled."""
    block = ask(server, model="eos3b5e", keys=[key_of(3)])
    assert block["version"] == release_of().version


def test_unknown_models_versions_and_columns(server: LocalServer) -> None:
    """What is named and not there is told, with what there is."""
    answer = server.client.post("/api/v1/predictions", json={"model": "eos0zzz", "keys": []})
    assert (answer.status_code, "eos3b5e" in answer.json()["detail"]) == (404, True)
    answer = server.client.post("/api/v1/predictions", json={"model": "eos3b5e", "version": "v9", "keys": []})
    assert (answer.status_code, release_of().version in answer.json()["detail"]) == (404, True)
    answer = server.client.post("/api/v1/predictions", json={"model": "eos3b5e", "columns": ["mw"], "keys": []})
    assert (answer.status_code, "mol_weight" in answer.json()["detail"]) == (422, True)


@pytest.mark.parametrize(
    "wanted",
    [
        {"model": "eos3b5e"},
        {"model": "eos3b5e", "keys": [], "smiles": []},
        {"model": "eos3b5e", "keys": [], "compute_missing": True},
        {"model": ["eos3b5e"], "version": "v1", "keys": []},
        {"model": "eos3b5e", "keys": [], "colums": []},
        {"model": [], "keys": []},
        {"keys": []},
        {"model": "eos3b5e", "keys": ["x"] * 10_001},
    ],
    ids=lambda wanted: ",".join(wanted),
)
def test_requests_that_make_no_sense(server: LocalServer, wanted: Value) -> None:
    """A request that contradicts itself is refused with a sentence."""
    problem = ask(server, status=422, **wanted)
    assert problem["errors"]


def test_one_molecule_through_many_models(server: LocalServer) -> None:
    """Several models have a block each, in the order of the request."""
    body = ask(server, model=[WIDE, "eos3b5e"], keys=[key_of(2)])
    assert [(block["model"], block["results"][0]["status"]) for block in body["blocks"]] == [
        (WIDE, "done"),
        ("eos3b5e", "done"),
    ]


def test_some_columns_of_many(server: LocalServer) -> None:
    """Of a wide model only the columns that are named come, in their order."""
    block = ask(server, model=WIDE, columns=["bit_0003", "bit_0001"], keys=[key_of(5)])
    assert [column["name"] for column in block["columns"]] == ["bit_0003", "bit_0001"]
    assert block["results"][0]["values"] == [15 % 7, 5 % 7]


def test_one_prediction_by_its_address(server: LocalServer) -> None:
    """One prediction has an address of its own; one that is not there is 404."""
    found = server.client.get(f"/api/v1/predictions/eos3b5e/{key_of(4)}").json()
    assert found["results"][0]["values"] == [weight_of(4)]
    version = {"version": NEWER.version}
    other = server.client.get(f"/api/v1/predictions/eos3b5e/{key_of(4)}", params=version).json()
    assert other["results"][0]["values"] == [-weight_of(4)]
    assert server.client.get(f"/api/v1/predictions/eos3b5e/{key_of(777)}").status_code == 404


def test_an_answer_as_csv(server: LocalServer) -> None:
    """A prediction file, a row for each key in order, floats so that they can be read back bit for bit."""
    # when
    wanted = {"model": "eos3b5e", "keys": [key_of(9), key_of(100), key_of(8)]}
    answer = server.client.post("/api/v1/predictions", json=wanted, headers={"accept": "text/csv"})

    # then
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["limner-missing"] == "0"
    rows = list(csv.reader(io.StringIO(answer.text)))
    assert rows[0] == ["key", "input", "mol_weight"]
    assert [row[0] for row in rows[1:]] == wanted["keys"]
    assert [float(row[2]) if row[2] else None for row in rows[1:]] == [weight_of(9), None, weight_of(8)]


def test_e21_wide_answers_as_parquet(server: LocalServer) -> None:
    """A hundred molecules with 2,048 columns come as Parquet with what made them, and twice the same."""
    # given
    wanted = {"model": WIDE, "keys": [key_of(number) for number in range(100)]}
    headers = {"accept": "application/vnd.apache.parquet"}

    # when
    answer = server.client.post("/api/v1/predictions", json=wanted, headers=headers)

    # then
    table = pq.read_table(io.BytesIO(answer.content))
    assert table.column_names[:4] == ["key", "input", "status", "bit_0000"]
    assert table.column("bit_0005").to_pylist() == [(number * 5) % 7 for number in range(100)]
    assert table.schema.metadata[b"version"].decode() == release_of(model=WIDE, columns=BITS).version
    assert server.client.post("/api/v1/predictions", json=wanted, headers=headers).content == answer.content


def test_a_file_holds_one_model(server: LocalServer) -> None:
    """Two models have no common columns, so a file of both is refused."""
    wanted = {"model": [WIDE, "eos3b5e"], "keys": []}
    answer = server.client.post("/api/v1/predictions", json=wanted, headers={"accept": "text/csv"})
    assert answer.status_code == 422


def test_e17_the_champion_answers(tmp_path: Path) -> None:
    """The package that serves decides which version answers: after a promotion another, after a roll-back the first."""
    # given
    folder = write_project(tmp_path / "project")
    with serving(folder) as server:
        registry = server.host.app.registry
        digests = []
        for number in (1, 2):
            file = _packed(tmp_path, f"v{number}.0.0")
            digests.append(registry.add("eos3b5e", file, manifest={"release": f"v{number}.0.0"}).sha256)
        table = table_of(folder)
        releases = [release_of(release=f"v{at + 1}.0.0", package=digest) for at, digest in enumerate(digests)]
        for at, release in enumerate(releases):
            shelve(table, [predicted(1, 1.0 + at)], release=release)
        table.close()

        def answered() -> list[object]:
            original = {"modelId": "eos3b5e", "inputKeyArray": [key_of(1)]}
            (one,) = server.client.post("/predictions", json=original).json()["output"]
            block = ask(server, model="eos3b5e", keys=[key_of(1)])
            return [one["value"], block["results"][0]["values"], block["version"]]

        # when
        before = answered()
        server.client.post("/api/v1/models/eos3b5e/promote", json={"version": 2}).raise_for_status()
        promoted = answered()
        server.client.post("/api/v1/models/eos3b5e/rollback").raise_for_status()
        after = answered()

    # then
    assert before == after == [[1.0], [1.0], releases[0].version]
    assert promoted == [[2.0], [2.0], releases[1].version]


def _packed(folder: Path, release: str) -> Path:
    """A package that ships with the system, as if it were of another release."""
    copy = folder / release / "eos3b5e"
    shutil.copytree(HUB / "eos3b5e", copy)
    metadata = copy / "metadata.yml"
    text = metadata.read_text(encoding="utf-8")
    metadata.write_text(re.sub(r"^Release: .*$", f"Release: {release}", text, flags=re.MULTILINE), encoding="utf-8")
    into = folder / f"packed-{release}"
    into.mkdir()
    return pack(read_package(copy), into=into)
