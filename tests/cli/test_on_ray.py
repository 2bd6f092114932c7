"""``limner worker --ray`` refuses what cannot be, before it looks for a cluster."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from limner.cli.root import MISUSED
from tests.cli.cases import limner

#: A Ray that would have to be found if the mistake were not.
RAY = ("--ray", "127.0.0.1:1")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--max", "3", "--of-project", "museum"), "--max, --of-project: only with --ray."),
        ((*RAY, "--min", "5", "--max", "3"), "--min 5 is more than --max 3."),
        ((*RAY, "--url", "amqp://guest@127.0.0.1:1"), "A broker does not know the backlog"),
        ((*RAY, "--url", "amqp://guest@127.0.0.1:1", "--backlog", "kafka://127.0.0.1:1"), "A broker does not know"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    """One sentence says which option is wrong, with status 2."""
    # when
    result = limner("worker", "--url", "http://127.0.0.1:1", *options, project=tmp_path)

    # then
    assert result.status == MISUSED
    assert said in result.err


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed here, which `make setup` does not do")
def test_without_ray_the_extra_is_named(tmp_path: Path) -> None:
    """Where Ray is not installed, the sentence says what to type."""
    # when
    result = limner("worker", "--url", "http://127.0.0.1:1", *RAY, project=tmp_path)

    # then
    assert result.status == MISUSED
    assert "pip install 'limner[ray]'" in result.err
