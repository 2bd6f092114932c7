"""The stage that most tests of children begin with."""

import limner
from limner.domain.pipelines import Stage
from tests.engine.lab import toy

SPLIT = toy("Split")


def split_stage(infer: str | None = SPLIT, **options: object) -> Stage:
    """Documents are split into parts, each known by its name; *options* are those of any stage."""
    return limner.Stage(
        "split",
        infer,
        kind="expand",
        of="parts",
        identity=["name"],
        reads={"parts": "parts"},
        **options,  # type: ignore[arg-type]  # the stage's own options
    )
