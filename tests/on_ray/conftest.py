"""What tests on Ray share: a cluster of two nodes, started once."""

from collections.abc import Iterator

import pytest

from tests.conftest import IN_CI
from tests.fetched import Missing
from tests.on_ray.local_ray import LocalRay


@pytest.fixture(scope="session")
def local_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRay]:
    """A Ray of two nodes; skips where Ray cannot be had, and fails in CI."""
    try:
        made = LocalRay(tmp_path_factory.mktemp("ray"))
    except Missing as missing:
        if IN_CI:
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    with made:
        made.add()
        yield made
