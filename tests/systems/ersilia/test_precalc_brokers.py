"""A precalculation whose molecules are predicted by workers that come by a broker, from Ray or from SLURM."""

import re
import shlex
import signal
import sysconfig
import tomllib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from limner.app.tokens import Tokens
from limner.systems.ersilia.made_molecules import made_molecules
from tests.far.slurm import Slurm
from tests.far.workers import WorkerProcess
from tests.on_ray.local_ray import ray_here
from tests.systems.ersilia.calculating import Bench
from tests.systems.ersilia.served import Typed, check_published, predicted_by, serving, settle, store_url

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
MOLECULES = made_molecules(61)
#: Each call takes a while and is for ten molecules at most: a server that predicted itself would have its share.
SLOW, TEN_A_CALL = "import time\ntime.sleep(0.2)", (0.1, 0.1, -1, -1, -1)
SHARDS = ("--workers", "6", "--no-canary")


def example(page: Path) -> tuple[dict[str, str], list[list[str]]]:
    """The settings that the page shows for other machines, and the words of the commands behind them."""
    section = page.read_text().partition("## Predict on other machines")[2].partition("\n## ")[0]
    (settings,) = re.findall(r"```toml\n(.*?)```", section, re.DOTALL)
    (commands,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return tomllib.loads(settings), [shlex.split(line)[1:] for line in commands.splitlines()]


@pytest.mark.parametrize("broker", ["rabbitmq", "kafka"])
def test_workers_that_know_the_broker_alone_predict(
    broker: str, bench: Bench, require_service: Callable[[str], str], repository: Path, tmp_path: Path
) -> None:
    """As the page says, over PostgreSQL: they predict every molecule once; the command predicts none, and publishes."""
    shown, (serve, work, precalc) = example(repository / "docs" / "systems" / "ersilia" / "index.md")
    bus = f"{require_service(broker)}?prefix=test-{uuid4().hex[:12]}"
    bus += "&partitions=4" if broker == "kafka" else ""
    bench.noting(SLOW, seconds=TEN_A_CALL)
    library = bench.library(MOLECULES)
    with store_url(require_service("postgresql")) as store:
        ours = {shown["store"]: store, shown["bus"]: bus}
        settle(bench, {name: ours[address] for name, address in shown.items()})
        assert serve == ["serve", "--workers", "0"]
        verb, url, address, *options = work
        assert (verb, url, ours[address]) == ("worker", "--url", bus)
        assert precalc[:4] == ["precalc", "eos3b5e", "--library", "library.csv"]
        with (
            serving(bench),
            WorkerProcess(tmp_path / "one", bus, "--name", "one", "--parallel", "1", *options),
            WorkerProcess(tmp_path / "two", bus, "--name", "two", "--parallel", "1", *options),
            Typed(bench, library, *precalc[4:]) as typed,
        ):
            outcome = typed.outcome()

        check_published(bench, outcome, MOLECULES)
        assert predicted_by(bench, MOLECULES).keys() <= {"one", "two"}
    assert bench.predicted() == len(MOLECULES)
    assert not (bench.folder / ".limner" / "limner.db").exists()
    assert not (bench.folder / ".limner" / "predictions.db").exists()


@pytest.mark.timed
def test_workers_on_ray_predict(bench: Bench, tmp_path: Path) -> None:
    """``limner worker --ray`` brings a worker once there is a library to predict, and it predicts all of it."""
    settle(bench, {})
    bench.noting(SLOW, seconds=TEN_A_CALL)
    library = bench.library(MOLECULES)
    options = ("--name", "ray", "--stage", "predict", "--parallel", "1", "--max", "1", "--poll", "0.2")
    packages = Path(sysconfig.get_path("platlib"))
    with ray_here(tmp_path, also=[packages]) as ray, serving(bench) as server:
        by_ray = ("--ray", ray.state.address, *options)
        with (
            WorkerProcess(tmp_path / "fleet", server.url, *by_ray, environment=ray.environment),
            Typed(bench, library, *SHARDS) as typed,
        ):
            outcome = typed.outcome()

    check_published(bench, outcome, MOLECULES)
    assert predicted_by(bench, MOLECULES) == {"ray-1": len(MOLECULES)}
    assert bench.predicted() == len(MOLECULES)


def test_workers_of_a_slurm_job_predict(bench: Bench, repository: Path, tmp_path: Path) -> None:
    """The recipe's array of two predicts everything, and its jobs end with status 0 once SLURM tells them to."""
    settle(bench, {})
    bench.noting(SLOW, seconds=TEN_A_CALL)
    library = bench.library(MOLECULES)
    slurm = Slurm(tmp_path / "slurm", repository / "deploy" / "slurm" / "limner-worker.sbatch")
    with serving(bench) as server:
        token = tmp_path / "token"
        token.touch(mode=0o600)
        with bench.app() as app:
            token.write_text(Tokens(app.store, clock=app.clock).create("cluster", scopes=["work"]).token)
        known = {"LIMNER_URL": server.url, "LIMNER_TOKEN_FILE": str(token), "WORKER_STAGES": "predict"}
        with ExitStack() as stack:
            typed = stack.enter_context(Typed(bench, library, *SHARDS))
            jobs = slurm.sbatch(2, left="1:00:00", WORKER_OPTIONS="--parallel 1", **known)
            for one in jobs:
                stack.callback(one.kill)
            outcome = typed.outcome()
            for one in jobs:
                one.send_signal(signal.SIGTERM)
            assert [one.wait(60) for one in jobs] == [0, 0], slurm.said()

    check_published(bench, outcome, MOLECULES)
    with bench.app() as app, app.store.reading() as tx:
        of_slurm = {one.hello.worker_id: one.hello.slurm_job_id for one in tx.workers.listing()}
    assert sorted(map(str, of_slurm.values())) == ["101", "102"]
    assert predicted_by(bench, MOLECULES).keys() <= of_slurm.keys()
    assert bench.predicted() == len(MOLECULES)
