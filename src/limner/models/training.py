"""Training: a plain trainer is fed with samples, its model is registered with its origin, judged, and gated."""

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from limner.domain.models import ModelVersion
from limner.domain.systems import Trainer
from limner.domain.values import Value
from limner.errors import ArtifactMissing, UsageError
from limner.models.moves import CHALLENGER, CHAMPION
from limner.models.registry import Registry
from limner.models.samples import Handed, PictureSamples, Samples
from limner.models.trainers import TrainerCode, ask_gate


class Trained(Struct, frozen=True, kw_only=True):
    """What a training run offers."""

    version: ModelVersion
    #: What it was judged by in this run.
    metrics: Mapping[str, float]
    #: Why the gate refuses it as champion, with figures; empty where it does not.
    refused_reasons: tuple[str, ...]
    #: The alias that stands for it now: champion if there was none and the gate accepts it, else challenger.
    alias: str


class Judged(Struct, frozen=True, kw_only=True):
    """A version beside the champion, on the same samples."""

    #: Why it must not be promoted, with figures; empty where it may.
    reasons: tuple[str, ...]
    metrics: Mapping[str, float]
    #: None where there is no champion, or where this is it.
    champion_metrics: Mapping[str, float] | None


def train(
    registry: Registry,
    trainer: Trainer,
    samples: Samples,
    *,
    seed: int,
    workdir: Path,
    sample: int | None = None,
    parameters: Mapping[str, Value] | None = None,
    by: str = "training",
) -> Trained:
    """
    Train a model on *samples* and register it; nothing is fetched, the samples are all it reads.

    The new version becomes the champion where there is none and the gate accepts it, and the challenger otherwise.
    The same samples, seed and parameters give the same file, and so the version that there is already. Files that
    the trainer writes stay in *workdir*.

    Raises:
        UsageError: a parameter is unknown, or the trainer refused the samples.
        InferrerBroken: the trainer or its gate cannot be used.
        ModelRefused: the file that it wrote did not pass its check.
    """
    code = TrainerCode(trainer.trainer, folder=workdir)
    handed = Handed(samples)
    file = code.train(
        handed, seed=seed, sample=sample, features_version=samples.version, parameters=dict(parameters or {})
    )
    origin = {
        **code.origin(),
        "seed": seed,
        "sample": sample,
        "parameters": dict(parameters or {}),
        "samples": samples.source,
        "samples_version": samples.version,
        "snapshot": {"ids": handed.snapshot.ids, "count": handed.snapshot.count},
    }
    if isinstance(samples, PictureSamples):
        origin["unreadable"] = samples.unreadable
    metrics = code.evaluate(file, Handed(samples))
    version = registry.add(trainer.model, file, origin=origin, metrics=metrics, as_champion=False, by=by)
    champion = registry.champion(trainer.model)
    theirs = _metrics_of_champion(registry, code, champion, version=version, samples=samples)
    reasons = ask_gate(trainer.gate, metrics, theirs) if trainer.gate else ()
    alias = _alias(registry, version, champion=champion, accepted=not reasons, by=by)
    return Trained(version=version, metrics=metrics, refused_reasons=reasons, alias=alias)


def gate_of(registry: Registry, trainer: Trainer, version: ModelVersion, samples: Samples, *, workdir: Path) -> Judged:
    """
    Judge *version* and the present champion by the same samples, those aside that training saw.

    Raises:
        ArtifactMissing: the version's file is gone.
        InferrerBroken: the trainer or its gate cannot be used.
    """
    code = TrainerCode(trainer.trainer, folder=workdir)
    champion = registry.champion(trainer.model)
    try:
        with registry.file(version) as file:
            metrics = code.evaluate(file, Handed(samples))
    except UsageError as error:
        if isinstance(error, ArtifactMissing):
            raise
        return Judged(reasons=(str(error).rstrip("."),), metrics={}, champion_metrics=None)
    theirs = _metrics_of_champion(registry, code, champion, version=version, samples=samples)
    reasons = ask_gate(trainer.gate, metrics, theirs) if trainer.gate else ()
    return Judged(reasons=reasons, metrics=metrics, champion_metrics=theirs)


def _metrics_of_champion(
    registry: Registry, code: TrainerCode, champion: ModelVersion | None, *, version: ModelVersion, samples: Samples
) -> dict[str, float] | None:
    if champion is None or champion.number == version.number:
        return None
    try:
        with registry.file(champion) as file:
            return code.evaluate(file, Handed(samples))
    except UsageError:
        # A champion whose file is gone or no longer fits must not keep its successor out.
        return None


def _alias(registry: Registry, version: ModelVersion, *, champion: ModelVersion | None, accepted: bool, by: str) -> str:
    """The alias that stands for a newly trained version, moved if need be."""
    if champion is not None and champion.number == version.number:
        return CHAMPION
    alias = CHAMPION if champion is None and accepted else CHALLENGER
    registry.promote(f"{version.name}@{version.number}", alias, by=by)
    return alias
