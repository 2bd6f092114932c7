"""Lease tokens: who may answer for a task, without a row to look it up in."""

import base64
import hashlib
import hmac

#: Bytes of the code; 128 bits are not guessed.
_SIZE = 16


class Leases:
    """Binds a task, the attempt and the worker together with a key; the same after a restart with the same key."""

    def __init__(self, key: bytes, *, project: str) -> None:
        self._key = key
        self._project = project

    def token(self, *, task: int, attempt: int, worker: str) -> str:
        """What a worker shows when it speaks of a task that it was given."""
        return f"{attempt}.{self._code(task, attempt, worker)}"

    def attempt(self, token: str, *, task: int, worker: str) -> int | None:
        """The attempt that *token* stands for; None where it was not given to *worker* for *task*."""
        number, _, code = token.partition(".")
        if not number.isdecimal() or len(number) > 9:
            return None
        right = hmac.compare_digest(code.encode(), self._code(task, int(number), worker).encode())
        return int(number) if right else None

    def _code(self, task: int, attempt: int, worker: str) -> str:
        said = f"{self._project}\n{task}\n{attempt}\n{worker}".encode()
        made = hmac.new(self._key, said, hashlib.sha256).digest()[:_SIZE]
        return base64.urlsafe_b64encode(made).decode().rstrip("=")
