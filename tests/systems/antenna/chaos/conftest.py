"""What storms note of themselves is told at the end of the tests."""

from collections.abc import Callable

import pytest

from tests.systems.antenna.chaos.storm import SEED


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Callable[[str, object], None]:
    """Call with a name and a value to have them told."""
    return lambda name, value: request.node.user_properties.append((name, value))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell what was noted: with which seed, and how long it took until work went on."""
    reports = [report for report in terminalreporter.stats.get("passed", []) if report.user_properties]
    if reports:
        terminalreporter.section(f"storms, CHAOS_SEED={SEED}")
    for report in reports:
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {name}: {value}")
