"""A child process answers, and each way in which it may fail to is told apart, without leaving anything behind."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from limner.domain.failures import FailureCode
from limner.domain.tasks import Status
from limner.domain.values import Value, decode
from limner.worker.calls import Done, Reply, Trouble, Unusable
from limner.worker.child import ChildRunner
from limner.worker.inline import InlineRunner
from limner.worker.own_folder import SCRATCH, remove_the_dead
from tests.waiting import until
from tests.worker.cases import column, load, write_project

SECOND = timedelta(seconds=1)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with inferrers of every temper."""
    return write_project(tmp_path / "project")


@pytest.fixture
def child(project: Path) -> Iterator[Callable[..., ChildRunner]]:
    """Makes runners over the project, which are closed after the test."""
    made: list[ChildRunner] = []

    def runner(
        name: str, *, log: Path | None = None, load_limit: timedelta = SECOND * 20, **options: Value
    ) -> ChildRunner:
        made.append(ChildRunner(load(name, project=project, **options), log=log, load_limit=load_limit))
        return made[-1]

    yield runner
    for one in made:
        one.close()


def call(runner: ChildRunner | InlineRunner, *numbers: int) -> Reply:
    """What the runner makes of these numbers."""
    return runner.run(column(numbers), prior=[b""] * len(numbers))


def values(reply: Reply) -> list[object]:
    """The values of a call that went well."""
    assert isinstance(reply, Done), reply
    return [decode(outcome.value)["value"] for outcome in reply.outcomes]


def scratches(folder: Path) -> list[Path]:
    """The folders for temporary files that children have there."""
    return list(folder.glob("limner-inferrer-*"))


def gone(pid: int) -> bool:
    """Whether no process has this id: a zombie would still have it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_child_answers_call_after_call(child: Callable[..., ChildRunner]) -> None:
    """One process serves many calls; nothing is started before the first one."""
    runner = child("double")
    assert runner.pid is None

    assert values(call(runner, 1, 2, 3)) == [2, 4, 6]
    assert values(call(runner, 4)) == [8]

    assert runner.starts == 1


def test_a_large_call_passes(child: Callable[..., ChildRunner]) -> None:
    """Columns and answers may be larger than any buffer in between."""
    runner = child("double", batch=1000)
    big = list(range(60_000))

    reply = runner.run(column(big), prior=[b""] * len(big))

    assert values(reply) == [2 * number for number in big]


@pytest.mark.parametrize(
    ("number", "code", "told"),
    [
        (-1, FailureCode.WORKER_LOST, "ended with exit status 7 while inferring"),
        (-2, FailureCode.STAGE_TIMEOUT, "still inferring after 1 s"),
        (-3, FailureCode.MODEL_ERROR, "ValueError: three is a crowd"),
        (-4, FailureCode.OUT_OF_MEMORY, "memory_mb"),
        (-5, FailureCode.OUTPUT_INVALID, "answered 2 inputs with 1 outputs"),
        (-6, FailureCode.WORKER_LOST, "was ended by SIGSEGV"),
        (-7, FailureCode.MODEL_ERROR, "SystemExit: enough"),
        (-8, FailureCode.STAGE_TIMEOUT, "still inferring after 1 s"),
        (-9, FailureCode.WORKER_LOST, "ended with exit status 9"),
    ],
)
def test_each_end_of_a_call_is_told_apart(
    child: Callable[..., ChildRunner], number: int, code: FailureCode, told: str
) -> None:
    """However a call goes wrong as a whole, it has its code and a sentence, and the next call goes well."""
    runner = child("moody", timeout=SECOND, memory_mb=300)

    reply = call(runner, 1, number)

    assert isinstance(reply, Trouble)
    assert reply.code is code
    assert told in reply.message
    assert values(call(runner, 5)) == [10]
    # A process that still answers is not thrown away.
    lost = code in (FailureCode.WORKER_LOST, FailureCode.STAGE_TIMEOUT)
    assert runner.starts == (2 if lost else 1)


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_an_exception_in_place_of_an_output_fails_its_record(
    child: Callable[..., ChildRunner], project: Path, isolation: str
) -> None:
    """Its neighbours are done, in a child process and in this one."""
    runner = child("moody") if isolation == "process" else InlineRunner(load("moody", project=project))
    cwd = Path.cwd()
    os.chdir(project)
    try:
        reply = call(runner, 1, 13, 2)
    finally:
        os.chdir(cwd)

    assert isinstance(reply, Done)
    assert [outcome.status for outcome in reply.outcomes] == [Status.DONE, Status.FAILED, Status.DONE]
    failure = reply.outcomes[1].failure
    assert failure is not None
    assert failure.code is FailureCode.MODEL_ERROR


def test_a_child_that_is_killed_from_outside_is_told(child: Callable[..., ChildRunner]) -> None:
    """SIGKILL in the middle of a call, as by the kernel, is a lost process with a hint at memory."""
    runner = child("moody", timeout=SECOND * 20)
    call(runner, 1)
    pid = runner.pid
    assert pid is not None
    killer = threading.Timer(0.1, os.kill, (pid, signal.SIGKILL))
    killer.start()

    reply = call(runner, -2)
    killer.join()

    assert isinstance(reply, Trouble)
    assert reply.code is FailureCode.WORKER_LOST
    assert "SIGKILL, as the kernel does when memory runs out" in reply.message
    assert gone(pid)


def test_a_child_that_dies_between_calls_is_replaced(child: Callable[..., ChildRunner]) -> None:
    """A child that is gone before it is asked says nothing about the records of the next call."""
    runner = child("double")
    call(runner, 1)
    pid = runner.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: _ended(pid))

    assert values(call(runner, 1)) == [2]
    assert runner.starts == 2
    assert gone(pid)


def test_what_the_user_prints_goes_to_the_log(child: Callable[..., ChildRunner], tmp_path: Path) -> None:
    """Prints, complaints and bare writes never mix with answers."""
    log = tmp_path / "child.log"
    runner = child("chatty", log=log)

    assert values(call(runner, 1, 2)) == [1, 2]

    assert log.read_text().splitlines() == [
        line for number in (1, 2) for line in (f"printed {number}", f"complained {number}", "written")
    ]


@pytest.mark.timed
def test_what_a_child_started_ends_with_it(child: Callable[..., ChildRunner], project: Path) -> None:
    """A lost child's own children are ended too, and do not keep its line open."""
    runner = child("moody", timeout=SECOND * 10)
    began = time.monotonic()

    call(runner, -9)

    assert time.monotonic() - began < 8
    left = subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "sleep 60" not in left.splitlines()


def test_closing_leaves_no_process(child: Callable[..., ChildRunner]) -> None:
    """A closed runner's process is gone, not a zombie."""
    runner = child("pid")
    [pid] = values(call(runner, 1))
    assert isinstance(pid, int)

    runner.close()

    assert gone(pid)


@pytest.mark.parametrize(
    ("marker", "told"),
    [("broken", "RuntimeError: not today"), ("deadly", "ended with exit status 3 while loading")],
)
def test_an_inferrer_that_cannot_be_loaded_is_unusable(
    child: Callable[..., ChildRunner], project: Path, marker: str, told: str
) -> None:
    """No record is to blame; when what ails it is gone, the next call loads it."""
    runner = child("Reluctant")
    (project / marker).touch()

    reply = call(runner, 1)

    assert isinstance(reply, Unusable)
    assert told in reply.reason
    (project / marker).unlink()
    assert values(call(runner, 1)) == [1]


def test_a_name_that_is_not_there_is_unusable(child: Callable[..., ChildRunner], project: Path) -> None:
    """The reason names what cannot be found, in a child process and in this one."""
    for runner in (child("Nobody"), InlineRunner(load("Nobody", project=project))):
        reply = call(runner, 1)

        assert isinstance(reply, Unusable)
        assert "Nobody" in reply.reason


def test_a_model_that_needs_more_than_its_memory_is_unusable(child: Callable[..., ChildRunner], project: Path) -> None:
    """The limit holds while loading too, and the reason names the setting."""
    (project / "heavy.py").write_text(
        "class Heavy:\n"
        "    version = '1'\n"
        "    def __init__(self): self.all = bytearray(1_000_000_000)\n"
        "    def infer(self, number: list[int]) -> list[int]: return number\n"
    )
    (project / "tempers.py").write_text("from heavy import Heavy\n")

    reply = call(child("Heavy", memory_mb=100), 1)

    assert isinstance(reply, Unusable)
    assert "memory_mb=100" in reply.reason


#: A worker in small: has a child infer for long, and says which process that is.
_PARENT = """
import sys
from pathlib import Path
from tests.worker.cases import column, load
from limner.worker.child import ChildRunner

runner = ChildRunner(load("moody", project=Path(sys.argv[1])))
runner.run(column([1]), prior=[b""])
print(runner.pid, flush=True)
runner.run(column([-2]), prior=[b""])
"""


def test_a_child_does_not_outlive_its_worker(project: Path, repository: Path, tmp_path: Path) -> None:
    """When a worker is killed in the middle of a call, its child ends with it; the next start removes what is left."""
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(project)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=repository,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        remove_the_dead(tmp_path, prefix=SCRATCH)
        assert len(scratches(tmp_path)) == 1
        parent.kill()
        parent.wait()

    until(lambda: _ended(pid))
    remove_the_dead(tmp_path, prefix=SCRATCH)
    assert scratches(tmp_path) == []


def test_temporary_files_end_with_the_child(
    child: Callable[..., ChildRunner], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's temporary files lie in a folder of the child's, which goes with it however it ends."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    runner = child("littering", timeout=SECOND)
    [first] = values(call(runner, 1))
    assert Path(str(first)).exists()
    assert Path(str(first)).parent.parent == tmp_path

    assert isinstance(call(runner, -1), Trouble)
    assert not Path(str(first)).exists()
    [second] = values(call(runner, 1))
    runner.close()

    assert not Path(str(second)).exists()
    assert scratches(tmp_path) == []


def _ended(pid: int) -> bool:
    """Whether the process ended, be it that nobody has waited for it yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def test_outcomes_keep_their_places(child: Callable[..., ChildRunner]) -> None:
    """Outcomes come in the order of the call, with their digests."""
    reply = call(child("double"), 1, 2)

    assert isinstance(reply, Done)
    assert [outcome.index for outcome in reply.outcomes] == [0, 1]
    assert [len(outcome.read_digest) for outcome in reply.outcomes] == [16, 16]
