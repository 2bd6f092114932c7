"""What a server's pipelines want served: all that a worker needs in order to see whether it can."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct, structs

from limner.domain.pipelines import Implementation, Pipeline, Stage
from limner.domain.tasks import ModelRef
from limner.domain.values import Value
from limner.domain.versions import Version
from limner.domain.workers import digest_of
from limner.store.store import Transaction

if TYPE_CHECKING:
    from limner.app.hosting import Host


class WantedVersion(Struct, frozen=True, kw_only=True):
    """The version that is served: what a worker's hello must agree with."""

    digest: str
    code: str
    #: SHA-256 of the model's file.
    model_digest: str | None
    params_digest: str
    environment_digest: str


class Wanted(Struct, frozen=True, kw_only=True):
    """One implementation that somebody may serve."""

    #: ``pipeline.stage/implementation``.
    address: str
    pipeline: str
    stage: str
    implementation: str
    kind: str
    #: ``package.module:Name``, a built-in, or ``external``.
    infer: str
    params: Mapping[str, Value]
    model: ModelRef | None
    #: By input: its path, and how a file is read.
    reads: Mapping[str, Value]
    outputs: Mapping[str, Value]
    batch: int
    time_limit_s: float
    #: None where no version is known yet: the first worker that serves it tells.
    version: WantedVersion | None
    #: Tasks that wait on the server's bus for somebody to take them.
    waiting: int


def wanted(host: "Host") -> list[Wanted]:
    """Every implementation of the pipelines at work, by address."""
    with host.store.reading() as tx:
        return [
            _wanted(host, tx, pipeline, stage, name, way)
            for pipeline in host.pipelines.values()
            for stage in pipeline.stages
            for name, way in stage.implementations.items()
        ]


def _wanted(host: "Host", tx: Transaction, pipeline: Pipeline, stage: Stage, name: str, way: Implementation) -> Wanted:
    address = f"{pipeline.name}.{stage.name}/{name}"
    known = host.known.get(pipeline.name)
    version = known.versions.get((stage.name, name)) if known else None
    model = version.model if version else None
    if model is None and way.model:
        found = tx.models.find(way.model)
        model = found.ref if found else None
    return Wanted(
        address=address,
        pipeline=pipeline.name,
        stage=stage.name,
        implementation=name,
        kind=stage.kind.value,
        infer=way.infer,
        params=way.params,
        model=model,
        reads={source: _read(read) for source, read in stage.reads_of(name).items()},
        outputs=msgspec.to_builtins(stage.outputs),
        batch=stage.batch_of(name),
        time_limit_s=stage.timeout_of(name).total_seconds(),
        version=_version(version) if version else None,
        waiting=host.app.bus.count(address),
    )


def _read(read: Struct) -> Value:
    found = msgspec.to_builtins(structs.asdict(read))
    return {key: value for key, value in found.items() if value is not None}


def _version(version: Version) -> WantedVersion:
    return WantedVersion(
        digest=version.digest,
        code=version.code,
        model_digest=version.model.sha256 if version.model else None,
        params_digest=digest_of(version.params),
        environment_digest=digest_of(version.environment),
    )
