"""What inferrers say of themselves, asked in a child process that is thrown away: their modules are never imported."""

import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path

from limner.domain.pipelines import Implementation
from limner.domain.versions import Description
from limner.worker.calls import Describe
from limner.worker.child import HostProcess, ProcessDied, ProcessOverran
from limner.worker.frames import decode_description


def describe_all(
    targets: Mapping[str, Implementation],
    *,
    project: Path,
    allow_hosts: Iterable[str] = (),
    limit: timedelta = timedelta(seconds=60),
    log: Path | None = None,
) -> dict[str, Description]:
    """
    What each of *targets* says of itself, by the same name; what is wrong with one stands in its ``problem``.

    One child process answers for all; only a target that ends or hangs the process costs another one. *limit* is the
    time for all of them together.
    """
    ends = time.monotonic() + limit.total_seconds()
    found: dict[str, Description] = {}
    process: HostProcess | None = None
    for name, target in targets.items():
        asked = Describe(
            infer=target.infer, params=target.params, project=str(project.resolve()), allow_hosts=tuple(allow_hosts)
        )
        left = max(0.0, ends - time.monotonic())
        try:
            process = process or HostProcess(project=project, log=log)
            found[name] = decode_description(process.ask(asked, within=timedelta(seconds=left)))
        except ProcessOverran:
            told = f"{target.infer} was not described within {limit.total_seconds():g} s, the limit for all."
            found[name], process = Description(code="", problem=told), None
        except ProcessDied as died:
            found[name], process = (
                Description(code="", problem=f"The process that imports {target.infer} {died}."),
                None,
            )
    if process is not None:
        process.close()
    return found
