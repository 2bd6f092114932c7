"""What is told of a model's predictions beside them: one JSON object, encoded once."""

from datetime import UTC, datetime

import msgspec

from limner import __version__
from limner.systems.ersilia.precalc.nouns import Counts, Facts
from limner.systems.ersilia.predictions.base import PredictionTable


def meta_path(model: str) -> str:
    """Where it lies."""
    return f"meta/{model}.json"


def meta_of(facts: Facts, *, table: PredictionTable, counts: Counts, ended: float, url: str) -> bytes:
    """
    The object, in the shape of the original and with our facts after it; *ended* in seconds since the epoch.

    Its count is that of the table, failures left out, so it is asked for when the job has ended.
    """
    release = facts.release
    unique = table.count(release.model, release.version)
    updated = max(shelf.updated for shelf in table.shelves(release.model) if shelf.release.version == release.version)
    told = {
        "model_id": release.model,
        "preds_in_store": unique > 0,
        "total_unique_preds": unique,
        "preds_last_updated": _moment(updated),
        "pipeline_latest_start_time": _moment(facts.started),
        "pipeline_latest_duration": round(ended - facts.started),
        "pipeline_meta_s3_uri": url,
        "model_version": release.version,
        "code": {"limner": __version__, "packages": facts.code} if facts.code else None,
        "environment": dict(release.environment),
        "key_scheme": facts.scheme.value,
        "library": {"name": facts.library.name, "sha256": facts.library.sha256, "rows": facts.library.rows},
        "job": facts.job,
        "counts": msgspec.to_builtins(counts),
        "cost": msgspec.to_builtins(facts.cost),
    }
    return msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
