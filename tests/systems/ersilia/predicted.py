"""Runs a package as a worker does: packed, in a child process, halved where a call goes wrong."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from limner.domain.pipelines import StageKind
from limner.domain.tasks import ModelRef, Outcome, Runtime
from limner.domain.values import decode, encode
from limner.systems.ersilia.packages.base import Package
from limner.systems.ersilia.packages.packing import pack
from limner.systems.ersilia.packages.reading import read_package
from limner.systems.ersilia.packages.stage import PREDICT_OUTPUTS, implementation_of
from limner.worker.calls import Load, Reply
from limner.worker.child import ChildRunner
from limner.worker.isolate import isolate


class Worker:
    """A child process with one package, and how often it was called."""

    def __init__(
        self,
        package: Package,
        *,
        folder: Path,
        timeout: timedelta | None,
        memory_mb: int | None,
        allow_hosts: tuple[str, ...],
    ) -> None:
        way = implementation_of(package)
        file = pack(package, into=folder / "packed")
        runtime = Runtime(
            address=f"molecules.predict/{package.id}",
            infer=way.infer,
            kind=StageKind.MAP,
            params=way.params,
            model=ModelRef(name=package.id, number=1, sha256=package.digest, filename=file.name),
            reads={"smiles": None},
            outputs=PREDICT_OUTPUTS,
            batch=way.batch or 1,
            timeout=timeout or way.timeout or timedelta(minutes=1),
            memory_mb=memory_mb,
        )
        load = Load(runtime=runtime, model_path=str(file), device=None, project=str(folder), allow_hosts=allow_hosts)
        self._runner = ChildRunner(load, log=folder / "said.log")
        #: Sizes of the calls so far.
        self.calls: list[int] = []
        self.files: dict[str, bytes] = {}

    def predict(self, smiles: Sequence[str]) -> list[Outcome]:
        """One outcome a molecule, in their order."""
        found: list[Outcome] = []

        def run(positions: Sequence[int]) -> Reply:
            self.calls.append(len(positions))
            columns = {"smiles": [encode(smiles[n]) for n in positions]}
            return self._runner.run(columns, prior=[b""] * len(positions))

        for part in isolate(run, range(len(smiles))):
            found += part.outcomes
            for file in part.files:
                if file.sha256 not in self.files:
                    self.files[file.sha256] = Path(file.path).read_bytes()
        return sorted(found, key=lambda outcome: outcome.index)

    def peak(self) -> int:
        """Bytes of memory that the process held at most so far."""
        status = Path(f"/proc/{self._runner.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024

    def close(self) -> None:
        """End the process."""
        self._runner.close()


@contextmanager
def working(
    package: Path,
    *,
    folder: Path,
    timeout: timedelta | None = None,
    memory_mb: int | None = None,
    allow_hosts: tuple[str, ...] = (),
) -> Iterator[Worker]:
    """A worker with the package in the folder *package*."""
    worker = Worker(read_package(package), folder=folder, timeout=timeout, memory_mb=memory_mb, allow_hosts=allow_hosts)
    try:
        yield worker
    finally:
        worker.close()


def values_of(outcomes: Sequence[Outcome]) -> list[object]:
    """The values of each that is done; the code and reason of each that failed."""
    return [
        (one.failure.code.value, one.failure.reason) if one.failure else decode(one.value)["values"] for one in outcomes
    ]
