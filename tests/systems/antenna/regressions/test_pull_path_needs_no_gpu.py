"""There: to try the pull path one needed a heavy worker and its card. Here: a stub in the box, and nothing else."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from limner.systems.antenna.trap_pictures import TrapFrame
from tests.systems.antenna.door import Door
from tests.waiting import until

#: What a worker with a model may need, and the stub must not.
HEAVY = ("torch", "onnxruntime", "numpy", "PIL", "scipy", "sklearn", "pyarrow", "usearch")
#: Started so, whatever imports one of them breaks.
WITHOUT = f"import sys, runpy; sys.modules.update(dict.fromkeys({HEAVY!r})); sys.argv[0] = 'stub'; "
RUN = f"{WITHOUT}runpy.run_module('limner.testing.stub_worker', run_name='__main__')"
FOUND = '[{"box": [10, 10, 60, 50], "score": 0.9}]'
LABELS = '{"labels": [{"id": "m", "name": "moth", "score": 0.75}], "full": null}'


@contextmanager
def stub(folder: Path, url: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The stub as a process that sees no card and finds none of what is heavy."""
    answers = (f"detect/stub={FOUND}", f"classify/stub={LABELS}")
    command = [sys.executable, "-c", RUN, "--url", url, *(word for one in answers for word in ("--answer", one))]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LIMNER_", "CUDA"))}
    with (folder / "said.txt").open("wb") as said:
        process = subprocess.Popen(
            command, cwd=folder, env={**clean, "CUDA_VISIBLE_DEVICES": ""}, stdout=said, stderr=said
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()


@pytest.mark.slow
def test_pull_path_needs_no_gpu(own_door: Callable[..., Door], small_night: list[TrapFrame], tmp_path: Path) -> None:
    """A request goes all the way, from its creation to its results, by a worker that infers nothing."""
    door = own_door(own_workers=False)
    names = [frame.name for frame in small_night[:3]]
    with stub(tmp_path, str(door.client.base_url)) as process:

        def known() -> bool:
            assert process.poll() is None, (tmp_path / "said.txt").read_text()
            workers = door.client.get("/api/v1/workers").json()["workers"]
            return any(len(worker["serves"]) == 2 for worker in workers)

        until(known)
        body = door.body("stubbed", door.images(names), callback=False)
        body["pipelineConfig"] = {
            "stages": [
                {"stage": "OBJECT_DETECTION", "stageImplementation": "stub"},
                {"stage": "CLASSIFICATION", "stageImplementation": "stub"},
            ]
        }
        ended = door.run(body)

    assert ended["status"] == "COMPLETED"
    results = door.results(ended["requestId"])
    assert set(results) == set(names)
    for image in results.values():
        (detection,) = image["detections"]
        assert detection["boundingBox"] == {"x1": 10, "y1": 10, "x2": 60, "y2": 50}
        assert detection["classifications"][0]["labelNames"] == ["moth"]
