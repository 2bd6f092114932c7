"""The page on HTTP names every route, and no route that there is not; every metric too."""

import re

import pytest

from limner.api.app import STATUSES, create
from limner.api.metrics import metrics_of
from limner.app.projects import Projects
from limner.settings import load_project
from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "http.md"
ROUTE = re.compile(r"^\| `(GET|PUT|POST|DELETE|PATCH) (/[^` ]*)` \|", re.MULTILINE)


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Projects:
    """A project that declares the catalogue's pipeline, so that its routes are mounted."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "pipeline.py").write_text("from limner.systems.catalogue.pipeline import pipeline\n", encoding="utf-8")
    return Projects(load_project(folder, environment={}))


def test_routes_are_documented(projects: Projects) -> None:
    """The tables of the page and the OpenAPI document hold the same routes."""
    # given
    paths = create(projects).openapi()["paths"]
    served = {(method.upper(), path) for path, item in paths.items() for method in item}

    # when
    documented = set(ROUTE.findall(PAGE.read_text(encoding="utf-8")))

    # then
    assert served - documented == set()
    assert documented - served == set()


def test_metrics_are_documented(projects: Projects) -> None:
    """Every figure that Prometheus is given stands on the page."""
    # given
    names = set(re.findall(r"^# TYPE (\w+)", metrics_of(projects).decode(), flags=re.MULTILINE))

    # when
    page = PAGE.read_text(encoding="utf-8")

    # then
    assert names
    assert [name for name in sorted(names) if name not in page] == []


def test_statuses_are_documented() -> None:
    """Every status that a problem may have stands on the page."""
    page = PAGE.read_text(encoding="utf-8")
    assert [status for status in STATUSES if str(status) not in page and status not in (405, 504)] == []
