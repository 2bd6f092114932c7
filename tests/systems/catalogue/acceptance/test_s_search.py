"""S: words, filters, likeness and colour are one query over one index; a failure is an error, not an empty list."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.errors import SearchUnavailable, UsageError
from limner.systems.catalogue import plates
from limner.systems.catalogue.palette import colour
from tests.damage import damage_index
from tests.systems.catalogue.conftest import Library
from tests.systems.catalogue.projects import CatalogueProject, over_given_vectors, plain_picture


def test_s1_similar(library: Library) -> None:
    """Photographs of the same plate come first, the picture itself never, and a least score is kept."""
    # given
    original, *again = [picture.id for picture in library.drawn.pictures[:3]]

    # when
    with library.project.open() as app:
        page = app.search("images", similar=original, limit=5)
        alike = app.search("images", similar=original, min_score=0.5, limit=50)

    # then
    assert {hit.id for hit in page.hits[:2]} == set(again)
    assert original not in [hit.id for hit in page.hits]
    assert all(hit.score is not None and hit.score >= 0.5 for hit in alike.hits)


def test_s1_filter_is_kept_and_filled_up(library: Library) -> None:
    """With a filter, n answers come whenever n exist, all of them of that licence."""
    # given
    wanted = {picture.id for picture in library.drawn.pictures if picture.licence == "pdm"}
    one = library.ids[0]

    # when
    with library.project.open() as app:
        page = app.search("images", similar=one, where=["licence=pdm"], limit=len(library.ids))

    # then
    assert {hit.id for hit in page.hits} == wanted - {one}


def test_s1_file(library: Library, tmp_path: Path) -> None:
    """A new photograph of a plate finds that plate; nothing is stored for it."""
    # given
    photograph = tmp_path / "mine.jpg"
    plate = library.drawn.pictures[9]
    with Image.open(plate.path) as shot:
        photograph.write_bytes(plates.rephotograph(shot.convert("RGB"), random=random.Random(1)))

    # when
    with library.project.open() as app:
        page = app.search("images", file=photograph, limit=3)

    # then
    assert {hit.id.rpartition("-")[0] for hit in page.hits} == {plate.group}


def test_s2_colour_and_stable_pages(library: Library) -> None:
    """Pages of a search by colour fit together, the order is that of one product, and a bad colour is refused."""
    # given
    count = len(library.ids)
    query = colour("24a0a6")

    # when
    with library.project.open() as app:
        whole = [hit.id for hit in app.search("images", by={"colour": "24a0a6"}, limit=count).hits]
        pages = [
            hit.id
            for offset in range(0, count, 7)
            for hit in app.search("images", by={"colour": "24a0a6"}, limit=7, offset=offset).hits
        ]
        vectors = {row.record.id: row.values["palette"]["vector"] for row in app.records("images")}
        with pytest.raises(UsageError, match="six hex digits"):
            app.search("images", by={"colour": "2bff"})

    # then
    assert pages == whole
    assert set(whole) == set(library.ids)
    likeness = [float(np.dot(vectors[identity], query)) for identity in whole]
    assert likeness == sorted(likeness, reverse=True)


def test_s3_changed_bins_change_the_query(cat: CatalogueProject) -> None:
    """With other bins in the palette's parameters the colour query follows by itself."""
    # given
    cat.stages(
        """\
        Stage(
            "palette",
            infer="limner.systems.catalogue.palette:Palette",
            params={"bins": 6},
            reads={"image": file("image_url")},
            outputs={"vector": Vector(length=216, unit=True), "average_color_hex": Text()},
        ),
        """,
        index='Index(encoders={"colour": QueryEncoder(on="palette.vector", '
        'encode="limner.systems.catalogue.palette:colour")})',
    )
    pictures = cat.folder / "pictures"
    pictures.mkdir()
    for name, shade in {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200)}.items():
        (pictures / f"{name}.png").write_bytes(plain_picture(shade))

    # when
    with cat.open() as app:
        app.run("catalogue", pictures)
        found = [app.search("images", by={"colour": asked}).hits[0].id for asked in ("c81414", "14c814", "1414c8")]

    # then
    assert found == ["red.png", "green.png", "blue.png"]


def test_s4_one_query_equals_filtering_by_hand(library: Library) -> None:
    """Words, a filter, dates and likeness or colour in one request give what filtering by hand gives."""
    # given
    works = {work.id: work for work in library.drawn.works}
    one = library.drawn.pictures[0]
    words = one.title.split()[1] + " paper"
    since = works[one.work].production_dates[0]

    def fits(picture: plates.Picture) -> bool:
        work = works[picture.work]
        texts = " ".join([picture.title, work.title, work.description, *work.subjects, *work.contributors]).lower()
        return (
            picture.licence == one.licence
            and work.production_dates[0] >= since
            and all(word in texts for word in words.split())
        )

    wanted = {picture.id for picture in library.drawn.pictures if fits(picture)}
    where = [f"licence={one.licence}", f"parent.production_dates>={since}"]

    # when
    with library.project.open() as app:
        alike = app.search("images", words, similar=one.id, where=where, limit=100)
        everything = [hit.id for hit in app.search("images", similar=one.id, limit=100).hits]
        coloured = app.search("images", words, by={"colour": "e27a20"}, where=where, limit=100)
        by_colour = [hit.id for hit in app.search("images", by={"colour": "e27a20"}, limit=100).hits]

    # then
    assert 0 < len(wanted) < len(library.ids)
    assert [hit.id for hit in alike.hits] == [i for i in everything if i in wanted]
    assert [hit.id for hit in coloured.hits] == [i for i in by_colour if i in wanted]


def test_s6_backend_stopped_is_an_error(copied: Library) -> None:
    """An index that cannot be read is an error and never an empty list."""
    # given
    damage_index(copied.project.folder)

    # then
    with copied.project.open() as app, pytest.raises(SearchUnavailable):
        app.search("images", similar=copied.ids[0])


@pytest.mark.real_data
def test_s1_s2_orders_of_the_original(cat: CatalogueProject, shared_data: Path) -> None:
    """Vectors that the records bring along give the recorded orders, by likeness and by colour with words."""
    # given
    folder = shared_data / "catalogue"
    rows = [json.loads(line) for line in (folder / "real_images.jsonl").read_text().splitlines()]
    held = np.load(folder / "real_image_vectors.npz")
    for row in rows:
        place = list(held["fixture"]).index(row["fixture"])
        vectors = {"features": held["features"][place], "paletteEmbedding": held["palette"][place]}
        row["document"]["vectorValues"] = {name: vector.tolist() for name, vector in vectors.items()}
    expected = json.loads((folder / "expected.json").read_text())
    names = {row["id"]: row["fixture"] for row in rows}
    ids = {fixture: identity for identity, fixture in names.items()}
    cat.write("pipeline.py", over_given_vectors(filters='["licence"]', features="Vector(length=4096, unit=True)"))

    # when
    with cat.open() as app:
        summary = app.run("catalogue", cat.records(rows), shape="indexed")
        similar = [names[hit.id] for hit in app.search("images", similar=ids[expected["similar"]["image"]]).hits]
        orders = {
            (case["name"], kind): [
                names[hit.id] for hit in app.search("images", case["query"], by={kind: case["color"]}).hits
            ]
            for case in expected["colour_search"]
            for kind in ("colour", "colour-compat")
        }

    # then
    # Each row brings its work along.
    assert summary.done == 2 * len(rows)
    wanted = expected["similar"]["expected_order"]
    assert [name for name in similar if name in wanted] == wanted
    for case in expected["colour_search"]:
        for kind in ("colour", "colour-compat"):
            found = [name for name in orders[case["name"], kind] if name in case["candidates"]]
            assert found == case["expected_order"], (case["name"], kind)
