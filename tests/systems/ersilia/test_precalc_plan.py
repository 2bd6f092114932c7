"""Before anything runs it is known what would be predicted, and why; afterwards, where each prediction came from."""

import hashlib
import shutil
from pathlib import Path

import pytest

from limner.systems.ersilia.made_molecules import made_molecules
from limner.systems.ersilia.packages.base import Needs
from limner.systems.ersilia.packages.environment import folder_of
from limner.systems.ersilia.precalc.nouns import Ask
from limner.systems.ersilia.precalc.run import Precalc
from tests.systems.ersilia.calculating import Bench

pytestmark = pytest.mark.slow

#: As another machine's environment answers when it is asked for its versions.
ELSEWHERE = """#!/bin/sh
echo '{"python": "3.11", "msgspec": "9.9.9"}'
"""


def planned(bench: Bench, library: Path) -> dict[str, object]:
    """What a plan says."""
    with bench.app() as app:
        plan = Precalc(app).plan(Ask(model="eos0pln", library=str(library), workers=4))
    return {name: getattr(plan, name) for name in ("identify", "predict", "reasons", "shards", "seconds")}


def test_e25_a_plan_says_what_is_new_and_why(bench: Bench) -> None:
    """Before the first run, after it, with more molecules, with a changed package, and in another environment."""
    bench.noting(pins={"msgspec": ""}, seconds=(0.1, 0.1, 2.0, 3.0, 11.0))
    library = bench.library(made_molecules(20))

    # A start of 2 s, and 8 s for 9,000 molecules: what the package itself says.
    assert planned(bench, library) == {
        "identify": 20,
        "predict": 20,
        "reasons": {"new": 20},
        "shards": 4,
        "seconds": 2.0,
    }
    told = bench.limner("precalc", "eos0pln", "--library", str(library), "--workers", "4", "--plan").stdout
    assert "20 to identify, 20 to predict (20 new)" in told
    assert "4 shards on 4 workers, about 2.0 s" in told
    bench.run(library)
    assert planned(bench, library) == {"identify": 0, "predict": 0, "reasons": {}, "shards": 0, "seconds": 0.0}

    bench.library(made_molecules(120))
    assert planned(bench, library)["reasons"] == {"new": 100}

    bench.library(made_molecules(20))
    environment = bench.folder / folder_of(Needs(python="3.11", pins={"msgspec": ""})) / "bin" / "python"
    environment.parent.mkdir(parents=True)
    environment.write_text(ELSEWHERE)
    environment.chmod(0o755)
    assert planned(bench, library)["reasons"] == {"version": 20}
    shutil.rmtree(environment.parent)

    shutil.rmtree(bench.folder / "packages")
    bench.noting("smiles = [one + ' ' for one in smiles]", pins={"msgspec": ""})
    assert planned(bench, library)["reasons"] == {"version": 20}
    assert bench.predicted() == 20


def test_e25_why_names_what_made_a_prediction(bench: Bench) -> None:
    """`limner why` leads from a molecule to the package, its environment's version, the job's worker and attempt."""
    bench.noting()
    outcome = bench.run(bench.library(["CCO", "CC"]))
    identity = hashlib.md5(b"CCO", usedforsecurity=False).hexdigest()

    with bench.app() as app:
        (origin,) = app.why("molecules", identity, stage="predict").origins

    assert (origin.stage, origin.implementation, origin.model) == ("predict", "eos0pln", "eos0pln@1")
    assert origin.model_digest
    assert origin.worker
    with bench.app() as app:
        jobs = {job.id for job in app.jobs()}
    assert outcome.job in jobs


def test_e17_a_model_that_is_rolled_back_answers_as_before(bench: Bench) -> None:
    """Two releases are two versions side by side; after a roll-back the old one is run, and has answered already."""
    bench.noting()
    library = bench.library(made_molecules(10))
    old = bench.run(library)
    shutil.rmtree(bench.folder / "packages")
    bench.noting("smiles = list(smiles)", release="v2.0.0")
    new = bench.run(library)
    with bench.app() as app:
        app.registry.rollback("eos0pln", by="test")
    shutil.rmtree(bench.folder / "packages")

    back = bench.run(library)

    assert new.version.startswith("v2.0.0+")
    assert new.inferred == 10
    assert (back.version, back.inferred) == (old.version, 0)
