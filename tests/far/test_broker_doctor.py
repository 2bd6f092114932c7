"""A worker that reaches a broker alone: the rights that the page gives it, encryption, and what doctor says (A43)."""

import re
import shlex
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from limner.app.doctor import Finding, State
from limner.app.doctor_far import examine_ways
from limner.clock import SystemClock
from limner.domain.jobs import Job
from tests.far.rig import Server
from tests.far.workers import WorkerProcess
from tests.waiting import until
from tools.services import Broker, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

LONG = timedelta(seconds=60)
PASSWORD = "secret of the team"
PIPELINE = """
from datetime import timedelta

from limner import Number, Pipeline, Stage

pipeline = Pipeline("far", collection="things", standing=False, stages=[
    Stage("classify", infer="inferrers:Double", reads={"number": "number"}, outputs={"value": Number()},
          batch=4, task_size=8, timeout=timedelta(seconds=20)),
    Stage("detect", infer="inferrers:Double", reads={"number": "number"}, outputs={"value": Number()}, batch=4),
])
"""


class Certificate:
    """A certificate for this machine that is its own authority."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        here = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
        now = datetime.fromtimestamp(SystemClock().now(), tz=UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=24))
            .add_extension(here, critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.file, self.key = folder / "certificate.pem", folder / "key.pem"
        self.file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        self.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


def commands(page: str) -> list[list[str]]:
    """The words of each command for the broker under the page's heading about rights."""
    (shown,) = re.findall(r"## Rights.*?```sh\n(.*?)```", page, re.DOTALL)
    return [shlex.split(line)[1:] for line in shown.replace("\\\n", " ").splitlines()]


class Site:
    """A broker with a team's user, made as the page says."""

    def __init__(self, broker: Broker, certificate: Certificate) -> None:
        self.broker = broker
        self.certificate = certificate

    def url(self, *, user: str, host: str = "127.0.0.1", more: str = "") -> str:
        """The broker's address for *user*."""
        return f"amqp://{user}@{host}:{self.broker.port}/limner{more}"

    def encrypted(self, *, user: str) -> str:
        """The same, encrypted."""
        return f"amqps://{user}@localhost:{self.broker.encrypted_port}/limner"


@pytest.fixture(scope="module")
def site(
    require_service: Callable[[str], str], repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The site, whose user has exactly the rights that docs/rabbitmq.md gives."""
    require_service("rabbitmq")
    folder = tmp_path_factory.mktemp("broker")
    certificate = Certificate(folder)
    broker = Broker(folder, certificate=certificate.file, key=certificate.key)
    broker.start()
    try:
        broker.control("add_vhost", "limner")
        broker.control("set_permissions", "-p", "limner", "guest", ".*", ".*", ".*")
        broker.control("add_user", "team", PASSWORD)
        for words in commands((repository / "docs" / "rabbitmq.md").read_text()):
            broker.control(*words)
        yield Site(broker, certificate)
    finally:
        broker.close()


@pytest.fixture(scope="module")
def server(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on the broker that infers nothing itself."""
    settings = f"lease = 5.0\nbus = '{site.url(user='guest:guest')}'\n"
    with Server(tmp_path_factory.mktemp("project") / "far", pipeline=PIPELINE, settings=settings) as made:
        # It makes its exchange and its queues when it first speaks to the broker.
        until(lambda: not wrong(examine_ways(site.url(user="guest:guest"), token="")), within=LONG)
        yield made


def asked(server: Server, stage: str) -> Job:
    """A job that wants one stage alone."""
    other = {"classify": "detect", "detect": "classify"}[stage]
    return server.submit([{"number": at} for at in range(20)], choices={stage: ["default"], other: []})


def wrong(findings: list[Finding]) -> list[Finding]:
    """What is wrong."""
    return [finding for finding in findings if finding.state is State.WRONG]


def test_the_rights_of_the_page_are_enough(site: Site, server: Server, tmp_path: Path) -> None:
    """Doctor finds all well, although the user may not write to the default exchange; and the team's stage is done."""
    url = site.url(user="team")

    found = examine_ways(url, token=PASSWORD)
    job = asked(server, "classify")
    with WorkerProcess(tmp_path / "w", url, "--stage", "classify", environment={"LIMNER_TOKEN": PASSWORD}) as worker:
        ended = server.wait(job, within=LONG)
        said = worker.said()

    assert wrong(found) == []
    assert [one.part for one in found if one.state is State.SOUND][1:] == ["broker", "server"]
    assert ended == "done", said
    assert server.values(job, stage="classify")["r7"] == {"value": 14}


def test_another_teams_queue_is_refused(site: Site, server: Server, tmp_path: Path) -> None:
    """The team's worker asks for a stage that it has no right to: the broker refuses, and nothing is taken."""
    job = asked(server, "detect")
    environment = {"LIMNER_TOKEN": PASSWORD}
    with WorkerProcess(tmp_path / "w", site.url(user="team"), "--stage", "detect", environment=environment) as worker:
        until(lambda: any("ACCESS_REFUSED" in str(line) for line in worker.logged("bus_unavailable")), within=LONG)

    assert server.counts(job).done == 0
    server.host.cancel(job.id)


def test_an_encrypted_broker_is_believed_by_its_certificate(
    site: Site, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its authority doctor names the certificate; with it, all is well and the work is done."""
    url = site.encrypted(user="team")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)

    (doubted,) = wrong(examine_ways(url, token=PASSWORD))
    monkeypatch.setenv("SSL_CERT_FILE", str(site.certificate.file))
    believed = examine_ways(url, token=PASSWORD)
    job = asked(server, "classify")
    with WorkerProcess(tmp_path / "w", url, "--stage", "classify", environment={"LIMNER_TOKEN": PASSWORD}) as worker:
        ended = server.wait(job, within=LONG)
        said = worker.said()

    assert "certificate" in doubted.said
    assert "SSL_CERT_FILE" in doubted.remedy
    assert wrong(believed) == []
    assert ended == "done", said


def test_a_wrong_password_is_named(site: Site) -> None:
    """The broker can be reached and refuses the user: that is said, with what to do, and no password is shown."""
    (found,) = wrong(examine_ways(site.url(user="team"), token="not the one"))

    assert "does not accept the user and the password" in found.said
    assert "LIMNER_TOKEN" in found.remedy
    assert "not the one" not in found.said


def test_a_missing_right_is_named(site: Site, server: Server) -> None:
    """A user who may connect and nothing else: the right is said to be lacking, and where to read of it."""
    site.broker.control("add_user", "guestless", PASSWORD)
    site.broker.control("set_permissions", "-p", "limner", "guestless", "^$", "^$", "^$")

    (found,) = wrong(examine_ways(site.url(user="guestless"), token=PASSWORD))

    assert "refuse" in found.said
    assert "docs/rabbitmq.md" in found.remedy


def test_a_limit_that_outlasts_the_brokers_patience_is_named(site: Site, server: Server) -> None:
    """A call may take 20 s and the broker waits for 10: doctor says which stage, and what to set."""
    found = wrong(examine_ways(site.url(user="team", more="?consumer_timeout=10"), token=PASSWORD))

    assert [one.part for one in found] == ["broker", "broker"]
    assert "far.classify/default" in found[0].said
    assert "consumer_timeout" in found[0].remedy


def test_a_broker_without_a_server_is_named(site: Site) -> None:
    """The broker is well and nobody answers behind it: the queues of that project were never made."""
    found = wrong(examine_ways(site.url(user="guest:guest", more="?project=nobody"), token=""))

    assert [one.part for one in found] == ["broker"]
    assert "limner serve" in found[0].remedy or "docs/rabbitmq.md" in found[0].remedy


def test_a_blocked_port_is_named() -> None:
    """Nothing is let through to the broker's port, or what is there answers nothing: one sentence, and what to do."""
    (closed,) = wrong(examine_ways(f"amqp://team@127.0.0.1:{free_port()}/limner", token=PASSWORD))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        (mute,) = wrong(examine_ways(f"amqp://team@127.0.0.1:{port}/limner", token=PASSWORD))

    assert "cannot be reached" in closed.said
    assert "Ask the site" in closed.remedy
    assert "has not answered" in mute.said or "cannot be reached" in mute.said
