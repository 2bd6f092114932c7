"""The ersilia system end to end on molecules that are made up: precalculated, looked up, run again, accounted for."""

from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TypeAlias

from limner.app.app import App
from limner.systems.ersilia.made_molecules import made_molecules
from limner.systems.ersilia.precalc.auditing import audit_library
from limner.systems.ersilia.precalc.nouns import Ask, Outcome
from limner.systems.ersilia.precalc.run import Precalc
from limner.systems.ersilia.predictions.connect import connect_own, predictions_url

Say: TypeAlias = Callable[[str], None]

_MODEL = "eos3b5e"
_MOLECULES, _MORE = 300, 20
#: Rows that are no new molecule: a repeat, another spelling of ethanol, an open ring, a blank, an atom that is none.
_DIRT = ("CCO", "OCC", "C1CC", '""', "Xx")
#: Ethanol and toluene, and a key that no molecule of the library has.
_KEYS = ("LFQSCWFLJHTTHZ-UHFFFAOYSA-N", "YXFVVABEGXRONW-UHFFFAOYSA-N", "AAAAAAAAAAAAAA-UHFFFAOYSA-N")


def demo(app: App, say: Say) -> None:
    """Precalculate a library that is made here, in the folder of *app*; needs no network."""
    started = perf_counter()
    library = app.project.folder / "library.csv"
    _title(say, "A library that is made up: chains, esters, amides, rings")
    _write(library, number=_MOLECULES)
    say(f"  {library.name}: {_MOLECULES} molecules, and {len(_DIRT)} rows that are no new molecule")
    ask = Ask(model=_MODEL, library=str(library), workers=2)
    _title(say, f"limner precalc {_MODEL} --library library.csv --workers 2")
    first = Precalc(app).run(ask)
    _say_outcome(say, first)
    _look_up(app, first, say)
    _write(library, number=_MOLECULES + _MORE)
    _title(say, f"limner precalc {_MODEL} --library library.csv --plan      ({_MORE} molecules more)")
    plan = Precalc(app).plan(ask)
    say(f"  to predict: {plan.predict} ({', '.join(f'{n} {reason}' for reason, n in plan.reasons.items())})")
    _title(say, f"limner precalc {_MODEL} --library library.csv --workers 2")
    _say_outcome(say, Precalc(app).run(ask))
    _title(say, "limner audit --library library.csv")
    for report in audit_library(app, library):
        say(f"  {report.about}: {'; '.join(report.problems) or 'every row is accounted for'}")
    say("")
    say(f"All of that took {perf_counter() - started:.0f} s. CSV, Parquet and metadata: {app.project.folder}")
    say("Try next: limner init --from ersilia FOLDER, and put a model package of your own into it.")


def _write(library: Path, *, number: int) -> None:
    rows = [*made_molecules(number), *_DIRT]
    library.write_text("".join(f"{row}\n" for row in ["smiles", *rows]), encoding="utf-8")


def _look_up(app: App, outcome: Outcome, say: Say) -> None:
    _title(say, "Looked up by key, in the order asked")
    table = connect_own(predictions_url(app.project))
    try:
        found = table.read(outcome.model, outcome.version, _KEYS)
    finally:
        table.close()
    for key in _KEYS:
        prediction = found.get(key)
        values = None if prediction is None else prediction.values
        say(f"  {key}  {'missing' if prediction is None or values is None else f'{prediction.smiles}  {values[0]}'}")


def _say_outcome(say: Say, outcome: Outcome) -> None:
    counts = outcome.counts
    repeats = counts.duplicate_row + counts.duplicate_key
    say(
        f"  {counts.rows} rows: {counts.stored} stored, {counts.failed} set aside, {repeats} repeats; "
        f"{outcome.inferred} predicted in {outcome.seconds:.1f} s by {outcome.version}"
    )
    if counts.reasons:
        say(f"  {', '.join(f'{n} {reason}' for reason, n in counts.reasons.items())}")


def _title(say: Say, text: str) -> None:
    say("")
    say(text)
