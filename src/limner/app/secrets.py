"""The server's key: seals what must be sent on, and signs links that need no token."""

import base64
import hashlib
import hmac
import math
import os
import secrets
import stat
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import quote, urlencode

from limner.clock import Clock
from limner.errors import ConfigurationError, MissingExtra, Unauthorized
from limner.settings import Project

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

#: Where the key lies, below the project's folder, if the setting `secret_key` names none.
KEY_FILE = ".limner/server.key"
#: Shortest key, in characters.
SHORTEST = 32


class ServerKey:
    """One secret of a server, from which every other is derived; it is never shown."""

    def __init__(self, secret: str, *, clock: Clock) -> None:
        self._secret = secret.encode()
        self._clock = clock

    @classmethod
    def of(cls, project: Project, *, clock: Clock) -> Self:
        """
        The key that the setting `secret_key` holds; else that of a file, which is made with the first use.

        Raises:
            ConfigurationError: the file cannot be made, or others than its owner may read it.
        """
        given = project.settings.secret_key
        return cls(given or _key_in(project.path(KEY_FILE)), clock=clock)

    def seal(self, text: str) -> bytes:
        """*text*, readable only with this key; nothing stays nothing."""
        return self._fernet().encrypt(text.encode()) if text else b""

    def open(self, sealed: bytes) -> str:
        """
        What was sealed.

        Raises:
            ConfigurationError: it was sealed with another key.
        """
        if not sealed:
            return ""
        fernet = self._fernet()
        from cryptography.fernet import InvalidToken

        try:
            return fernet.decrypt(sealed).decode()
        except InvalidToken as error:
            raise ConfigurationError(
                "A secret in the store was sealed with another key; "
                f"give the setting `secret_key`, or the file {KEY_FILE}, the key that it was sealed with."
            ) from error

    def sign(self, path: str, *, expires: int) -> str:
        """The signature under *path* (with its query, if it has one) until *expires*, seconds since the epoch."""
        message = f"{expires}\n{path}".encode()
        digest = hmac.new(self._derived("link"), message, hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def check(self, path: str, *, expires: int, signature: str) -> None:
        """
        Do nothing if *signature* stands under *path* and has not expired.

        Raises:
            Unauthorized: it does not, or it has.
        """
        made = self.sign(path, expires=expires)
        if not hmac.compare_digest(made.encode(), signature.encode("utf-8", "replace")):
            raise Unauthorized("The link is not one that this server signed; ask for the results again.")
        if expires <= self._clock.now():
            raise Unauthorized("The link has expired; ask for the results again, and they come with new links.")

    def link(self, sha256: str, *, project: str, base_url: str, lifetime: timedelta) -> str:
        """The address of an artifact of *project* that anybody may fetch for *lifetime*, without a token."""
        expires = math.ceil(self._clock.now() + lifetime.total_seconds())
        path = _artifact(sha256, project)
        signed = urlencode({"expires": expires, "signature": self.sign(path, expires=expires)})
        return f"{base_url.rstrip('/')}{path}&{signed}"

    def check_link(self, sha256: str, *, project: str, expires: int, signature: str) -> None:
        """
        Do nothing if :meth:`link` made a link with these parts, which holds.

        Raises:
            Unauthorized: it did not, or it has expired.
        """
        self.check(_artifact(sha256, project), expires=expires, signature=signature)

    def _derived(self, use: str) -> bytes:
        """A key for one use: what leaks of it helps with no other."""
        return hmac.new(self._secret, f"limner {use}".encode(), hashlib.sha256).digest()

    def _fernet(self) -> "Fernet":
        try:
            from cryptography.fernet import Fernet
        except ImportError as error:
            raise MissingExtra(extra="server", needs="Keeping a callback's token") from error
        return Fernet(base64.urlsafe_b64encode(self._derived("seal")))


def _artifact(sha256: str, project: str) -> str:
    """Path and query of an artifact of a project."""
    return f"/api/v1/artifacts/{quote(sha256, safe='')}?project={quote(project, safe='')}"


def _key_in(file: Path) -> str:
    """The key in *file*, which is made, whole or not at all, where there is none; of two that make it, one wins."""
    if not file.exists():
        _make(file)
    try:
        mode, text = stat.S_IMODE(file.stat().st_mode), file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The server's key in {file} cannot be read: {error}") from error
    if mode & 0o077:
        raise ConfigurationError(f"Others may read the server's key; run: chmod 600 {file}")
    if len(text) < SHORTEST:
        raise ConfigurationError(f"The server's key in {file} is no key; restore it, or delete the file for a new one.")
    return text


def _make(file: Path) -> None:
    draft = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as opened:
            opened.write(f"{secrets.token_urlsafe(48)}\n")
            opened.flush()
            os.fsync(opened.fileno())
        try:
            os.link(draft, file)
        except FileExistsError:
            return
    except OSError as error:
        raise ConfigurationError(
            f"The server's key cannot be written to {file} ({error}); name one in the setting `secret_key`."
        ) from error
    finally:
        draft.unlink(missing_ok=True)
