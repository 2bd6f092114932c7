"""What tests of the chart share: Helm's answers to every set of values, asked once."""

import pytest

from tests.conftest import IN_CI
from tests.deploy.helm import Answers, Rendered, ask
from tests.deploy.value_sets import BAD, GOOD
from tests.fetched import Missing


@pytest.fixture(scope="session")
def answers() -> Answers:
    """What became of every set; skips where Helm cannot be had, and fails in CI."""
    try:
        return ask({**GOOD, **BAD})
    except Missing as missing:
        if IN_CI:
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture(params=sorted(GOOD))
def rendered(request: pytest.FixtureRequest, answers: Answers) -> Rendered:
    """Each set that is good, rendered."""
    return answers.rendered[request.param]


@pytest.fixture
def cluster(answers: Answers) -> Rendered:
    """Three servers, workers by KEDA and workers without."""
    return answers.rendered["cluster"]


@pytest.fixture
def everything(answers: Answers) -> Rendered:
    """Every value set to something else than its default."""
    return answers.rendered["everything"]
