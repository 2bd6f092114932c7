"""What every test shares: the real data folder, services, and one way to draw examples."""

import gc
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parent.parent
IN_CI = bool(os.environ.get("CI"))

# A shell ignores SIGINT on behalf of what it starts in the background, and so would every process of a test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# In CI the same examples every time, so that a red build is red again; a laptop explores.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("laptop", deadline=None)
settings.load_profile("ci" if IN_CI else "laptop")


def shorten_log_lines() -> None:
    """Have log lines as short as can be: their usual form draws every local of a traceback, for half a minute."""
    structlog.reset_defaults()
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])


@pytest.fixture(autouse=True, scope="session")
def _short_log_lines() -> Iterator[None]:
    """What no command has configured is logged in short lines."""
    shorten_log_lines()
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def _own_garbage_alone(request: pytest.FixtureRequest) -> Iterator[None]:
    """
    Where a test holds a promise in seconds, the collector looks at that test's own objects alone.

    To look through what thousands of collected tests and all libraries left here takes the better part of a second.
    """
    if request.node.get_closest_marker("timed") is None:
        yield
        return
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of this clone."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data: LIMNER_TEST_DATA, or ../shared/data; skips where there is none."""
    folder = Path(os.environ.get("LIMNER_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("no folder of real data beside this clone")
    return folder


def address_of_service(name: str, *, environ: dict[str, str], in_ci: bool) -> str:
    """
    The address of a running service, from LIMNER_TEST_<NAME>.

    Where it is not set the test is skipped on a laptop and fails in CI, so that no backend goes untested unseen.
    """
    variable = f"LIMNER_TEST_{name.upper()}"
    address = environ.get(variable)
    if address:
        return address
    sentence = f"{name} is not running: {variable} holds no address"
    if in_ci:
        pytest.fail(sentence)
    pytest.skip(sentence)


@pytest.fixture(scope="session")
def require_service() -> Callable[[str], str]:
    """Call with a service's name (``require_service("postgresql")``) to have its address, or not run."""
    return lambda name: address_of_service(name, environ=dict(os.environ), in_ci=IN_CI)
