"""A2, M17, I12, I6 and the rest of D: foreign shapes in and out, absent stays absent, odd pictures, any ONNX model."""

import json
from pathlib import Path

import numpy as np
import pytest

from limner.systems.catalogue import odd_pictures
from tests.inferrers.onnx_models import picture_model, wide_picture_model
from tests.systems.catalogue.acceptance.test_d_inferrers import add_sharpness
from tests.systems.catalogue.conftest import Library
from tests.systems.catalogue.projects import CatalogueProject, from_template, limner


def only_given_ratios(folder: Path) -> CatalogueProject:
    """A new project that infers nothing: it takes the ratios that records bring along."""
    project = from_template(folder)
    text = project.pipeline.read_text()
    head, _, _ = text.partition("pipeline = Pipeline(")
    project.pipeline.write_text(
        f"""{head}given = Stage(
    "aspect_ratio",
    infer="given",
    params={{"source": "a test"}},
    reads={{"ratio": "given.aspect_ratio"}},
    outputs={{"value": Number(above=0)}},
)
pipeline = Pipeline("catalogue", collection="images", stages=[given], index=Index(text=["parent.title"]))
"""
    )
    return project


def test_d3_fourth_inferrer_is_searched(copied: Library) -> None:
    """The vector and the word of a new stage are searched by the command line without another edit."""
    # given
    add_sharpness(copied.project)
    one = copied.ids[0]

    # when
    ran = limner(copied.project, "run", "catalogue", "--json")
    alike = limner(copied.project, "search", "images", "--on", "sharpness.vector", "--similar", one, "--json")
    sharp = limner(copied.project, "search", "images", "--where", "sharpness.word=sharp", "-n", "100", "--json")
    why = limner(copied.project, "why", "images", one, "--stage", "sharpness", "--json")
    with copied.project.open() as app:
        words = {row.record.id: row.values["sharpness"]["word"] for row in app.records("images")}

    # then
    assert [done.returncode for done in (ran, alike, sharp, why)] == [0, 0, 0, 0], alike.stderr
    assert json.loads(ran.stdout)["inferred"] == len(copied.ids)
    assert one not in [hit["id"] for hit in json.loads(alike.stdout)["hits"]]
    assert {h["id"] for h in json.loads(sharp.stdout)["hits"]} == {i for i, word in words.items() if word == "sharp"}
    assert json.loads(why.stdout)["origins"][0]["stage"] == "sharpness"


def test_m8_exit_status(cat: CatalogueProject) -> None:
    """A run with a failure ends with status 1, a scope without records and an unknown pipeline with 2."""
    # given
    cat.write(
        "stubs.py",
        """\
        def odd(number: int) -> dict:
            if number == 2:
                raise ValueError("it is two")
            return {"number": number}
        """,
    )
    cat.stages('Stage("odd", infer="stubs:odd", reads={"number": "number"})')
    cat.records([{"id": str(n), "number": n} for n in range(3)])

    # when
    some = limner(cat, "run", "catalogue", "records.jsonl")
    failures = limner(cat, "failures", "--json")
    empty = limner(cat, "run", "catalogue", "--since", "2030-01-01", "--until", "2031-01-01")
    unknown = limner(cat, "run", "catalog")

    # then
    assert some.returncode == 1
    assert "1 failed" in some.stdout + some.stderr
    assert [row["code"] for row in json.loads(failures.stdout)["failures"]] == ["MODEL_ERROR"]
    assert empty.returncode == unknown.returncode == 2
    assert "catalogue" in unknown.stderr


def test_i6_odd_pictures_end_as_they_must(tmp_path: Path) -> None:
    """Every odd but legal picture is done, every broken one fails with its code, and neighbours are spared."""
    # given
    project = from_template(tmp_path / "cat")
    made = odd_pictures.odd(tmp_path / "odd")

    # when
    with project.open() as app:
        summary = app.run("catalogue", tmp_path / "odd")
        codes = {row.id: row.code for row in app.failures(summary.job) if row.stage == "palette"}
        rows = {row.record.id: row.values for row in app.records("images")}

    # then
    assert codes == {odd.path.name: odd.end for odd in made if odd.end != "done"}
    for odd in made:
        if odd.end == "done":
            assert odd.width
            assert odd.height
            assert odd.average_color_hex
            values = rows[odd.path.name]
            assert values["aspect_ratio"]["value"] == pytest.approx(odd.width / odd.height, rel=1e-6)
            assert far(values["palette"]["average_color_hex"], odd.average_color_hex) <= 2


def far(one: str, other: str) -> int:
    """The largest difference of two colours in any channel."""
    pairs = ((int(one[at : at + 2], 16), int(other[at : at + 2], 16)) for at in (1, 3, 5))
    return max(abs(a - b) for a, b in pairs)


@pytest.mark.slow
def test_i12_any_onnx_model(copied: Library) -> None:
    """Models of a fixed batch, of 4096 numbers and of either layout serve; the index follows their length."""
    # given
    folder = copied.project.folder
    made = {
        "fixed": (picture_model(folder / "fixed.onnx", batch=2), '{"input": {"size": [8, 8], "resize": "squash"}}'),
        "wide": (
            wide_picture_model(folder / "wide.onnx", dims=4096),
            '{"input": {"size": [8, 8], "resize": "squash"}}',
        ),
        "channels last": (
            picture_model(folder / "last.onnx", layout="NHWC"),
            '{"input": {"size": [8, 8], "resize": "squash", "layout": "NHWC"}}',
        ),
    }
    lengths = {}
    for name, (file, preprocess) in made.items():
        # when
        with copied.project.open() as app:
            version = app.registry.add("features", file, preprocess=preprocess, licence="CC0-1.0")
            app.registry.promote(f"features@{version.number}", by="a test")
            summary = app.run("catalogue")
            (row, *_) = app.records("images")
            found = app.search("images", similar=copied.ids[0], limit=3)
        lengths[name] = (len(row.values["features"]["vector"]), summary.failed, len(found.hits))

    # then
    assert lengths["wide"] == (4096, 0, 3)
    assert lengths["fixed"][1:] == lengths["channels last"][1:] == (0, 3)


def test_m17_absent_stays_absent(tmp_path: Path) -> None:
    """An image without a picture is found by its text, and no door invents a ratio or a colour for it."""
    # given
    project = from_template(tmp_path / "cat")
    works = project.records([{"id": "w", "title": "Quincunx gardens"}], name="works.jsonl")
    images = project.records([{"id": "i", "parent": "w", "licence": "pdm"}], name="images.jsonl")

    # when
    with project.open() as app:
        app.run("catalogue", works, collection="works")
        summary = app.run("catalogue", images)
        found = app.search("images", "quincunx")
        app.export("images", project.folder / "indexed.jsonl", shape="indexed")
        whys = {origin.stage: origin.explanation for origin in app.why("images", "i").origins}
    document = json.loads((project.folder / "indexed.jsonl").read_text())

    # then
    assert (summary.skipped, summary.failed) == (1, 0)
    assert whys["palette"] == whys["features"] == whys["aspect_ratio"] == "no_picture"
    assert [hit.id for hit in found.hits] == ["i"]
    assert not {path for path in found.hits[0].fields if path.startswith(("palette", "aspect_ratio"))}
    assert not {"averageColor", "aspectRatio"} & set(document["display"])
    assert document["vectorValues"] == {"features": [], "paletteEmbedding": []}


@pytest.mark.real_data
def test_m17_real_document_without_inferred_data(cat: CatalogueProject, shared_data: Path) -> None:
    """The library's own document without inferred data keeps its fillers out of the index."""
    # given
    file = shared_data / "catalogue" / "images.inferred-data.none.json"
    title = json.loads(file.read_text())["document"]["display"]["source"]["title"]
    # Its picture is nobody's to fetch here, so only what the record brought along is asked for.
    project = only_given_ratios(cat.folder / "given")

    # when
    with project.open() as app:
        summary = app.run("catalogue", file, shape="indexed")
        found = app.search("images", title)

    # then
    assert summary.failed == 0
    assert [hit.id for hit in found.hits] == ["tc3wxz6j"]
    assert "aspect_ratio.value" not in found.hits[0].fields


def test_a2_augmented_and_indexed_go_round(copied: Library) -> None:
    """What leaves as indexed comes back as it left, vectors and all."""
    # given
    out = copied.project.folder / "indexed.jsonl"
    with copied.project.open() as app:
        count = app.export("images", out, shape="indexed")
    fresh = only_given_ratios(copied.project.folder / "fresh")

    # when
    with fresh.open() as app:
        app.run("catalogue", out, shape="indexed")
        given = {row.record.id: row.record.fields["given"] for row in app.records("images")}
    with copied.project.open() as app:
        inferred = {row.record.id: row.values for row in app.records("images")}

    # then
    assert count == len(copied.ids)
    assert set(given) == set(inferred)
    for identity, brought in given.items():
        assert np.array_equal(np.float32(brought["features"]["vector"]), inferred[identity]["features"]["vector"])
        assert np.array_equal(np.float32(brought["palette"]["vector"]), inferred[identity]["palette"]["vector"])
        assert brought["aspect_ratio"]["value"] == inferred[identity]["aspect_ratio"]["value"]


def test_stages_by_policy(copied: Library) -> None:
    """Features only where a comparison of the address holds: the others are skipped with the reason `policy`."""
    # given
    allowed = copied.drawn.pictures[0].path.name
    copied.project.edit(
        '    model="features@champion",\n',
        f'    model="features@champion",\n    when=where("image_url", "matches", "/{allowed}$", reason="policy"),\n',
    )
    copied.project.edit("file, optional", "file, optional, where")

    # when
    with copied.project.open() as app:
        app.run("catalogue")
        explained = [app.why("images", identity, stage="features").origins[0].explanation for identity in copied.ids]

    # then
    assert explained == [None] + ["policy"] * (len(copied.ids) - 1)
