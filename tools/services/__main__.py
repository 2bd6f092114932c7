"""Starts every service that can be had, runs a command, and stops them."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tools.services import ceph
from tools.services.base import Service, Unavailable
from tools.services.kafka import Kafka
from tools.services.object_store import S3
from tools.services.postgresql import PostgreSQL
from tools.services.rabbitmq import RabbitMQ

#: Every service that tests ask for.
SERVICES: tuple[Service, ...] = (
    PostgreSQL(),
    RabbitMQ(),
    Kafka(),
    ceph.Ceph() if os.environ.get(ceph.CHOSEN) else S3(),
)
#: Programs that tests call, and the Debian packages that bring them.
PROGRAMS = {
    "shellcheck": "shellcheck",
    "curl": "curl",
    "promtool": "prometheus",
    "ip": "iproute2",
    "cc": "build-essential",
    "chromium": "chromium",
    "chromedriver": "chromium-driver",
}


def install(packages: Sequence[str]) -> None:
    """
    Install Debian *packages*.

    Raises:
        Unavailable: this is no Debian, or nobody here may install.
    """
    if shutil.which("apt-get") is None:
        raise Unavailable(f"Install {', '.join(packages)} by the means of this system, then run this again.")
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", *packages]):
        command = [*prefix, "apt-get", *words]
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise Unavailable(f"Install {', '.join(packages)} as root, then run this again.") from error
        if done.returncode:
            raise Unavailable(f"`{' '.join(command)}` failed: {done.stderr.strip().splitlines()[-1:]}")


def wanted_packages() -> list[str]:
    """The Debian packages that are not here yet."""
    found = [package for service in SERVICES if not service.installed() for package in service.packages]
    return found + [package for program, package in PROGRAMS.items() if shutil.which(program) is None]


@contextmanager
def all_running() -> Iterator[dict[str, str]]:
    """Every service that can be had, running; the variables by which tests find them."""
    packages = wanted_packages()
    if packages:
        print(f"Installing {', '.join(packages)} …", flush=True)
        try:
            install(packages)
        except Unavailable as error:
            # Tests of what is missing are skipped, and fail in CI; all others run.
            print(f"NOT INSTALLED: {error}", file=sys.stderr)
    with ExitStack() as stack:
        found = {}
        for service in SERVICES:
            if service.installed():
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"limner-{service.name}-")))
                folder.chmod(0o755)
                started = time.monotonic()
                address = stack.enter_context(contextmanager(service.running)(folder))
                found[f"LIMNER_TEST_{service.name.upper()}"] = address
                print(f"{service.name} answers at {address} after {time.monotonic() - started:.1f} s", flush=True)
        yield found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command with the services; its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run while they answer")
    command = parser.parse_args(arguments).command
    command = command[1:] if command[:1] == ["--"] else command
    if not command:
        parser.error("name a command")
    try:
        with all_running() as variables:
            process = subprocess.Popen(command, env={**os.environ, **variables})
            while True:
                # Ctrl-C reaches the command too; its own status is what counts.
                with suppress(KeyboardInterrupt):
                    return process.wait()
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
