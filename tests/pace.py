"""How long a test may take beside others: what holds on a quiet machine, granted several times over on a shared one."""

import os

_BESIDE_OTHERS = 5.0
"""Two cores run two pytest workers, each with servers, workers and children of its own."""


def allowed(seconds: float) -> float:
    """The seconds that a test alone may take, or the several times as many of one that shares its machine.

    Run without pytest's workers (``pytest -n 0``), a test holds the promise as it is written.
    """
    return seconds * (_BESIDE_OTHERS if "PYTEST_XDIST_WORKER" in os.environ else 1.0)
