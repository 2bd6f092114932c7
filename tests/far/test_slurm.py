"""The SLURM recipe: checked by shellcheck, and run by a stand-in for sbatch that does what its directives ask for."""

import shutil
import signal
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import pytest

from limner.app.tokens import Tokens
from tests.far.rig import Server
from tests.far.slurm import Slurm
from tests.far.workers import INFERRERS
from tests.waiting import until


@pytest.fixture
def slurm(tmp_path: Path, repository: Path) -> Slurm:
    """A cluster that is none, and the recipe."""
    return Slurm(tmp_path / "slurm", repository / "deploy" / "slurm" / "limner-worker.sbatch")


def token_file(server: Server, folder: Path) -> Path:
    """A file with a token that only its owner may read."""
    made = Tokens(server.host.store, clock=server.host.clock).create("cluster", scopes=["work"])
    file = folder / "token"
    file.write_text(made.token)
    file.chmod(0o600)
    return file


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_a24_shellcheck_finds_nothing(slurm: Slurm) -> None:
    """The script is sound as far as shellcheck can tell."""
    done = subprocess.run(["shellcheck", str(slurm.script)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def test_a24_the_head_asks_for_what_a_worker_needs(slurm: Slurm) -> None:
    """Twelve hours, a GPU, four cores, 32 GB, an array, queued again, and TERM five minutes before the end."""
    asked = slurm.directives()

    wanted = {"time": "12:00:00", "gres": "gpu:1", "cpus-per-task": "4", "mem": "32G", "signal": "TERM@300"}
    assert wanted.items() <= asked.items()
    assert {"array", "requeue"} <= set(asked)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a24_an_array_of_three_does_a_job_and_drains(slurm: Slurm, tmp_path: Path) -> None:
    """Three workers share a job; told to end in the middle of it they end with status 0, and three others end it."""
    (slurm.folder / "inferrers.py").write_text(INFERRERS)
    (slurm.folder / "pace").write_text("0.05")
    with Server(tmp_path / "project", inferrers=INFERRERS, settings="lease = 5.0\nin_flight = 64\n") as server:
        known = {"LIMNER_URL": server.url, "LIMNER_TOKEN_FILE": str(token_file(server, tmp_path))}
        job = server.submit([{"number": n} for n in range(300)])

        first = slurm.sbatch(3, left="11:59:00", WORKER_STAGES="double", **known)
        until(lambda: server.counts(job).done >= 30)
        for one in first:
            one.send_signal(signal.SIGTERM)
        ended = [one.wait(60) for one in first]
        done = server.counts(job).done
        (slurm.folder / "pace").write_text("0")
        second = slurm.sbatch(3, left="1-00:00:00", WORKER_OPTIONS="--idle-exit 1 --parallel 1", **known)
        state = server.wait(job, within=timedelta(seconds=60))
        ended += [one.wait(60) for one in second]
        with server.host.store.reading() as tx:
            seen = [w.hello.slurm_job_id or "" for w in tx.workers.listing()]
            charged = tx.connection.exec_driver_sql("SELECT count(*) FROM attempts").scalar()

    assert (state, ended) == ("done", [0] * 6), slurm.said()
    assert 30 <= done < 300
    assert charged == 0
    assert sorted(seen) == sorted(["101", "102", "103"] * 2)


@pytest.mark.slow
@pytest.mark.timed
@pytest.mark.timeout(120)
def test_a24_near_the_end_it_takes_no_more(slurm: Slurm, tmp_path: Path) -> None:
    """With seconds left a worker begins nothing that it could not end, and is gone before its time is over."""
    (slurm.folder / "inferrers.py").write_text(INFERRERS)
    (slurm.folder / "pace").write_text("0.1")
    with Server(tmp_path / "project", inferrers=INFERRERS) as server:
        job = server.submit([{"number": n} for n in range(400)])
        known = {"LIMNER_URL": server.url, "LIMNER_TOKEN_FILE": str(token_file(server, tmp_path))}

        began = time.monotonic()
        (one,) = slurm.sbatch(1, left="0:10", **known)
        assert one.wait(60) == 0, slurm.said()
        lived = time.monotonic() - began

        begun = (slurm.folder / "calls.txt").read_text().split()
        with server.host.store.reading() as tx:
            charged = tx.connection.exec_driver_sql("SELECT count(*) FROM attempts").scalar()
        assert "the walltime is nearly over" in slurm.said()
        assert lived < 10
        assert 0 < server.counts(job).done == len(begun) < 100
        assert charged == 0


@pytest.mark.slow
def test_a24_it_runs_in_an_image(slurm: Slurm, tmp_path: Path) -> None:
    """With WORKER_IMAGE the worker is started by Apptainer, with the graphics card, the project and the token."""
    (slurm.folder / "inferrers.py").write_text(INFERRERS)
    with Server(tmp_path / "project", inferrers=INFERRERS) as server:
        job = server.submit([{"number": 1}])
        known = {"LIMNER_URL": server.url, "LIMNER_TOKEN_FILE": str(token_file(server, tmp_path))}
        (one,) = slurm.sbatch(1, left="1:00:00", WORKER_IMAGE="moths.sif", WORKER_OPTIONS="--idle-exit 1", **known)

        assert server.wait(job) == "done"
        assert one.wait(60) == 0

    words = (slurm.folder / "apptainer.txt").read_text().split()
    assert words[:2] == ["exec", "--nv"]
    assert "moths.sif" in words
    assert str(tmp_path) in words


@pytest.mark.parametrize(("mode", "why"), [(0o644, "Others may read"), (None, "There is no token")])
def test_a24_a_token_that_others_may_read_is_refused(slurm: Slurm, tmp_path: Path, mode: int | None, why: str) -> None:
    """Before anything is started it is looked whether the token is there, and is a secret."""
    file = tmp_path / "token"
    if mode is not None:
        file.write_text("secret")
        file.chmod(mode)

    (one,) = slurm.sbatch(1, left="1:00:00", LIMNER_URL="http://127.0.0.1:9", LIMNER_TOKEN_FILE=str(file))

    assert one.wait(30) == 2
    assert why in slurm.said()


def test_a24_it_needs_the_address_of_a_server(slurm: Slurm) -> None:
    """Without LIMNER_URL it says what is missing."""
    (one,) = slurm.sbatch(1, left="1:00:00")

    assert one.wait(30) != 0
    assert "LIMNER_URL: is needed" in slurm.said()
