"""What a server and the process of a precalculation tell each other, a line of JSON each."""

from msgspec import Struct

from limner.settings import Project
from limner.systems.ersilia.precalc.nouns import Ask, Outcome


class Told(Struct, frozen=True, kw_only=True):
    """What it is told: the first line of its input."""

    project: Project
    ask: Ask


class Tells(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What it tells: one line of its output."""

    #: The job of the engine that it is at, and how many of its records have ended.
    job: str | None = None
    records: int = 0
    ended: int = 0
    #: How it ended: one of the two.
    outcome: Outcome | None = None
    error: str | None = None
