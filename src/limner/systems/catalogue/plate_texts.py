"""Invents the works that drawn plates belong to, so that a search by words has something true to find."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

_TITLES = {
    "rings": ("The orbits of the planets", "Growth rings of forest trees", "Ripples: a study of water"),
    "stripes": ("Patterns for woven ribbon", "Strata of the coal measures", "Liveries of the northern railways"),
    "dots": ("Pollen under the lens", "Specimens of printed calico", "Star positions for the year"),
    "checks": ("Tiled floors of the abbey", "A weaver's book of drafts", "Problems for the chessboard"),
    "plant": ("A herbal of useful plants", "Flowers of the river meadow", "Ferns and their propagation"),
    "text": ("A specimen of printing types", "Rules of the reading room", "Sermons for the winter months"),
    "house": ("Cottages for labouring families", "Views of the market town", "The architecture of hospitals"),
    "blobs": ("Cells of the blood", "Infusoria of stagnant ponds", "Tissues of the liver"),
    "grid": ("Sheets of the county survey", "Soundings of the harbour", "Plan of the new streets"),
    "waves": ("On the motion of the sea", "Scales of freshwater fishes", "Sound and its transmission"),
}
_SUBJECTS = {
    "rings": ("Astronomy", "Circles"),
    "stripes": ("Textiles", "Geology"),
    "dots": ("Microscopy", "Printing"),
    "checks": ("Weaving", "Tiles"),
    "plant": ("Botany", "Medicinal plants"),
    "text": ("Typography", "Reading"),
    "house": ("Architecture", "Towns"),
    "blobs": ("Histology", "Cells"),
    "grid": ("Cartography", "Surveying"),
    "waves": ("Oceanography", "Acoustics"),
}
_SHOWS = {
    "rings": "Concentric rings",
    "stripes": "Parallel stripes",
    "dots": "Rows of dots",
    "checks": "A field of checks",
    "plant": "Stems with leaves and a flower",
    "text": "A page of lettering",
    "house": "A row of houses",
    "blobs": "Cells with dark nuclei",
    "grid": "A map on a grid",
    "waves": "Lines of waves",
}
_FIRST = ("Ada", "Bede", "Clementine", "Dorcas", "Edmund", "Flora", "Gideon", "Hester", "Ivo", "Jessamy")
_LAST = ("Quill", "Marlowe", "Thackthwaite", "Inkpen", "Vellacott", "Burin", "Ashplant", "Copperthwaite")
_GENRES = ("Engravings", "Lithographs", "Woodcuts", "Etchings", "Watercolours")
_LANGUAGES = ("English", "Latin", "French", "German")
_LICENCES = ("pdm", "pdm", "cc-by", "cc-0", "cc-by-nc")


@dataclass(frozen=True, kw_only=True)
class WorkPlan:
    """Which plates a work holds, before they are drawn."""

    id: str
    family: str
    licence: str
    #: Numbers of its plates.
    plates: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Work:
    """One catalogued work that never was."""

    id: str
    title: str
    description: str
    contributors: tuple[str, ...]
    subjects: tuple[str, ...]
    genres: tuple[str, ...]
    languages: tuple[str, ...]
    notes: tuple[str, ...]
    #: First days of the years of production, YYYY-MM-DD.
    production_dates: tuple[str, ...]
    identifiers: tuple[str, ...]
    licence: str
    #: ISO 8601.
    modified: str

    def fields(self) -> dict[str, object]:
        """The work as a record's fields, ready for JSON."""
        return {
            "id": self.id,
            "title": self.title,
            "description": self.description,
            "contributors": list(self.contributors),
            "subjects": list(self.subjects),
            "genres": list(self.genres),
            "languages": list(self.languages),
            "notes": list(self.notes),
            "production_dates": list(self.production_dates),
            "identifiers": list(self.identifiers),
            "licence": self.licence,
            "modifiedTime": self.modified,
        }


def plan_works(count: int, *, seed: int, families: Sequence[str]) -> list[WorkPlan]:
    """Share *count* plates among works of one to four plates of one family each; the families take turns."""
    plans: list[WorkPlan] = []
    first = 0
    while first < count:
        number = len(plans)
        random = Random(f"work {seed} {number}")
        size = random.choice((1, 2, 2, 3, 4))
        plans.append(
            WorkPlan(
                id=f"work-{number:04d}",
                family=families[number % len(families)],
                licence=random.choice(_LICENCES),
                plates=tuple(range(first, min(first + size, count))),
            )
        )
        first += size
    return plans


def describe_plate(family: str, *, ink: str, second: str, paper: str) -> str:
    """What a plate shows, in words that are true of its drawing."""
    return f"{_SHOWS[family]} in {ink} and {second} on {paper} paper"


def write_work(plan: WorkPlan, lines: Sequence[str], *, seed: int) -> Work:
    """The catalogue entry of a work whose plates are described by *lines*."""
    random = Random(f"text {seed} {plan.id}")
    year = random.randint(1480, 1930)
    author = f"{random.choice(_FIRST)} {random.choice(_LAST)}"
    plates = "; ".join(f"plate {number}: {line}" for number, line in enumerate(lines, start=1))
    return Work(
        id=plan.id,
        title=random.choice(_TITLES[plan.family]),
        description=f"By {author}, {year}. With {len(lines)} plates. {plates}.",
        contributors=(author,),
        subjects=_SUBJECTS[plan.family],
        genres=(random.choice(_GENRES),),
        languages=(random.choice(_LANGUAGES),),
        notes=(f"Bound in {random.choice(('calf', 'vellum', 'green cloth', 'marbled boards'))}.",),
        production_dates=(f"{year:04d}-01-01",),
        identifiers=(f"B{random.randint(0, 9_999_999):07d}",),
        licence=plan.licence,
        modified=f"2026-01-{random.randint(1, 28):02d}T{random.randint(0, 23):02d}:00:00Z",
    )
