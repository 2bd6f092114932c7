"""A precalculation is begun from outside: over HTTP, and by the workflow of GitHub Actions."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import yaml

from limner.cli.worker import duration
from limner.domain.values import Value
from limner.testing.local_server import LocalServer
from tests.conftest import REPOSITORY
from tests.systems.ersilia.door_server import MOLECULES, serving, token, write_project
from tests.waiting import until

WORKFLOW = REPOSITORY / "deploy" / "github" / "precalc.yml"
LIBRARY = "".join(f"{'C' * length}O\n" for length in range(1, 31))


@pytest.fixture(scope="module")
def workflow() -> Value:
    """The workflow, parsed."""
    return yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server with a library of thirty alcohols in its project."""
    folder = write_project(tmp_path_factory.mktemp("project"), pipeline=MOLECULES)
    (folder / "reference_library.csv").write_text(LIBRARY, encoding="utf-8")
    with serving(folder) as up:
        yield up


def ended(server: LocalServer, run: str, **headers: str) -> Value:
    """Where a precalculation stands, once it has ended."""

    def standing() -> Value:
        return server.client.get(f"/api/v1/precalc/{run}", headers=headers).raise_for_status().json()

    until(lambda: standing()["state"] != "running")
    return standing()


def step_of(workflow: Value) -> tuple[list[str], dict[str, str]]:
    """The command that asks for the plan as the workflow has it, and the names of its variables' inputs."""
    (step,) = [step for step in workflow["jobs"]["plan"]["steps"] if step.get("id") == "made"]
    return shlex.split(step["run"]), step["env"]


def planned(server: LocalServer, workflow: Value, **inputs: str) -> subprocess.CompletedProcess[str]:
    """What the workflow's own command does, with *inputs* as a person types them into the form."""
    words, named = step_of(workflow)
    given = dict.fromkeys(workflow[True]["workflow_dispatch"]["inputs"], "") | {
        name.replace("_", "-"): value for name, value in inputs.items()
    }
    values = {}
    for name, told in named.items():
        wanted = re.fullmatch(r"\$\{\{ inputs\.([a-z-]+) \}\}", told)
        values[name] = given[wanted[1]] if wanted else ""
    command = words[: words.index(">>")]
    command[0] = os.fspath(REPOSITORY / ".venv" / "bin" / "python") if command[0] == "python" else command[0]
    command = [values[word[1:]] if word.startswith("$") else word for word in command]
    environment = {**os.environ, "LIMNER_URL": server.url}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)


def outputs_of(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """What a step hands on."""
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def test_e28_trigger_has_the_inputs_of_the_form(workflow: Value) -> None:
    """The form asks for a model, perhaps for a sample, and for workers, of which fifty are usual."""
    # YAML takes the word `on` for true.
    inputs = workflow[True]["workflow_dispatch"]["inputs"]
    assert {name: told["required"] for name, told in inputs.items()} == {
        "model-id": True,
        "sample-only": False,
        "n-workers": False,
    }
    assert inputs["sample-only"]["default"] == ""
    assert inputs["n-workers"]["default"] == "50"


def test_e28_trigger_keeps_within_the_limits(workflow: Value) -> None:
    """No machine works for six hours: workers end by themselves before, and what they have not done is given back."""
    # given
    job = workflow["jobs"]["predict"]
    (command,) = [step["run"] for step in job["steps"] if "limner worker" in step.get("run", "")]
    walltime = command.split("--walltime ")[1].split()[0]

    # then
    assert duration(walltime) < timedelta(minutes=job["timeout-minutes"]) < timedelta(hours=6)
    assert "--stage predict" in command
    assert job["if"] == "needs.plan.outputs.workers != '[]'"
    assert job["strategy"]["matrix"]["worker"] == "${{ fromJSON(needs.plan.outputs.workers) }}"
    assert set(workflow["jobs"]["plan"]["outputs"]) == {"run", "workers"}


@pytest.mark.slow
def test_e28_trigger_starts_no_worker_without_a_shard(server: LocalServer, workflow: Value) -> None:
    """Ten molecules on fifty workers are ten workers; asked again, when all is known, none."""
    # when
    first = planned(server, workflow, model_id="eos3b5e", sample_only="10", n_workers="50")
    assert first.returncode == 0, first.stderr
    run = ended(server, outputs_of(first)["run"])
    again = planned(server, workflow, model_id="eos3b5e", sample_only="10", n_workers="50")

    # then
    assert json.loads(outputs_of(first)["workers"]) == list(range(1, 11))
    assert run["outcome"]["counts"]["stored"] == 10
    assert run["shards"] == [1] * 10
    assert json.loads(outputs_of(again)["workers"]) == []
    assert ended(server, outputs_of(again)["run"])["outcome"]["inferred"] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"model_id": "eos0zzz", "n_workers": "2"}, "eos3b5e"),
        ({"model_id": "eos3b5e", "n_workers": "2", "sample_only": "ten"}, "sample-only"),
        ({"model_id": "eos3b5e", "n_workers": "0"}, "n-workers"),
    ],
    ids=["unknown model", "no number", "no worker"],
)
def test_e28_trigger_refuses_in_a_sentence(
    server: LocalServer, workflow: Value, inputs: dict[str, str], said: str
) -> None:
    """What was typed wrongly fails the first step, with a sentence in its log."""
    done = planned(server, workflow, **inputs)
    assert done.returncode != 0
    assert said in done.stderr


@pytest.mark.slow
def test_precalc_over_http(server: LocalServer) -> None:
    """A whole library is predicted and published by one request, and can be looked up then."""
    # when
    made = server.client.post("/api/v1/precalc", json={"model": "eos3b5e", "workers": 3, "to": ["files"]})
    run = ended(server, made.json()["run"])

    # then
    assert made.status_code == 202
    assert (run["state"], run["outcome"]["counts"]["stored"], run["step"]) == ("done", 30, "predict")
    wanted = {"model": "eos3b5e", "smiles": ["CCO", "C" * 30 + "O"]}
    block = server.client.post("/api/v1/predictions", json=wanted).json()
    assert (block["missing"], block["complete"], block["version"]) == (0, True, run["outcome"]["version"])
    project = server.projects.project.folder
    assert list((project / "files" / "out" / "eos3b5e").glob("*.csv"))
    assert server.client.get("/api/v1/precalc").json()["items"][0]["run"] == run["run"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"library": "/etc/passwd"}, "library"),
        ({"library": "file:///etc/passwd"}, "library"),
        ({"library": "http://127.0.0.1/library.csv"}, "library"),
        ({"to": ["/tmp"]}, "to"),
        ({"to": [".limner"]}, "to"),
        ({"sample": 0}, "sample"),
    ],
    ids=str,
)
def test_clients_name_no_files_of_the_server(server: LocalServer, asked: dict[str, Value], field: str) -> None:
    """What lies outside the project is neither read nor written because a client asked for it."""
    answer = server.client.post("/api/v1/precalc", json={"model": "eos3b5e", **asked})
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.slow
def test_a_library_that_is_not_there(server: LocalServer) -> None:
    """What only the work itself finds out is told where it is watched."""
    made = server.client.post("/api/v1/precalc", json={"model": "eos3b5e", "library": "none.csv"})
    run = ended(server, made.json()["run"])
    assert run["state"] == "failed"
    assert "none.csv" in run["error"]


@pytest.mark.slow
def test_a_precalculation_goes_on_after_a_restart(tmp_path: Path) -> None:
    """A server that stops while a library is at work goes on with it when it starts again."""
    # given
    folder = write_project(tmp_path / "project", pipeline=MOLECULES)
    (folder / "reference_library.csv").write_text(LIBRARY, encoding="utf-8")
    with serving(folder) as server:
        run = server.client.post("/api/v1/precalc", json={"model": "eos3b5e", "workers": 2}).json()["run"]

    # when
    with serving(folder) as server:
        found = ended(server, run)

    # then
    assert (found["state"], found["outcome"]["counts"]["stored"]) == ("done", 30)


@pytest.mark.slow
def test_precalc_needs_a_token_that_submits(tmp_path: Path) -> None:
    """Whoever may only read starts nothing."""
    with serving(write_project(tmp_path / "project", pipeline=MOLECULES)) as server:
        headers = {"authorization": f"Bearer {token(server, 'read')}"}
        answer = server.client.post("/api/v1/precalc", json={"model": "eos3b5e"}, headers=headers)
    assert answer.status_code == httpx.codes.FORBIDDEN


@pytest.mark.parametrize(
    ("text", "seconds"), [("5h30m", 19_800), ("3s", 3), ("2d", 172_800), ("90", 90), ("01:30:00", 5_400)]
)
def test_times_by_units(text: str, seconds: int) -> None:
    """A walltime is written by units, or as SLURM writes it."""
    assert duration(text) == timedelta(seconds=seconds)
