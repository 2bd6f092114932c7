"""The server's key: what it seals and signs, and where it lies."""

import stat
import threading
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from limner.app.secrets import KEY_FILE, ServerKey
from limner.clock import MovedClock
from limner.errors import ConfigurationError, Unauthorized
from limner.settings import load_project

SECRET = "a secret of at least 32 characters"
SHA = "a" * 64


def key(secret: str = SECRET, *, clock: MovedClock | None = None) -> ServerKey:
    """A key over a clock that stands still."""
    return ServerKey(secret, clock=clock or MovedClock())


def key_of(folder: Path, **options: object) -> ServerKey:
    """The key of the project in a folder."""
    return ServerKey.of(load_project(folder, environment={}, options=options), clock=MovedClock())


def test_sealed_text_is_read_with_the_same_key_only() -> None:
    """It comes back as it was; with another key it does not, and the sentence names the setting."""
    sealed = key().seal("token of a caller, ä")

    assert key().open(sealed) == "token of a caller, ä"
    assert b"token" not in sealed
    assert key().seal("token of a caller, ä") != sealed
    with pytest.raises(ConfigurationError, match="secret_key"):
        key("another secret of 32 characters or so").open(sealed)


def test_nothing_stays_nothing() -> None:
    """A callback without a token needs no secret."""
    assert key().seal("") == b""
    assert key().open(b"") == ""


def test_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    """The file is made with the first use, with mode 600, and read from then on."""
    sealed = key_of(tmp_path).seal("x")
    file = tmp_path / KEY_FILE

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert key_of(tmp_path).open(sealed) == "x"
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_processes_that_start_together_have_one_key(tmp_path: Path) -> None:
    """However many make the key at the same moment, one of them wins and the others read it."""
    start = threading.Barrier(8)
    sealed: list[bytes] = []

    def begin() -> None:
        start.wait()
        sealed.append(key_of(tmp_path).seal("x"))

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [key_of(tmp_path).open(one) for one in sealed] == ["x"] * 8


def test_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """The sentence says which command mends it."""
    key_of(tmp_path)
    (tmp_path / KEY_FILE).chmod(0o640)

    with pytest.raises(ConfigurationError, match="chmod 600"):
        key_of(tmp_path)


def test_file_that_holds_no_key_is_refused(tmp_path: Path) -> None:
    """An empty file is not taken for a key that anybody could guess."""
    key_of(tmp_path)
    (tmp_path / KEY_FILE).write_text("short\n")

    with pytest.raises(ConfigurationError, match="no key"):
        key_of(tmp_path)


def test_setting_stands_in_for_the_file(tmp_path: Path) -> None:
    """With the setting `secret_key` no file is made; a short one is refused."""
    sealed = key_of(tmp_path, secret_key=SECRET).seal("x")

    assert key().open(sealed) == "x"
    assert not (tmp_path / KEY_FILE).exists()
    with pytest.raises(ConfigurationError, match="32 characters"):
        key_of(tmp_path, secret_key="short")


def parts(link: str) -> tuple[str, str, int, str]:
    """Digest, project, expiry and signature of a link."""
    split = urlsplit(link)
    query = {name: values[0] for name, values in parse_qs(split.query).items()}
    return split.path.rpartition("/")[2], query["project"], int(query["expires"]), query["signature"]


def test_link_holds_until_it_expires() -> None:
    """It leads to the artifact on the server, and is refused from its last second on."""
    clock = MovedClock()
    made = key(clock=clock).link(SHA, project="a b", base_url="https://host/limner/", lifetime=timedelta(hours=1))
    sha256, project, expires, signature = parts(made)

    assert made.startswith(f"https://host/limner/api/v1/artifacts/{SHA}?")
    assert (sha256, project) == (SHA, "a b")
    key(clock=clock).check_link(sha256, project=project, expires=expires, signature=signature)
    clock.move(timedelta(hours=1))
    with pytest.raises(Unauthorized, match="expired"):
        key(clock=clock).check_link(sha256, project=project, expires=expires, signature=signature)


@pytest.mark.parametrize("changed", ["sha256", "project", "expires", "signature", "key"])
def test_link_is_good_for_nothing_else(changed: str) -> None:
    """Another artifact, project, time, signature or server: each is refused."""
    made = key().link(SHA, project="a", base_url="", lifetime=timedelta(hours=1))
    sha256, project, expires, signature = parts(made)
    checking = key("another secret of 32 characters or so") if changed == "key" else key()

    with pytest.raises(Unauthorized, match="not one that this server signed"):
        checking.check_link(
            "b" * 64 if changed == "sha256" else sha256,
            project="b" if changed == "project" else project,
            expires=expires + 1 if changed == "expires" else expires,
            signature="ä" + signature[1:] if changed == "signature" else signature,
        )
