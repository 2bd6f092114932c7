"""What trainers are given, and which trainer makes a model."""

from collections.abc import Iterator
from pathlib import Path

from limner.app.parts import Parts
from limner.domain.failures import FailedRecord
from limner.domain.pipelines import Pipeline
from limner.domain.reads import FileRead
from limner.domain.systems import Trainer
from limner.domain.tasks import FileRef
from limner.errors import NotFound
from limner.models.samples import PictureSamples, Samples, StoredSamples

_PAGE = 500


def trainer_named(parts: Parts, name: str) -> Trainer:
    """
    The trainer called *name*.

    Raises:
        NotFound: there is none; the sentence names the known ones.
    """
    trainers = {key: t for system in parts.declared.systems.values() for key, t in system.trainers.items()}
    if name not in trainers:
        raise NotFound(f"There is no trainer {name}; known are: {', '.join(sorted(trainers)) or 'none'}")
    return trainers[name]


def trainer_of_model(parts: Parts, model: str) -> Trainer | None:
    """The trainer that makes versions of *model*; None where no system brings one."""
    trainers = (t for system in parts.declared.systems.values() for t in system.trainers.values())
    return next((trainer for trainer in trainers if trainer.model == model), None)


def samples_of(parts: Parts, trainer: Trainer) -> Samples:
    """What a trainer reads: stored values, or the files that records name."""
    pipeline = parts.pipeline(trainer.pipeline)
    if trainer.read is None:
        return StoredSamples(parts.store, pipeline, trainer.samples)
    read = trainer.read
    return PictureSamples(
        lambda: _local_files(parts, pipeline, trainer.samples, read=read), read=read, source=trainer.samples
    )


def _local_files(parts: Parts, pipeline: Pipeline, path: str, *, read: FileRead) -> Iterator[tuple[str, Path]]:
    """Ids and local files of a pipeline's records, fetched where they are far; what cannot be had is left out."""
    after = 0
    with parts.fetching() as fetcher:
        while True:
            with parts.store.reading() as tx:
                keys = tx.records.page(tx.records.find_collection(pipeline.collection) or 0, after=after, limit=_PAGE)
                records = tx.records.load(keys)
            if not keys:
                return
            after = keys[-1]
            for record in (records[key] for key in keys):
                url = record.values().get(path)
                if not isinstance(url, str):
                    continue
                # The revision that a run asks with, so that a kept copy serves here too.
                ref = FileRef(url=url, revision=record.stamp.decode() or None)
                with fetcher.hold() as hold:
                    try:
                        local = fetcher.fetch(ref, read, hold=hold)
                    except FailedRecord:
                        continue
                    yield record.id, Path(local.path)
