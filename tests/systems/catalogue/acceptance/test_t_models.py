"""T, D5, D6: models are named by digest, gated before they serve, and no index ever mixes two of them."""

import json
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest

from limner.errors import ModelRefused, VersionConflict
from limner.search.base import Near, Query
from limner.systems.catalogue import features_model
from limner.systems.catalogue.codes import Floats
from tests.systems.catalogue.conftest import Library
from tests.systems.catalogue.projects import CatalogueProject, limner

SHIPPED = Path(features_model.__file__).parent / "data" / "features.onnx"
GIVEN = """\
    Stage(
        "features",
        infer="given",
        params={"source": "a test"},
        reads={"features": "given.features"},
        outputs={"vector": Vector(unit=True)},
    ),
    Stage(
        "codes",
        infer="limner.systems.catalogue.codes:Codes",
        model="codes@champion",
        reads={"vector": "features.vector"},
        outputs={"tokens": Strings(), "code": Bytes()},
        required=False,
        batch=512,
    ),
"""


def vectors(count: int, *, dims: int, seed: int = 3) -> Floats:
    """Unit vectors around forty directions."""
    drawn = np.random.default_rng(seed)
    made = drawn.standard_normal((40, dims))[drawn.integers(0, 40, count)] + 0.5 * drawn.standard_normal((count, dims))
    unit: Floats = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
    return unit


@pytest.fixture(scope="module")
def vectored(tmp_path_factory: pytest.TempPathFactory) -> CatalogueProject:
    """A project with 600 stored vectors of 64 numbers; to be copied by tests that change it."""
    folder = tmp_path_factory.mktemp("vectored") / "cat"
    folder.mkdir()
    project = CatalogueProject(folder)
    project.stages(GIVEN)
    rows = ({"id": f"v{n}", "given": {"features": {"vector": v.tolist()}}} for n, v in enumerate(vectors(600, dims=64)))
    with project.open() as app:
        app.run("catalogue", project.records(rows))
    return project


def test_d5_models_are_addressed_by_digest(copied: Library) -> None:
    """The listing gives digest, aliases, licence and where each model came from."""
    # when
    done = limner(copied.project, "models", "--json")

    # then
    (features,) = [m for m in json.loads(done.stdout)["models"] if m["name"] == "features"]
    assert len(features["sha256"]) == 64
    assert features["aliases"] == ["champion"]
    assert features["licence"] == "CC0-1.0"
    assert features["origin"] == {"shipped with": "limner.systems.catalogue"}


def test_d5_pickle_is_refused(copied: Library) -> None:
    """A pickled model is refused with status 2, whatever its name says."""
    # given
    (copied.project.folder / "X.pkl").write_bytes(pickle.dumps({"centres": [1, 2, 3]}))
    (copied.project.folder / "X.npz").write_bytes(pickle.dumps({"centres": [1, 2, 3]}))

    # when
    refused = [limner(copied.project, "models", "add", "codes", name) for name in ("X.pkl", "X.npz")]

    # then
    assert [done.returncode for done in refused] == [2, 2]
    assert all("pickle" in done.stderr for done in refused)


def test_d6_train_promote_roll_back(vectored: CatalogueProject, tmp_path: Path) -> None:
    """The same seed gives the same digest; promotion moves the alias; a roll-back calls no inferrer."""
    # given
    project = vectored.copy(tmp_path / "cat")
    with project.open() as app:
        # when
        first = app.train("catalogue.codes", seed=1, sample=10_000, parameters={"groups": 16})
        again = app.train("catalogue.codes", seed=1, sample=10_000, parameters={"groups": 16})
        app.run("catalogue")
        second = app.train("catalogue.codes", seed=2, parameters={"groups": 16})
        app.promote(f"codes@{second.version.number}", by="a test")
        moved = app.run("catalogue")
        app.registry.rollback("codes", by="a test")
        back = app.run("catalogue")

    # then
    assert first.version.sha256 == again.version.sha256
    assert first.alias == "champion"
    assert second.alias == "challenger"
    assert (moved.inferred, back.inferred) == (600, 0)


def test_t2_gate(vectored: CatalogueProject, tmp_path: Path) -> None:
    """A collapsed model is refused with figures, a good one accepted, and force is recorded with who and why."""
    # given
    project = vectored.copy(tmp_path / "cat")
    collapsed = tmp_path / "collapsed.npz"
    centres = np.zeros((16, 16, 4), dtype=np.float32)
    centres[:, 1:] = 100.0
    np.savez(collapsed, centres=centres)
    with project.open() as app:
        # when
        good = app.train("catalogue.codes", seed=1, parameters={"groups": 16})
        bad = app.registry.add("codes", collapsed)
        with pytest.raises(ModelRefused, match=r"uses only \d+% of its centres"):
            app.promote(f"codes@{bad.number}", by="somebody")
        app.promote(f"codes@{bad.number}", force=True, by="somebody")
        card = app.registry.show(f"codes@{bad.number}")

    # then
    assert good.refused_reasons == ()
    assert good.metrics["recall_rescored"] >= 0.9
    assert card.moves[-1].by == "somebody"
    assert any("centres" in reason for reason in card.moves[-1].reasons)


@pytest.mark.slow
@pytest.mark.real_data
def test_t2_legacy_model_is_refused(tmp_path: Path, cat: CatalogueProject, shared_data: Path) -> None:
    """The old model gives one code for every real vector: it is refused with figures."""
    # given
    cat.stages(GIVEN)
    legacy = shared_data / "catalogue" / "lsh_test_model.npz"
    rows = (
        {"id": f"{n}", "given": {"features": {"vector": v.tolist()}}} for n, v in enumerate(vectors(450, dims=4096))
    )
    with cat.open() as app:
        app.run("catalogue", cat.records(rows))
        version = app.registry.add("codes", legacy, as_champion=False)

        # then
        with pytest.raises(ModelRefused, match=r"%|recall"):
            app.promote(f"codes@{version.number}", by="somebody")


def test_t3_provenance(copied: Library) -> None:
    """A value says stage, implementation, version, model and input digest, worker, attempt and times."""
    # when
    done = limner(copied.project, "why", "images", copied.ids[0], "--stage", "features", "--json")

    # then
    (origin,) = json.loads(done.stdout)["origins"]
    with copied.project.open() as app:
        assert origin["model_digest"] == app.registry.find("features@champion").sha256
    assert (origin["stage"], origin["status"], origin["model"]) == ("features", "done", "features@1")
    assert len(origin["version"]) == len(origin["input_digest"]) == 32
    assert origin["worker"]
    assert origin["started"] <= origin["ended"]
    assert origin["active"]


@pytest.mark.slow
def test_t6_every_answer_of_one_version_while_models_change(copied: Library) -> None:
    """While four clients search, a new features model takes over in one switch, and a roll-back in another."""
    # given
    seen: list[frozenset[str]] = []
    totals: set[int] = set()
    stop = threading.Event()

    def ask() -> None:
        with copied.project.open() as app:
            while not stop.is_set():
                page = app.search("images", similar=copied.ids[0], limit=5)
                seen.append(frozenset([page.versions["features.vector"]]))
                totals.add(page.total)

    with copied.project.open() as app:
        clients = [threading.Thread(target=ask) for _ in range(4)]
        for client in clients:
            client.start()
        try:
            # when
            old = app.search("images", similar=copied.ids[0]).versions["features.vector"]
            trained = app.train("catalogue.features", seed=5, parameters={"dims": 16})
            app.registry.promote(f"features@{trained.version.number}", by="a test")
            app.run("catalogue")
            new = app.search("images", similar=copied.ids[0]).versions["features.vector"]
            app.registry.rollback("features", by="a test")
            back = app.run("catalogue")
            last = app.search("images", similar=copied.ids[0]).versions["features.vector"]
        finally:
            stop.set()
            for client in clients:
                client.join()

    # then
    assert old == last != new
    # No features again; only the works' means, of which a version keeps the newest, are made anew.
    assert back.inferred == len(copied.drawn.works)
    assert {version for versions in seen for version in versions} <= {old, new}
    assert totals == {len(copied.ids) - 1}


def test_t6_mixed_query_is_refused(copied: Library) -> None:
    """A vector of another version is refused by name and never compared."""
    # given
    with copied.project.open() as app:
        (index,) = [i for one, i in app.open_indexes("catalogue").items() if one.collection == "images"]
        vector = np.eye(1, 128, dtype=np.float32)[0]

        # then
        with pytest.raises(VersionConflict, match="version"):
            index.search(Query(near=Near(path="features.vector", vector=vector, version="0" * 32)))
        index.close()


def test_t7_a_changed_mapping_drops_nothing(copied: Library) -> None:
    """Another dimension of a vector fills a new generation; the old one is kept, and answers until then."""
    # given
    with copied.project.open() as app:
        before = app.search("images", similar=copied.ids[0]).generation
    copied.project.edit('"contributors": 100', '"contributors": 1')

    # when
    with copied.project.open() as app:
        meanwhile = app.search("images", similar=copied.ids[0]).generation
        app.run("catalogue")
        after = app.search("images", similar=copied.ids[0]).generation
        (index,) = [i for one, i in app.open_indexes("catalogue").items() if one.collection == "images"]
        kept = {generation.number for generation in index.generations()}
        index.close()

    # then
    assert meanwhile == before
    assert after != before
    assert {before, after} <= kept
