"""A library goes through a model: every row ends, work is shared evenly, and nothing is computed twice."""

import json
from collections import Counter
from datetime import timedelta
from hashlib import sha256

import pytest

import limner
from limner.app.running import Progress
from limner.systems.ersilia.made_molecules import made_molecules
from limner.systems.ersilia.nouns import KeyScheme
from limner.systems.ersilia.precalc.nouns import Ask, Cost
from limner.systems.ersilia.precalc.run import Precalc
from tests.systems.ersilia.calculating import Bench
from tests.systems.ersilia.made_packages import CULPRIT

pytestmark = pytest.mark.slow

#: A call of a whole shard waits until three processes have called it, or a minute has passed.
TOGETHER = """
import time
until = time.monotonic() + (60 if len(smiles) in (10, 975) else 0)
while len({line.split()[0] for line in Path(log.name).read_text().splitlines()[2:]}) < 3 and time.monotonic() < until:
    time.sleep(0.05)
"""
#: Fails for three molecules in ten, by their own text.
THIRD = """
import hashlib
bad = [hashlib.md5(one.encode()).digest()[0] < 77 and one not in ("CC", "CCO", "CCCO") for one in smiles]
return [[None if wrong else len(one)] for one, wrong in zip(smiles, bad)]
"""


def test_e3_fewer_molecules_than_workers(bench: Bench) -> None:
    """Ten molecules on fifty workers are ten shards of one, all stored, and the command ends well."""
    bench.noting()
    library = bench.library(made_molecules(10))

    ran = bench.limner("precalc", "eos0pln", "--library", str(library), "--workers", "50", "--json")

    told = json.loads(ran.stdout)
    assert ran.returncode == 0, ran.stderr
    assert (told["counts"]["stored"], told["workers_used"], told["shards"]) == (10, 10, 10)
    assert [count for _, count in bench.calls()] == [1] * 10
    assert len(list((bench.folder / "out" / "eos0pln").iterdir())) == 10


def test_workers_are_processes_at_work_at_the_same_time(bench: Bench) -> None:
    """Three workers are three processes, each of which calls the model while the others do."""
    bench.noting(TOGETHER, seconds=(0.1,) * 5)
    outcome = bench.run(bench.library(made_molecules(30)), workers=3)
    assert outcome.counts.stored == 30
    assert len({pid for pid, _ in bench.calls()}) == 3
    assert sorted(count for _, count in bench.calls()) == [10, 10, 10]


def test_progress_says_what_is_being_done(bench: Bench) -> None:
    """A run tells of each of its steps by name, up to the end: publishing is one of them."""
    bench.noting()
    library = bench.library(made_molecules(120))
    told: list[Progress] = []
    with bench.app() as app:
        outcome = Precalc(app, progress=told.append).run(Ask(model="eos0pln", library=str(library), workers=2))
    assert list(dict.fromkeys(one.doing for one in told)) == [
        "identifying",
        "trying a few",
        "predicting",
        "publishing",
    ]
    assert (told[-1].job, told[-1].counts.done, told[-1].counts.open) == (outcome.job, 120, 0)


def test_e4_a_sample_counts_for_the_whole_library(bench: Bench) -> None:
    """A sample is stored, and the whole library after it predicts only what the sample left out."""
    bench.noting()
    library = bench.library([*made_molecules(60), "C", "CC"])

    sample = bench.run(library, sample=7)
    whole = bench.run(library)

    assert (sample.counts.rows, sample.counts.stored, sample.inferred) == (7, 7, 7)
    assert (whole.counts.rows, whole.counts.stored, whole.counts.duplicate_row) == (62, 60, 2)
    assert whole.inferred == 53
    assert bench.predicted() == 60


def test_e6_every_row_set_aside_is_told(bench: Bench) -> None:
    """Each row is stored, failed for a reason of its own, or a repeat; the sum is the number of rows."""
    bench.noting()
    rows = ["CCO", "OCC", "CCO", "C1CC", "CC>>CCO", '""', "CC,x", "*CC", "CC(=O)[O-].[Na+]", "C" * 2001, "NaN"]

    ran = bench.limner("precalc", "eos0pln", "--library", str(bench.library(rows)), "--json")

    told = json.loads(ran.stdout)
    assert ran.returncode == 1
    assert told["state"] == "done_with_failures"
    assert told["by_row"] == {
        "2": "duplicate_key of 1",
        "3": "duplicate_row of 1",
        "4": "bad_smiles",
        "5": "bad_smiles",
        "6": "empty_input",
        "7": "bad_row",
        "8": "no_key",
        "10": "input_too_long",
        "11": "bad_smiles",
    }
    counts = told["counts"]
    assert (counts["rows"], counts["stored"], counts["failed"]) == (11, 2, 7)
    aside = bench.set_aside(told["job"])
    assert {int(row["row"]): row["reason"] for row in aside} == {
        int(number): reason for number, reason in told["by_row"].items() if "duplicate" not in reason
    }
    assert {row["input"] for row in bench.rows(told["job"])} == {"CCO", "CC(=O)[O-].[Na+]"}


def test_a_given_key_must_be_the_right_one(bench: Bench) -> None:
    """A row whose key belongs to another molecule is set aside; the same molecule under its own key is stored."""
    bench.noting()
    ethanol, other = "LFQSCWFLJHTTHZ-UHFFFAOYSA-N", "OTMSDBZUPAUEDD-UHFFFAOYSA-N"
    library = bench.library([f"{other},CCO", f"{ethanol},CCO", f"{other},CC"], header="key,input")

    outcome = bench.run(library)

    assert outcome.by_row == {1: "key_mismatch"}
    assert [(row["key"], row["input"]) for row in bench.rows(outcome.job)] == [(ethanol, "CCO"), (other, "CC")]


def test_e10_one_slow_molecule_costs_itself(bench: Bench) -> None:
    """Calls that overrun are halved until the culprit is alone; it fails by its time limit, all others are stored."""
    bench.noting(f"import time\nif {CULPRIT!r} in smiles:\n    time.sleep(600)")
    molecules = made_molecules(7)

    outcome = bench.run(bench.library([*molecules, CULPRIT]), workers=1, shard_timeout=timedelta(seconds=1))

    assert outcome.counts.stored == 7
    (aside,) = bench.set_aside(outcome.job)
    assert (aside["input"], aside["code"], aside["reason"]) == (CULPRIT, "STAGE_TIMEOUT", "command_failed")


def test_e16_metadata_of_a_second_run(bench: Bench) -> None:
    """A second run predicts nothing, and the metadata are one object whose count is that of the distinct keys."""
    bench.noting()
    library = bench.library([*made_molecules(20), "OCC"])

    first, second = bench.run(library), bench.run(library)

    meta = bench.meta()
    assert (first.inferred, second.inferred) == (21, 0)
    assert meta["total_unique_preds"] == len({row["key"] for row in bench.rows(first.job)}) == 20
    assert (meta["model_id"], meta["preds_in_store"], meta["job"]) == ("eos0pln", True, second.job)


def test_a_manifest_names_code_environment_library_and_cost(bench: Bench) -> None:
    """What was run, where and on what; how many molecules were predicted, and for how many seconds of workers."""
    bench.noting("import time\ntime.sleep(0.2)")
    library = bench.library(made_molecules(20))

    first, second = bench.run(library, workers=2), bench.run(library, workers=2)

    told = bench.meta()
    assert first.cost is not None
    assert (first.cost.predicted, second.cost) == (20, Cost(predicted=0, seconds=0.0))
    assert 0.4 <= first.cost.seconds < first.seconds * 2
    assert told["code"]["limner"] == limner.__version__
    assert told["code"]["packages"]
    assert told["environment"]["python"]
    assert told["library"]["sha256"] == sha256(library.read_bytes()).hexdigest()
    assert told["cost"] == {"predicted": 0, "seconds": 0.0}


def test_e18_keys_of_another_scheme_are_refused(bench: Bench) -> None:
    """A table of InChIKeys takes no md5 keys: exit status 2, one sentence, nothing published."""
    bench.noting()
    library = bench.library(made_molecules(5))
    bench.run(library)

    ran = bench.limner("precalc", "eos0pln", "--library", str(library), "--keys", "md5")

    assert ran.returncode == 2
    assert ran.stdout == ""
    assert "inchikey" in ran.stderr
    assert "md5" in ran.stderr


def test_md5_keys_take_molecules_without_inchikey(bench: Bench) -> None:
    """Under the scheme md5 a molecule with a wildcard atom has a key: that of its text, which its record has too."""
    bench.noting()
    outcome = bench.run(bench.library(["*CC", "CCO", "OCC"]), keys=KeyScheme.MD5)
    assert (outcome.counts.stored, outcome.counts.failed, outcome.counts.duplicate_key) == (3, 0, 0)
    assert outcome.key_scheme is KeyScheme.MD5


def test_e23_prediction_and_publishing_are_shared_by_processes(bench: Bench) -> None:
    """Four shards of four thousand molecules are predicted and published by several processes."""
    bench.noting(TOGETHER, seconds=(0.1,) * 5)
    outcome = bench.run(bench.library(made_molecules(4_000)), workers=4)
    assert outcome.counts.stored == 4_000
    assert (outcome.shards, outcome.workers_used) == (4, 4)
    assert Counter(count for _, count in bench.calls()) == {100: 1, 975: 4}
    files = sorted((bench.folder / "out" / "eos0pln").iterdir())
    assert [file.read_text().count("\n") - 1 for file in files] == [1_000] * 4


def test_e29_a_canary_stops_a_model_that_fails_too_often(bench: Bench) -> None:
    """A model that fails on three in ten is stopped after a hundred, with the reason, unless told otherwise."""
    bench.noting(THIRD)
    library = bench.library(made_molecules(300))

    stopped = bench.limner("precalc", "eos0pln", "--library", str(library), "--json")
    told = json.loads(stopped.stdout)

    assert stopped.returncode == 1
    assert (told["state"], told["published"]) == ("stopped", [])
    assert "of the first 100 molecules failed with no_output" in told["stopped"]
    assert bench.predicted() == 100

    outcome = bench.run(library, canary=False)
    assert outcome.state == "done_with_failures"
    assert 180 < outcome.counts.stored < 240
    assert outcome.counts.whole
    assert bench.predicted() == 300


def test_other_columns_publish_nothing(bench: Bench) -> None:
    """A model that answers with other columns than it lists stops the job, however few molecules there are."""
    bench.noting("return [[len(one), 1] for one in smiles]", golden=None)
    outcome = bench.run(bench.library(made_molecules(5)), unchecked=True)
    assert outcome.state == "stopped"
    assert "bad_columns" in (outcome.stopped or "")
    assert not (bench.folder / "out").exists()
