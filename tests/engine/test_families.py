"""Whatever happens to documents with parts, children and groups are in the end what they would be from scratch."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct

import limner
from limner.domain.pipelines import Pipeline
from limner.domain.tasks import ANSWERS
from limner.domain.values import Value
from limner.errors import UsageError
from tests.engine.lab import Lab, record, toy
from tests.engine.stages import split_stage

#: Numbers from here on are refused.
LEAST = 7


class Settings(Struct, frozen=True):
    """The versions of the stages, and which parts the expansion keeps."""

    only: str = ""
    add: int = 0
    salt: int = 0
    missing: str = "run"

    def pipeline(self) -> Pipeline:
        """Documents are weighed and split; parts are judged, then gathered by document and by name."""
        gather = {"kind": "gather", "of": "parts", "missing": self.missing, "reads": {"given": "part.value"}}
        return limner.Pipeline(
            "p",
            collection="things",
            stages=[
                limner.Stage("weigh", toy("Sum"), reads={"x": "weight"}, params={"add": self.add, "least": LEAST}),
                split_stage(
                    params={"only": self.only, "salt": self.salt},
                    when=limner.where("closed", "exists", False, reason="closed"),
                    task_size=32,
                ),
                limner.Stage(
                    "part",
                    toy("Sum"),
                    over="parts",
                    reads={"x": "n", "y": limner.optional("parent.weigh.value")},
                    params={"least": LEAST, "salt": self.salt},
                    batch=2,
                    task_size=2,
                ),
                limner.Stage("all", toy("Gather"), by="parent", **gather),  # type: ignore[arg-type]  # shared options
                limner.Stage("named", toy("Gather"), over="names", by="name", **gather),  # type: ignore[arg-type]  # shared options
                limner.Stage("last", toy("Total"), reads={"given": "all.all"}),
            ],
        )

    def weigh(self, document: dict[str, Value]) -> Value:
        """What is said of a document's weight."""
        if "weight" not in document:
            return ("skipped", "no_weight")
        weight = document["weight"]
        return ("failed", "MODEL_ERROR", None) if weight >= LEAST else {"value": (weight + self.add) // 2}

    def parts(self, document: dict[str, Value]) -> dict[str, Value]:
        """What is said of each part, by name."""
        if document.get("closed"):
            return {}
        weigh = self.weigh(document)
        weight = weigh["value"] if isinstance(weigh, dict) else 0
        sums = {name: n + weight for name, n in document["parts"].items() if name.startswith(self.only)}
        return {n: ("failed", "MODEL_ERROR", None) if s >= LEAST else {"value": s // 2} for n, s in sums.items()}

    def gathered(self, said: list[Value]) -> Value:
        """What a gather says of members of which this is said; the numbers in order of their size."""
        good = sorted(one["value"] for one in said if isinstance(one, dict))
        if len(good) < len(said) and self.missing == "fail":
            return ("failed", "UPSTREAM_FAILED", "part")
        return good or ("skipped", "no_members")


DOCUMENT = st.fixed_dictionaries(
    {"parts": st.dictionaries(st.sampled_from(["x", "xy", "z"]), st.integers(0, 9), max_size=3)},
    optional={"weight": st.integers(0, 9), "closed": st.just(True)},
)
GIVEN = st.dictionaries(st.sampled_from("abc"), DOCUMENT, min_size=1, max_size=3)
MOVES = st.one_of(
    st.tuples(st.just("documents"), GIVEN),
    st.tuples(st.just("documents"), GIVEN),
    st.tuples(st.just("become"), st.builds(Settings, st.sampled_from(["", "x"]), st.integers(0, 1), st.integers(0, 1))),
    st.tuples(st.just("work"), st.integers(1, 3)),
    st.tuples(st.just("lose"), st.just(0)),
    st.tuples(st.just("restart"), st.just(0)),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("retry"), st.integers(0, 9)),
)


class Library:
    """A lab with documents to which things happen."""

    def __init__(self, missing: str) -> None:
        self.settings = Settings(missing=missing)
        self.lab = Lab(self.settings.pipeline(), in_flight=2)
        self.documents: dict[str, dict[str, Value]] = {}
        self.jobs: list[str] = []

    def documents_come(self, given: dict[str, dict[str, Value]]) -> None:
        """Documents are new, or others than before."""
        self.documents |= given
        rows = [
            record(i, fields={**d, "parts": [f"{name}:{n}" for name, n in d["parts"].items()]})
            for i, d in given.items()
        ]
        self.jobs.append(self.lab.open(rows, page=2))

    def happen(self, move: str, argument: Value) -> None:
        """One thing happens."""
        lab = self.lab
        if move == "documents":
            self.documents_come(argument)
        elif move == "become":
            self.settings = Settings(argument.only, argument.add, argument.salt, self.settings.missing)
            lab.declare(self.settings.pipeline())
            self.jobs.append(lab.open())
        elif move == "work":
            for _ in range(argument):
                lab.step()
                lab.work(limit=2)
        elif move == "lose":
            for topic in [*lab.topics(), ANSWERS]:
                lab.bus.acknowledge(lab.bus.take([topic], limit=2))
            lab.lapse()
        elif move == "restart":
            lab.restart()
        else:
            self.end_or_begin_again(move, argument)

    def end_or_begin_again(self, move: str, number: int) -> None:
        """A job is cancelled while it works, or retried after it ended."""
        wanted = [job for job in self.jobs if self.lab.job(job).state.ended is (move == "retry")]
        if wanted and move == "cancel":
            self.lab.cancel(wanted[number % len(wanted)])
        elif wanted:
            job = wanted[number % len(wanted)]
            try:
                self.lab.retry(job)
            except UsageError:
                assert self.lab.counts(job).failed + self.lab.counts(job).cancelled == 0

    def found(self) -> dict[str, Value]:
        """What stands: of documents, of parts by document and name, and of groups."""
        lab = self.lab
        said = lab.values("part", collection="parts")
        return {
            "weigh": lab.values("weigh"),
            "part": [(child["name"], said.get(key)) for key, child in lab.children("parts").items()],
            "all": {i: _sorted(one) for i, one in lab.values("all").items()},
            "named": {i: _sorted(one) for i, one in lab.values("named", collection="names").items()},
            "last": lab.values("last"),
        }

    def expected(self) -> dict[str, Value]:
        """The same, worked out from scratch; names that no part has any more say so."""
        now = self.settings
        parts = {i: now.parts(document) for i, document in self.documents.items()}
        groups = {i: now.gathered(list(said.values())) for i, said in parts.items()}
        named = {
            name: now.gathered([said[name] for said in parts.values() if name in said])
            for name in self.lab.values("named", collection="names")
        }
        return {
            "weigh": {i: now.weigh(document) for i, document in self.documents.items()},
            "part": [(name, value) for said in parts.values() for name, value in said.items()],
            "all": groups,
            "named": named,
            "last": {i: _last(one) for i, one in groups.items()},
        }


def _sorted(value: Value) -> Value:
    return sorted(value["all"]) if isinstance(value, dict) else value


def _last(group: Value) -> Value:
    if isinstance(group, list):
        return {"value": sum(group)}
    return ("failed", "UPSTREAM_FAILED", "all") if group[0] == "failed" else ("skipped", "upstream all skipped")


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(["run", "fail"]), GIVEN, st.lists(MOVES, max_size=8))
def test_families_are_what_they_would_be_from_scratch(
    missing: str, first: dict[str, dict[str, Value]], moves: list[tuple[str, Value]]
) -> None:
    """Children, groups and what reads them are right after any history, and a further run infers nothing."""
    library = Library(missing)
    library.documents_come(first)
    for move, argument in moves:
        library.happen(move, argument)

    library.jobs.append(library.lab.open())
    library.lab.drain()

    lab = library.lab
    found, expected = library.found(), library.expected()
    found["part"] = sorted(map(repr, found["part"]))
    expected["part"] = sorted(map(repr, expected["part"]))
    assert found == expected
    names = {name for document in library.documents.values() for name in library.settings.parts(document)}
    assert names <= set(found["named"])
    assert lab.unsound() == []
    assert all(lab.job(job).state.ended for job in library.jobs)
    lab.inferred()
    again = lab.run()
    assert (again.inferred, lab.inferred()) == (0, {})
