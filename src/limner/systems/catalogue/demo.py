"""The catalogue end to end on invented works: drawn, inferred, trained, planned, searched, audited, explained."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from time import perf_counter
from typing import TypeAlias

from limner.app.app import App
from limner.app.auditing import CLASSES
from limner.app.running import Summary
from limner.search.base import Page
from limner.systems.catalogue import plates
from limner.systems.catalogue.plates import INKS, Drawn

Say: TypeAlias = Callable[[str], None]

#: With two re-photographs of each; a gate wants 200 vectors to train on and 200 to judge by.
_PLATES = 145
_SEED = 2026
_COLOUR = "turquoise"
_WORDS, _COLOUR_OF_WORDS = "botany flower", "lemon yellow"
_HITS = 3


def demo(app: App, say: Say) -> None:
    """Run the catalogue over pictures that are drawn here, in the folder of *app*; needs no network."""
    started = perf_counter()
    folder = app.project.folder
    drawn, broken = _draw(folder, say)
    _infer(app, folder, say)
    _retrain(app, say)
    _search(app, drawn, say)
    _look(app, drawn, broken=broken, say=say)
    say("")
    say(f"All of that took {perf_counter() - started:.0f} s. Pictures: {folder / 'pictures'}")
    say(f"Results, index and models: {folder / '.limner'}")
    _try_next(drawn, folder, say)


def _draw(folder: Path, say: Say) -> tuple[Drawn, str]:
    """Pictures and works in files, one picture cut in half; its id."""
    _title(say, "An invented library")
    drawn = plates.draw(folder / "pictures", count=_PLATES, seed=_SEED)
    cut = drawn.pictures[100]
    cut.path.write_bytes(cut.path.read_bytes()[:2000])
    _write(folder / "works.jsonl", (work.fields() for work in drawn.works))
    _write(folder / "images.jsonl", (picture.fields() for picture in drawn.pictures))
    say(f"  drew {len(drawn.pictures)} pictures of {len(drawn.works)} works, and cut one of them in half: {cut.id}")
    return drawn, cut.id


def _infer(app: App, folder: Path, say: Say) -> None:
    _title(say, "limner run catalogue images.jsonl")
    app.run("catalogue", folder / "works.jsonl", collection="works")
    summary = app.run("catalogue", folder / "images.jsonl")
    _say_summary(say, summary)
    for failure in app.failures(summary.job)[:1]:
        say(f"  {failure.id} failed in {failure.stage}: {failure.code}, tried {failure.attempts} times")


def _retrain(app: App, say: Say) -> None:
    _title(say, "limner train catalogue.codes --seed 1")
    trained = app.train("catalogue.codes", seed=1)
    recall = trained.metrics["recall_rescored"]
    model = f"{trained.version.name}@{trained.version.number}"
    say(f"  {model} learned from stored features; of the true ten nearest it finds {recall:.0%}: {trained.alias}")
    _title(say, "limner plan catalogue")
    plan = app.plan("catalogue")
    stale = ", ".join(f"{name} {stage.stale}" for name, stage in plan.stages.items())
    say(f"  to infer: {stale}; pictures to fetch: {plan.downloads}")
    _title(say, "limner run catalogue")
    _say_summary(say, app.run("catalogue"))


def _search(app: App, drawn: Drawn, say: Say) -> None:
    titles = {picture.id: picture.title for picture in drawn.pictures}
    like = drawn.pictures[0].id
    colour = _hex(_COLOUR)
    _title(say, f"limner search images --by colour={colour}      ({_COLOUR})")
    _say_hits(say, app.search("images", by={"colour": colour}, limit=_HITS), titles)
    _title(say, f"limner search images --similar {like}      ({titles[like]})")
    _say_hits(say, app.search("images", similar=like, limit=_HITS), titles)
    colour = _hex(_COLOUR_OF_WORDS)
    _title(say, f'limner search images "{_WORDS}" --by colour={colour} --where licence=pdm      ({_COLOUR_OF_WORDS})')
    both = app.search("images", _WORDS, by={"colour": colour}, where=["licence=pdm"], limit=_HITS)
    _say_hits(say, both, titles)


def _look(app: App, drawn: Drawn, *, broken: str, say: Say) -> None:
    _title(say, "limner audit catalogue")
    audit = app.audit("catalogue")
    say("  " + ", ".join(f"{name} {audit.classes[name].count}" for name in CLASSES))
    known = f"  the one gap is {broken}" if audit.classes["failed"].ids == [broken] else "  look at each by its id"
    say(f"{known}: mend the file, then `limner retry`")
    one = drawn.pictures[0].id
    _title(say, f"limner why images {one} --stage codes")
    (origin, *_) = app.why("images", one, stage="codes").origins
    say(f"  {origin.stage}/{origin.implementation} by {origin.model}, sha256 {(origin.model_digest or '')[:12]}…")
    say(f"  version {origin.version[:12]}…, input {origin.input_digest[:12]}…, worker {origin.worker}")


def _try_next(drawn: Drawn, folder: Path, say: Say) -> None:
    like = drawn.pictures[-1].id
    say("")
    say(f"Three things to try in {folder.name}:")
    say(f"  limner search images --similar {like} --on palette.vector")
    say(f"  limner why images {like}")
    say("  limner export images --to images.parquet")


def _title(say: Say, text: str) -> None:
    say("")
    say(text)


def _say_summary(say: Say, summary: Summary) -> None:
    say(
        f"  {summary.done} done, {summary.failed} failed, of {summary.records} pictures; "
        f"{summary.inferred} values inferred, {summary.reused} kept, in {summary.seconds:.1f} s"
    )


def _say_hits(say: Say, page: Page, titles: Mapping[str, str]) -> None:
    for hit in page.hits:
        say(f"  {hit.score or 0.0:.3f}  {hit.id:18} {titles[hit.id]}")


def _hex(ink: str) -> str:
    return "".join(f"{channel:02x}" for channel in INKS[ink])


def _write(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
