"""Q5: what a change makes stale runs again, and nothing else; the plan says so before."""

from collections import Counter
from pathlib import Path

from limner.app.app import App
from limner.systems.catalogue import features_model
from tests.systems.catalogue.conftest import Library, with_codes


def tasks(app: App) -> dict[tuple[str, str], int | None]:
    """The task that made each current value, by stage and id."""
    found = {}
    for collection in ("images", "works"):
        for row in app.records(collection):
            for origin in app.why(collection, row.record.id).origins:
                if origin.active:
                    found[origin.stage, row.record.id] = origin.task
    return found


def inferred(before: dict[tuple[str, str], int | None], after: dict[tuple[str, str], int | None]) -> dict[str, int]:
    """How many values of each stage were inferred between two looks."""
    return dict(Counter(stage for (stage, identity), task in after.items() if before.get((stage, identity)) != task))


def stale(app: App) -> dict[str, int]:
    """What a run would infer, by stage."""
    return {name: stage.stale for name, stage in app.plan("catalogue").stages.items() if stage.stale}


def test_t4_retrained_codes_fetch_nothing(coded: Library) -> None:
    """Codes trained again: codes of all, nothing else, no download, and the image server is not asked."""
    # given
    count, asked = len(coded.ids), coded.server.total()
    with coded.project.open() as app:
        before = tasks(app)
        with_codes(app, seed=2)

        # when
        plan = app.plan("catalogue")
        summary = app.run("catalogue")
        after = tasks(app)

    # then
    assert {name: stage.stale for name, stage in plan.stages.items() if stage.stale} == {"codes": count}
    assert plan.downloads == 0
    assert plan.stages["codes"].seconds is not None
    assert summary.inferred == count
    assert inferred(before, after) == {"codes": count}
    assert coded.server.total() == asked


def test_d6_roll_back_uses_stored_results_again(coded: Library) -> None:
    """After a roll-back the codes of the version before are current again, and nothing is inferred."""
    # given
    with coded.project.open() as app:
        first = {row.record.id: row.values["codes"]["code"] for row in app.records("images")}
        with_codes(app, seed=2)
        app.run("catalogue")
        second = {row.record.id: row.values["codes"]["code"] for row in app.records("images")}

        # when
        app.registry.rollback("codes", by="a test")
        summary = app.run("catalogue")
        back = {row.record.id: row.values["codes"]["code"] for row in app.records("images")}

    # then
    assert summary.inferred == 0
    assert back == first != second


def test_q5_features_model_changed(coded: Library) -> None:
    """A new features model: all features, then the codes of vectors that changed; other stages none; none fetched."""
    # given
    count, asked = len(coded.ids), coded.server.total()
    with coded.project.open() as app:
        before = tasks(app)
        trained = app.train("catalogue.features", seed=5, parameters={"dims": 16})
        app.registry.promote(f"features@{trained.version.number}", by="a test")

        # when
        planned = stale(app)
        app.run("catalogue")
        after = tasks(app)

    # then
    assert planned == {"features": count}
    changed = inferred(before, after)
    assert changed["features"] == count
    assert "palette" not in changed
    assert "aspect_ratio" not in changed
    assert changed["codes"] == count
    assert coded.server.total() == asked


def test_q5_features_model_that_says_the_same(coded: Library) -> None:
    """A features model with another digest and the same vectors stops there: no code is made again."""
    # given
    shipped = Path(features_model.__file__).parent / "data" / "features.onnx"
    with coded.project.open() as app:
        version = app.registry.add("features", shipped, manifest={"note": "the same file under another name"})
        app.registry.promote(f"features@{version.number}", by="a test")
        before = tasks(app)

        # when
        app.run("catalogue")
        after = tasks(app)

    # then
    assert inferred(before, after) == {"features": len(coded.ids)}


def test_q5_palette_changed(coded: Library) -> None:
    """Other noise in the palette: palettes, and the summaries that read them; fetched is what was not kept."""
    # given
    coded.project.edit('"noise_std": 30.0', '"noise_std": 25.0')
    count = len(coded.ids)
    with coded.project.open() as app:
        before = tasks(app)

        # when
        kept = app.plan("catalogue")
        for file in (coded.project.folder / ".limner/cache").rglob("*"):
            if file.is_file():
                file.unlink()
        gone = app.plan("catalogue")
        app.run("catalogue")
        after = tasks(app)

    # then
    assert {name: stage.stale for name, stage in kept.stages.items() if stage.stale} == {"palette": count}
    assert (kept.downloads, gone.downloads) == (0, count)
    assert inferred(before, after) == {"palette": count, "work_summary": len(coded.drawn.works)}


def test_q5_query_and_index_infer_nothing(coded: Library) -> None:
    """Another query blur, another weight, an index built anew: nothing is inferred, nothing is fetched."""
    # given
    asked = coded.server.total()
    coded.project.edit(
        'encode="limner.systems.catalogue.palette:colour")',
        'encode="limner.systems.catalogue.palette:colour", params={"query_blur": 24.0})',
    )
    coded.project.edit('"contributors": 100', '"contributors": 50')

    # when
    with coded.project.open() as app:
        planned = stale(app)
        summary = app.run("catalogue")
        app.reindex("catalogue")
        audit = app.audit("catalogue")

    # then
    assert planned == {}
    assert summary.inferred == 0
    assert audit.clean
    assert coded.server.total() == asked


def test_q5_title_of_a_work_changed(coded: Library) -> None:
    """A work's new title is found on its images, and nothing is inferred."""
    # given
    work = coded.drawn.works[0]
    images = {picture.id for picture in coded.drawn.pictures if picture.work == work.id}
    changed = {**work.fields(), "title": "Quincunx", "modifiedTime": "2027-01-01T00:00:00Z"}
    source = coded.project.records([changed], name="changed.jsonl")

    # when
    with coded.project.open() as app:
        summary = app.run("catalogue", source, collection="works")
        found = {hit.id for hit in app.search("images", "quincunx", limit=50).hits}

    # then
    assert summary.inferred == 0
    assert found == images


def test_t5_second_full_run_and_new_index(coded: Library) -> None:
    """A second full run and a new, empty index call no inferrer and fetch nothing."""
    # given
    asked = coded.server.total()

    # when
    with coded.project.open() as app:
        full = app.run("catalogue", coded.project.folder / "images.jsonl", full=True)
        before = app.search("images", similar=coded.ids[0]).hits
    with coded.project.open(index="sqlite:.limner/another") as app:
        again = app.run("catalogue")
        after = app.search("images", similar=coded.ids[0]).hits

    # then
    assert (full.inferred, again.inferred) == (0, 0)
    assert after == before
    assert coded.server.total() == asked


def test_q5_bytes_of_one_picture_changed(coded: Library) -> None:
    """Other bytes behind one address: one of each stage, the work's summary, one download."""
    # given
    one = coded.drawn.pictures[0]
    coded.pictures[one.path.name] = coded.pictures[coded.drawn.pictures[-1].path.name]
    asked = coded.server.total()
    with coded.project.open() as app:
        before = tasks(app)

        # when
        app.run("catalogue", coded.source(moved=one.id))
        after = tasks(app)

    # then
    assert inferred(before, after) == {"palette": 1, "features": 1, "aspect_ratio": 1, "codes": 1, "work_summary": 1}
    assert coded.server.total() - asked == 1


def test_q5_newer_record_with_the_same_bytes(coded: Library) -> None:
    """A newer record whose picture has the same bytes is looked at once and infers nothing."""
    # given
    one = coded.drawn.pictures[0]
    asked = coded.server.total()

    # when
    with coded.project.open() as app:
        summary = app.run("catalogue", coded.source(moved=one.id))

    # then
    assert summary.inferred == 0
    assert coded.server.total() - asked == 1


def test_w1_one_image_fails_and_only_its_work_is_summarised_again(coded: Library) -> None:
    """When one image of a work fails, only that work's summary is made again, and `missing` says 1."""
    # given
    by_work = Counter(picture.work for picture in coded.drawn.pictures)
    work = next(name for name, count in by_work.items() if count > 1)
    one = next(picture for picture in coded.drawn.pictures if picture.work == work)
    coded.pictures[one.path.name] = b"\x89PNG\r\n\x1a\n" + b"damaged" * 9 + b"IEND\xaeB`\x82"
    with coded.project.open() as app:
        before = tasks(app)

        # when
        summary = app.run("catalogue", coded.source(moved=one.id))
        after = tasks(app)
        (origin,) = [o for o in app.why("works", work, stage="work_summary").origins if o.active]
        values = {row.record.id: row.values["work_summary"] for row in app.records("works")}

    # then
    assert summary.failed == 1
    assert origin.status == "done"
    assert (values[work]["images"], values[work]["missing"]) == (by_work[work], 1)
    made = {i for (stage, i), task in after.items() if stage == "work_summary" and before[stage, i] != task}
    assert made == {work}
