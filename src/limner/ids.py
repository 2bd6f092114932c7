"""Identifiers that sort by the time they were made."""

import secrets
import time


def new_id(prefix: str, *, now: float) -> str:
    """A short identifier such as ``job-20261121-071530-4f9c2a``: readable, sortable to the second, unguessable."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    return f"{prefix}-{stamp}-{secrets.token_hex(3)}"
