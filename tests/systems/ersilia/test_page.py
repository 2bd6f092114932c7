"""The pages in a real browser: a run is begun and watched, its shards and faults are seen, a molecule is looked up."""

from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import quote

import httpx
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.support.select import Select

from limner.testing.local_server import LocalServer
from tests.systems.ersilia.browser import Looking, chromium
from tests.systems.ersilia.door_server import MOLECULES, serving, token, write_project
from tests.waiting import until

#: A browser, a server and a model.
pytestmark = pytest.mark.slow
#: A run begins with processes of its own, which take their time where much else goes on.
_RUN = timedelta(seconds=110)
ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
LIBRARY = ["CCO", ASPIRIN, "C1CC", "<b>bold</b>", "CCO", *("C" * length for length in range(1, 20))]


@pytest.fixture(scope="module")
def driver() -> Iterator[Chrome]:
    """A browser."""
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server with a small library, in which some rows are no molecules."""
    folder = write_project(tmp_path_factory.mktemp("project"), pipeline=MOLECULES)
    (folder / "reference_library.csv").write_text("".join(f"{one}\n" for one in LIBRARY), encoding="utf-8")
    with serving(folder) as up:
        yield up


@pytest.fixture
def looking(driver: Chrome, server: LocalServer) -> Looking:
    """Somebody who looks."""
    driver.delete_all_cookies()
    driver.get("about:blank")
    found = Looking(driver, server)
    found.complaints()
    return found


@pytest.fixture(scope="module")
def job(driver: Chrome, server: LocalServer) -> str:
    """The job of a run that was begun by the form and has ended; its page was open all the time."""
    looking = Looking(driver, server)
    looking.open("/ersilia")
    Select(looking.one("#begin select")).select_by_visible_text("eos3b5e")
    workers = looking.one("#begin input[name=workers]")
    workers.clear()
    workers.send_keys("2")
    looking.click("#begin button")
    # The page shows itself anew, again and again, until nothing runs any more.
    until(lambda: [row[2] for row in looking.table("#runs")] in (["done_with_failures"], ["failed"]), within=_RUN)
    return looking.one("#runs a").text


def test_a_run_is_begun_and_watched(looking: Looking, job: str) -> None:
    """The form begins a run; the list shows how it ended, and nothing is missing on the page."""
    # when
    looking.open("/ersilia")

    # then
    (row,) = looking.table("#runs")
    assert row[:3] == ["eos3b5e", "reference_library.csv", "done_with_failures"]
    assert row[5:7] == ["21", "2"]
    assert row[8] == job
    assert looking.complaints() == []


def test_a_job_shows_its_shards(looking: Looking, job: str) -> None:
    """The page of a job has a line for each shard, and the counts of the library's rows."""
    looking.open(f"/ersilia/jobs/{job}")
    assert looking.table("#counts") == [[str(len(LIBRARY)), "21", "2", "0", "0", "1", "0"]]
    assert [row[:5] for row in looking.table("#shards")] == [
        ["1", "11", "ended", "11", "0"],
        ["2", "10", "ended", "10", "0"],
    ]
    assert looking.one("#state").text == "done_with_failures, published"
    assert looking.complaints() == []


def test_a_job_shows_the_rows_set_aside(looking: Looking, job: str) -> None:
    """Every row without prediction is there with its reason, and what it holds is shown as text, never as a page."""
    looking.open(f"/ersilia/jobs/{job}")
    assert [row[:3] for row in looking.table("#aside")] == [
        ["3", "C1CC", "bad_smiles"],
        ["4", "<b>bold</b>", "bad_smiles"],
    ]
    assert looking.all("#aside b") == []


def test_a_molecule_is_drawn_with_its_predictions(looking: Looking, job: str) -> None:
    """From a job to a molecule: its structure is drawn, and the model's values stand beside it."""
    # given
    looking.open(f"/ersilia/jobs/{job}")

    # when
    place = [link.text for link in looking.all("#molecules a")].index(ASPIRIN)
    looking.click(f"#molecules li:nth-child({place + 1}) a")

    # then
    assert looking.one("#smiles").text == ASPIRIN
    assert looking.one("#key").text == "BSYNRYMUTXBXSQ-UHFFFAOYSA-N"
    (name, weight), *others = looking.table("[data-model=eos3b5e] table")
    assert (name, others) == ("mol_weight", [])
    assert float(weight) == pytest.approx(180.159, abs=0.001)
    picture = looking.one("#drawing")
    assert looking.driver.execute_script("return arguments[0].complete && arguments[0].naturalWidth", picture) == 320
    assert looking.complaints() == []


def test_a_molecule_is_looked_up_by_any_spelling(looking: Looking, job: str) -> None:
    """What is typed as SMILES is identified: another spelling of aspirin is aspirin."""
    # given
    assert job
    looking.open("/ersilia")

    # when
    looking.one("#q").send_keys("OC(=O)c1ccccc1OC(C)=O")
    looking.click("#look-up")

    # then
    assert looking.one("#key").text == "BSYNRYMUTXBXSQ-UHFFFAOYSA-N"
    assert len(looking.all("[data-model=eos3b5e]")) == 1
    assert "eos5axz" in looking.one("#missing").text


@pytest.mark.parametrize("asked", ["no molecule", "<script>alert(1)</script>", "'; drop table predictions"])
def test_what_is_no_molecule_is_told(looking: Looking, asked: str) -> None:
    """A text that is no molecule is told as such, and shown as the text that it is."""
    looking.open(f"/ersilia/molecule?q={quote(asked)}")
    assert "bad_smiles" in looking.one("#problem").text
    assert looking.one("#smiles").text == asked
    assert looking.all("#drawing") == []


def test_a_form_that_is_filled_wrongly(looking: Looking, server: LocalServer) -> None:
    """What the form cannot begin is said in a sentence above it, and nothing is begun."""
    # given
    before = len(server.client.get("/api/v1/precalc").json()["items"])
    looking.open("/ersilia")

    # when
    looking.one("#begin input[name=sample]").send_keys("many")
    looking.click("#begin button")

    # then
    assert "sample" in looking.one("#problem").text
    assert len(server.client.get("/api/v1/precalc").json()["items"]) == before


def test_forms_of_other_pages_begin_nothing(server: LocalServer) -> None:
    """A page of another server cannot have a visitor's browser begin a run, nor enter a token."""
    for path in ("/ersilia/runs", "/ersilia/token"):
        headers = {"origin": "https://elsewhere.example"}
        answer = server.client.post(path, data={"model": "eos3b5e"}, headers=headers)
        assert answer.status_code == httpx.codes.FORBIDDEN


def test_whoever_has_no_token_is_asked_for_one(driver: Chrome, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Once there are tokens, the pages show nothing without; one that is entered holds until the browser is closed."""
    with serving(write_project(tmp_path_factory.mktemp("guarded"), pipeline=MOLECULES)) as server:
        # given
        reads, submits = token(server, "read"), token(server, "read", "submit")
        looking = Looking(driver, server)
        driver.delete_all_cookies()

        def enter(text: str) -> None:
            looking.open("/ersilia/token")
            looking.one("#token input").send_keys(text)
            looking.click("#token button")

        # when
        looking.open("/ersilia")
        asked = looking.driver.current_url
        enter("lim_nonsense")
        refused = looking.one("#problem").text
        enter(reads)
        seen = looking.table("#runs")
        looking.click("#begin button")
        forbidden = looking.one("#problem").text
        enter(submits)
        looking.click("#begin button")
        begun = looking.table("#runs")

    # then
    assert asked.endswith("/ersilia/token")
    assert "token" in refused
    assert seen == [["Nothing was calculated yet."]]
    assert "submit" in forbidden
    assert len(begun) == 1
    assert begun[0][1] == "reference_library.csv"
