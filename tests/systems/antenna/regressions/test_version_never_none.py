"""An algorithm was called "None": whatever is told has a version, and none of its parts is empty."""

from collections.abc import Iterator

import pytest

from limner.domain.values import Value
from limner.systems.antenna.callback import body
from limner.systems.antenna.trap_pictures import TrapFrame
from limner.testing.picture_server import PictureServer
from tests.systems.antenna.trap import CLASSIFY, CROP, DETECT, FEATURES, TRACK, Trap, images_of


def versions_in(value: Value) -> Iterator[Value]:
    """Everything that stands under the name ``version``, however deep."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name == "version":
                yield item
            yield from versions_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from versions_in(item)


@pytest.mark.slow
def test_version_never_none(shared_trap: Trap, pictures: PictureServer, small_night: list[TrapFrame]) -> None:
    """Boxes, vectors, labels and steps in a callback all name algorithm, code and model, even where there is none."""
    # given
    images = [{**one, "id": f"version/{one['id']}"} for one in images_of(small_night[:2], url=pictures.url)]
    job = shared_trap.run(images, [DETECT, CROP, CLASSIFY, FEATURES, TRACK])

    # when
    with shared_trap.host.store.reading() as tx:
        captures = tx.records.find_collection("captures")
        assert captures is not None
        keys = list(tx.records.keys(captures, [f"traps:{image['id']}" for image in images]).values())
    told = list(versions_in(body(shared_trap.host, job, keys)))

    # then
    assert len(told) > 10
    for version in told:
        assert set(version) == {"algorithm", "apiVersion", "modelVersion"}
        assert all(isinstance(part, str) and part and part != "None" for part in version.values())
