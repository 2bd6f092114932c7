"""The guard lets through public addresses and what the settings list, and nothing else."""

import ipaddress
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from limner.addresses import AddressGuard, danger_of
from limner.errors import AddressRefused, ConfigurationError
from limner.testing.picture_server import PictureServer, Reply


@pytest.fixture
def server() -> Iterator[PictureServer]:
    """A picture server with one picture."""
    with PictureServer({"a.jpg": b"picture" * 100}) as serving:
        yield serving


def leads_to(monkeypatch: pytest.MonkeyPatch, answers: dict[str, list[str]]) -> list[str]:
    """Stand in for the network's name server; the list grows by each name that is looked up."""
    asked: list[str] = []

    def look_up(host: str, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
        asked.append(host)
        addresses = answers.get(host, [host])
        # One answer a look-up, the last one for ever, where the addresses are told apart by "then".
        if "then" in addresses:
            answers[host] = addresses[addresses.index("then") + 1 :]
            addresses = addresses[: addresses.index("then")]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


@pytest.mark.parametrize(
    ("address", "danger"),
    [
        ("127.0.0.1", "loopback"),
        ("127.8.8.8", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("64:ff9b::7f00:1", "loopback"),
        ("2002:7f00:1::", "loopback"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("192.168.1.1", "private"),
        ("fd12:3456::1", "private"),
        ("169.254.169.254", "metadata"),
        ("168.63.129.16", "metadata"),
        ("100.100.100.200", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("169.254.0.7", "link-local"),
        ("fe80::1", "link-local"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("0.0.0.0", "reserved"),
        ("100.64.0.1", "reserved"),
        ("255.255.255.255", "private"),
        ("93.184.216.34", None),
        ("2606:2800:220:1::1", None),
        ("64:ff9b::5db8:d822", None),
    ],
)
def test_every_kind_of_address_has_its_name(address: str, danger: str | None) -> None:
    """An address that is not public is recognised, also where an IPv6 address carries it."""
    assert danger_of(ipaddress.ip_address(address)) == danger


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x",
        "http://2130706433/x",
        "http://0x7f.1/x",
        "http://[::1]/x",
        "http://[::ffff:10.0.0.1]/x",
        "http://localhost/x",
        "https://169.254.169.254/latest/meta-data",
        "http://user:word@127.0.0.1/x",
    ],
)
def test_an_address_inside_is_refused_with_the_setting_that_allows_it(url: str) -> None:
    """However an inside address is spelt, it is refused, and the sentence names allow_hosts."""
    with pytest.raises(AddressRefused, match="allow_hosts"):
        AddressGuard().check(url)


@pytest.mark.parametrize("url", ["ftp://example.org/x", "gopher://example.org", "http://", "", "x.jpg", "data:,x"])
def test_only_http_and_files_are_spoken(url: str) -> None:
    """Any other scheme is refused with a sentence that says what is spoken."""
    with pytest.raises(AddressRefused, match="http:, https: and file:"):
        AddressGuard(allow_hosts=["0.0.0.0/0"], file_roots=["/"]).check(url)


@pytest.mark.parametrize("entry", ["127.0.0.1", "127.0.0.0/8", "{host}", " 127.0.0.1 "])
def test_a_listed_host_is_reached(server: PictureServer, entry: str) -> None:
    """An address, a network, or a host with its port opens the way."""
    guard = AddressGuard(allow_hosts=[entry.format(host=server.host)])

    with guard.client() as client:
        answer = client.get(server.url("a.jpg"))

    assert answer.content == b"picture" * 100


def test_another_port_of_a_listed_host_stays_closed(server: PictureServer) -> None:
    """host:port opens that port alone."""
    guard = AddressGuard(allow_hosts=["127.0.0.1:1"])

    with guard.client() as client, pytest.raises(AddressRefused, match=server.host):
        client.get(server.url("a.jpg"))

    assert server.total() == 0


def test_a_name_is_refused_when_any_of_its_addresses_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """One inside address among public ones is enough to refuse a name."""
    leads_to(monkeypatch, {"pictures.example": ["93.184.216.34", "10.0.0.5"]})

    with pytest.raises(AddressRefused, match=r"pictures.example has the address 10\.0\.0\.5, a private address"):
        AddressGuard().check("https://pictures.example/a.jpg")


def test_a_name_that_leads_elsewhere_after_the_check_is_not_followed(
    monkeypatch: pytest.MonkeyPatch, server: PictureServer
) -> None:
    """The connection is made to the address that was checked: what the name says a moment later does not count."""
    # given a name that leads to the listed address once, and inside afterwards
    asked = leads_to(monkeypatch, {"turns.example": ["127.0.0.1", "then", "10.0.0.5"]})
    guard = AddressGuard(allow_hosts=["127.0.0.1"])
    url = server.url("a.jpg").replace("127.0.0.1", "turns.example")

    # when it is fetched: one look-up by the guard, and none of the name by the connection
    with guard.client() as client:
        answer = client.get(url)
        assert answer.status_code == 200
        assert asked.count("turns.example") == 1

    # then a new connection meets the new address, and is refused
    with guard.client() as client, pytest.raises(AddressRefused, match=r"10\.0\.0\.5"):
        client.get(url)


@pytest.mark.parametrize("inside", ["http://10.0.0.5/secret", "http://[fd00:ec2::254]/", "http://169.254.169.254/"])
def test_a_redirect_inside_is_refused(server: PictureServer, inside: str) -> None:
    """Each hop of a redirect passes the same guard."""
    server.plan("a.jpg", Reply(redirect=inside))
    guard = AddressGuard(allow_hosts=[server.host])

    with guard.client() as client, pytest.raises(AddressRefused, match="allow_hosts"):
        client.get(server.url("a.jpg"))


def test_a_redirect_to_a_file_is_refused(server: PictureServer) -> None:
    """A server cannot send the client to a file."""
    server.plan("a.jpg", Reply(redirect="file:///etc/passwd"))

    with (
        AddressGuard(allow_hosts=[server.host], file_roots=["/"]).client() as client,
        pytest.raises(httpx.UnsupportedProtocol),
    ):
        client.get(server.url("a.jpg"))


def test_a_legal_redirect_is_followed(server: PictureServer) -> None:
    """A redirect to a listed address ends at the picture."""
    server.plan("old.jpg", Reply(redirect=server.url("a.jpg")))

    with AddressGuard(allow_hosts=[server.host]).client() as client:
        answer = client.get(server.url("old.jpg"))

    assert answer.content == b"picture" * 100


@pytest.mark.parametrize("reply", [Reply(drip=timedelta(seconds=0.05)), Reply(delay=timedelta(seconds=20))])
def test_the_whole_exchange_has_a_limit(server: PictureServer, reply: Reply) -> None:
    """A body that drips, each byte in time, ends with the limit on the whole, as silence does."""
    server.plan("a.jpg", reply)

    with (
        AddressGuard(allow_hosts=[server.host]).client(total=timedelta(seconds=0.2)) as client,
        pytest.raises(httpx.ReadTimeout),
    ):
        client.get(server.url("a.jpg"))


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch, server: PictureServer) -> None:
    """A proxy would resolve names out of the guard's sight."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    with AddressGuard(allow_hosts=[server.host]).client() as client:
        assert client.get(server.url("a.jpg")).status_code == 200


@pytest.mark.parametrize("entry", ["http://example.org", "two words", "10.0.0.0/99", "", "a/b"])
def test_a_wrong_entry_is_refused_by_name(entry: str) -> None:
    """A list of hosts with a slip in it is a configuration error, not an open door."""
    with pytest.raises(ConfigurationError, match="allow_hosts"):
        AddressGuard(allow_hosts=[entry])


@pytest.mark.parametrize("form", ["file://{root}/in/a.jpg", "file://localhost{root}/in/a.jpg", "{root}/in/a.jpg"])
def test_a_file_inside_its_root_is_found(tmp_path: Path, form: str) -> None:
    """A file address, and an absolute path, lead to the file inside a root."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(b"x")

    assert AddressGuard(file_roots=[tmp_path / "in"]).path(form.format(root=tmp_path)) == tmp_path / "in" / "a.jpg"


def test_blanks_in_a_file_address_are_decoded(tmp_path: Path) -> None:
    """A file address is percent-encoded, a path is not."""
    guard = AddressGuard(file_roots=[tmp_path])

    assert guard.path(f"file://{tmp_path}/a%20b.jpg") == tmp_path / "a b.jpg"
    assert guard.path(f"{tmp_path}/a%20b.jpg") == tmp_path / "a%20b.jpg"


@pytest.mark.parametrize(
    "path", ["in/../out.txt", "in/%2e%2e/out.txt", "in/link.txt", "in/folder/out.txt", "out.txt", "inside/x", "in%00/x"]
)
def test_no_path_leaves_its_root(tmp_path: Path, path: str) -> None:
    """Neither dots, nor their encoding, nor symbolic links of files or folders lead out of a root."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out.txt").write_text("secret")
    (tmp_path / "in" / "link.txt").symlink_to(tmp_path / "out.txt")
    (tmp_path / "in" / "folder").symlink_to(tmp_path)

    with pytest.raises(AddressRefused, match=r"file_roots|no path has"):
        AddressGuard(file_roots=[tmp_path / "in"]).path(f"file://{tmp_path}/{path}")


def test_no_file_is_read_unless_a_root_is_set(tmp_path: Path) -> None:
    """Without roots every file is refused, and a file of another machine always."""
    with pytest.raises(AddressRefused, match="file_roots lists no folder"):
        AddressGuard().path(f"file://{tmp_path}/a.jpg")
    with pytest.raises(AddressRefused, match="another machine"):
        AddressGuard(file_roots=["/"]).path("file://server/share/a.jpg")
