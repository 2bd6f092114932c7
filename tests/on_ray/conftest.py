"""What tests on Ray share: a cluster of two nodes, started once."""

from collections.abc import Iterator

import pytest

from tests.on_ray.local_ray import LocalRay, ray_here


@pytest.fixture(scope="session")
def local_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRay]:
    """A Ray of two nodes; skips where Ray cannot be had, and fails in CI."""
    with ray_here(tmp_path_factory.mktemp("ray")) as made:
        made.add()
        yield made
