"""Versions: what makes two runs of an implementation interchangeable."""

from collections.abc import Mapping

from msgspec import Struct, field

from limner.domain.digests import digest
from limner.domain.pipelines import Stage
from limner.domain.tasks import ModelRef
from limner.domain.values import Value, encode


class Description(Struct, frozen=True, kw_only=True):
    """What the process that serves an inferrer says of it."""

    #: Declared code version, or ``source:`` and the digest of the inferrer's source file.
    code: str
    #: Installed versions of the packages that the inferrer declares to matter.
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Why it cannot be used; None when it can.
    problem: str | None = None


class Version(Struct, frozen=True, kw_only=True):
    """One version of one implementation."""

    #: Hexadecimal.
    digest: str
    code: str
    model: ModelRef | None
    params: Mapping[str, Value]
    environment: Mapping[str, str]


def version_of(stage: Stage, *, implementation: str, description: Description, model: ModelRef | None) -> Version:
    """
    The version of an implementation as it is described now.

    It is the digest of: implementation name and target, code version, model file and manifest, parameters, declared
    environment, and the stage's conditions. How inputs are fetched and decoded is part of the input digest; batch
    sizes, limits and retries are part of neither.
    """
    way = stage.chosen(implementation)
    parts = [
        implementation,
        way.infer,
        description.code,
        [model.name, model.sha256, dict(model.manifest)] if model else None,
        dict(way.params),
        dict(description.environment),
        [[c.path, c.compare.value, c.value, c.reason] for c in stage.when_of(implementation)],
    ]
    return Version(
        digest=digest([encode(part) for part in parts]).hex(),
        code=description.code,
        model=model,
        params=dict(way.params),
        environment=dict(description.environment),
    )
