"""IIIF addresses: a picture of useful size is asked for, with its ratio kept."""

import pytest

from limner.systems.catalogue.iiif import resolve


def test_iiif_not_squashed() -> None:
    """The description's address becomes that of a picture of at most 400 pixels whose ratio is kept."""
    # when
    found = resolve("https://iiif.example.org/image/B0010784/info.json")

    # then
    assert found == "https://iiif.example.org/image/B0010784/full/!400,400/0/default.jpg"


def test_dlcs_serves_thumbnails() -> None:
    """On a dlcs host the thumbnail service is asked, which does not load the image server."""
    # when
    found = resolve("https://dlcs.example.org/iiif-img/2/8/B0010784/info.json")

    # then
    assert found == "https://dlcs.example.org/thumbs/2/8/B0010784/full/!400,400/0/default.jpg"


@pytest.mark.parametrize(
    "address",
    [
        "https://iiif.example.org/image/1/full/200,/0/default.jpg",
        "https://example.org/iiif-img/plate.jpg",
        "https://example.org/notinfo.json",
        "https://dlcs.example.org/iiif-img/plate.jpg",
        "file:///pictures/info.json",
        "/pictures/info.json",
    ],
)
def test_other_addresses_stay(address: str) -> None:
    """An address that is no IIIF description is fetched as it stands."""
    assert resolve(address) == address
