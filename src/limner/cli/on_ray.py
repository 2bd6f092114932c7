"""``limner worker --ray``: what its options ask for, and the workers that a Ray cluster is given."""

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct
from msgspec.structs import asdict, replace

from limner.cli.output import warn
from limner.cli.signals import heed_signals
from limner.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from limner.app.far_worker import FarSettings
    from limner.app.fleet import Scale
    from limner.settings import Project

#: Variables that are not handed on: the token travels another way, and its file may be on this machine only.
_OWN = ("LIMNER_TOKEN", "LIMNER_TOKEN_FILE", "LIMNER_URL")
_T = TypeVar("_T")


class OnRay(Struct, frozen=True, kw_only=True):
    """The options that only ``--ray`` takes, by the names of Typer's parameters; None where one was not given."""

    least: int | None
    most: int | None
    records_per_actor: int | None
    cpus: float | None
    gpus: float | None
    poll: float | None
    cooldown: float | None
    backlog: str | None
    of_project: str | None

    def none_given(self) -> None:
        """
        Hold that none of them was given.

        Raises:
            UsageError: one was.
        """
        spelled = {"least": "--min", "most": "--max"}
        given = [spelled.get(n, f"--{n.replace('_', '-')}") for n, value in asdict(self).items() if value is not None]
        if given:
            raise UsageError(f"{', '.join(given)}: only with --ray.")


def work_on_ray(
    address: str, asked: OnRay, *, project: "Project", options: Mapping[str, str | None], worker: "FarSettings"
) -> None:
    """
    Keep workers on the cluster at *address* until a signal, the walltime or the lack of work ends them.

    Raises:
        MissingExtra: Ray is not installed.
        UsageError: no such cluster, or no such work.
    """
    try:
        from limner.app.fleet import Fleet

        scale = _scale(asked, worker)
        from limner.app.ray_cluster import RayCluster
    except ModuleNotFoundError as error:
        raise MissingExtra(extra="ray", needs="limner worker --ray") from error
    from limner.app.ray_actor import Told
    from limner.cli.logs import configure

    project.home.mkdir(parents=True, exist_ok=True)
    configure(project.home / "fleet.log")
    cpus, gpus = _either(asked.cpus, 1.0), _either(asked.gpus, 0.0)
    if gpus and worker.device is None:
        # Ray shows an actor no other cards than its own.
        worker = replace(worker, device="cuda:0")
    told = Told(folder=str(project.folder), options=options, environment=_environment(), worker=worker)

    def connect() -> RayCluster:
        cluster = RayCluster(address, cpus=cpus, gpus=gpus)
        # Ray has its own idea of what a signal means.
        heed_signals(made.stopping)
        return cluster

    made = Fleet(told, scale, connect=connect, say=warn)
    heed_signals(made.stopping)
    made.run()


def _scale(asked: OnRay, worker: "FarSettings") -> "Scale":
    from limner.app.backlog import Backlog
    from limner.app.fleet import Scale
    from limner.app.scaling import Bounds
    from limner.bus.connect import is_broker

    told_by = asked.backlog or worker.url
    if is_broker(told_by):
        raise UsageError("A broker does not know the backlog; name the server that does: --backlog https://host.")
    plain = Bounds()
    bounds = Bounds(
        least=_either(asked.least, plain.least),
        most=_either(asked.most, max(plain.most, asked.least or 0)),
        records_per_worker=_either(asked.records_per_actor, plain.records_per_worker),
        cooldown=plain.cooldown if asked.cooldown is None else timedelta(seconds=asked.cooldown),
    )
    if bounds.least > bounds.most:
        raise UsageError(f"--min {bounds.least} is more than --max {bounds.most}.")
    counted = Backlog(
        url=told_by, stages=worker.stages, implementations=worker.implementations, project=asked.of_project
    )
    scale = Scale(bounds=bounds, backlog=counted)
    return scale if asked.poll is None else replace(scale, poll=timedelta(seconds=asked.poll))


def _either(given: _T | None, plain: _T) -> _T:
    return plain if given is None else given


def _environment() -> dict[str, str]:
    """The settings that were given as variables here, which hold for the workers too."""
    return {n: value for n, value in os.environ.items() if n.startswith("LIMNER_") and n not in _OWN}
