"""A real browser without a window, for tests of the pages."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import staleness_of

from limner.testing.local_server import LocalServer
from tests.conftest import IN_CI
from tests.waiting import until

_PROGRAMS = ("chromium", "chromedriver")


@contextmanager
def chromium() -> Iterator[Chrome]:
    """Chromium, driven by its own driver; where it is not installed the test is skipped, and fails in CI."""
    lacking = [name for name in _PROGRAMS if shutil.which(name) is None]
    if lacking:
        told = f"{', '.join(lacking)} is not installed; `make test` installs the packages chromium and chromium-driver"
        if IN_CI:
            pytest.fail(told)
        pytest.skip(told)
    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    # Whoever builds as root has no sandbox of the kernel's; a container may have a tiny /dev/shm.
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-proxy-server"):
        options.add_argument(word)
    options.add_argument("--window-size=1200,900")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(executable_path=shutil.which("chromedriver"), env=_environment()))
    try:
        yield driver
    finally:
        driver.quit()


def _environment() -> dict[str, str]:
    """The environment without proxies: the driver is asked on this machine."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


class Looking:
    """Somebody who looks at the pages of one server."""

    def __init__(self, driver: Chrome, server: LocalServer) -> None:
        self.driver = driver
        self._url = server.url

    def open(self, path: str) -> None:
        """Go to a page."""
        self.driver.get(f"{self._url}{path}")

    def one(self, selector: str) -> WebElement:
        """The element that a CSS selector names, once it is there: a page may still be on its way."""
        until(lambda: self.all(selector))
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def click(self, selector: str) -> None:
        """Click what a CSS selector names, and wait until another page has taken the place of this one."""
        before = self.one("html")
        self.one(selector).click()
        until(lambda: self._gone(before))

    def _gone(self, element: WebElement) -> bool:
        """Whether the page of *element* is no more; while it goes, Chromium may say so in an error of its own."""
        try:
            return bool(staleness_of(element)(self.driver))
        except WebDriverException as error:
            return "does not belong to the document" in str(error.msg)

    def all(self, selector: str) -> list[WebElement]:
        """Every element that a CSS selector names."""
        return list(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def table(self, selector: str) -> list[list[str]]:
        """The cells of a table's body, as they are read."""
        script = (
            "return [...document.querySelectorAll(arguments[0] + ' tbody tr')]"
            ".map(row => [...row.cells].map(cell => cell.innerText.trim()))"
        )
        found: list[list[str]] = self.driver.execute_script(script, selector)
        return found

    def complaints(self) -> list[str]:
        """What the browser complained about since it was last asked: what is missing or not allowed."""
        return [str(entry["message"]) for entry in self.driver.execute("getLog", {"type": "browser"})["value"]]
