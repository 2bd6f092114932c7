"""What a machine does to processes: a link that is cut, a disk that is full, a clock that is set."""

import os
import secrets
import shutil
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

#: What a process is given to go by another clock.
_CLOCK = Path(__file__).with_name("clock.c")
_CHUNK = 1 << 16


class Impossible(Exception):
    """What is wanted cannot be had on this machine; the text says why."""


class Link:
    """
    A network namespace whose one link leads to one port of this machine's loopback address, and can be cut.

    The port is reached there by the address that its server tells others, 127.0.0.1; every other port of that address
    is the namespace's own.
    """

    def __init__(self, port: int) -> None:
        """
        Make it.

        Raises:
            Impossible: no network of its own can be made here.
        """
        mark, number = secrets.token_hex(3), secrets.randbelow(250)
        self._name, self._here, there = f"limner-{mark}", f"lo{mark}", f"li{mark}"
        outside, inside = f"10.214.{number}.1", f"10.214.{number}.2"
        try:
            _ip("netns", "add", self._name)
            _ip("link", "add", self._here, "type", "veth", "peer", "name", there)
            _ip("link", "set", there, "netns", self._name)
            _ip("addr", "add", f"{outside}/30", "dev", self._here)
            _ip("link", "set", self._here, "up")
            _ip("-n", self._name, "addr", "add", f"{inside}/30", "dev", there)
            _ip("-n", self._name, "link", "set", there, "up")
            _ip("-n", self._name, "link", "set", "lo", "up")
            _run("sysctl", "-q", "-w", f"net.ipv4.conf.{self._here}.route_localnet=1")
            for setting in ("route_localnet", "accept_local"):
                _run(*self.prefix, "sysctl", "-q", "-w", f"net.ipv4.conf.{there}.{setting}=1")
            # Asked before the table of what is local, which has 127.0.0.1 for all other ports.
            way = ("127.0.0.1/32", "via", outside, "dev", there, "src", inside, "table", "100")
            _ip("-n", self._name, "route", "add", *way)
            _ip("-n", self._name, "rule", "add", "pref", "10", "ipproto", "tcp", "dport", str(port), "lookup", "100")
            _ip("-n", self._name, "rule", "add", "pref", "100", "lookup", "local")
            _ip("-n", self._name, "rule", "del", "pref", "0")
        except Impossible:
            self.close()
            raise

    @property
    def prefix(self) -> tuple[str, ...]:
        """Words before a command that is to run behind the link."""
        return ("ip", "netns", "exec", self._name)

    def cut(self) -> None:
        """Lose everything that is sent, either way; nobody is told."""
        _ip("link", "set", self._here, "down")

    def mend(self) -> None:
        """Carry again."""
        _ip("link", "set", self._here, "up")

    def close(self) -> None:
        """Remove it; what runs behind it must have ended."""
        for words in (("link", "del", self._here), ("netns", "del", self._name)):
            subprocess.run(["ip", *words], check=False, capture_output=True)


class SmallDisk:
    """A file system of few megabytes at a folder, which can be filled."""

    def __init__(self, folder: Path, *, megabytes: int = 96) -> None:
        """
        Mount it.

        Raises:
            Impossible: nothing can be mounted here.
        """
        folder.mkdir(parents=True)
        self._folder = folder
        _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "limner", str(folder))

    def fill(self) -> None:
        """Write until nothing more fits, to the last byte."""
        with (self._folder / "filler").open("ab", buffering=0) as file:
            for size in (_CHUNK, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue
        assert shutil.disk_usage(self._folder).free == 0

    def free(self) -> None:
        """Make room again."""
        (self._folder / "filler").unlink()

    def close(self) -> None:
        """Take it away, and what is on it."""
        subprocess.run(["umount", "-l", str(self._folder)], check=False, capture_output=True)


class SetClock:
    """A clock for the processes that are started with its environment; it goes right until it is set."""

    def __init__(self, folder: Path) -> None:
        """
        Make it, in a new folder.

        Raises:
            Impossible: there is no compiler for it.
        """
        compiler = shutil.which("cc")
        if compiler is None:
            raise Impossible("A clock that can be set is written in C; install a compiler (Debian's build-essential).")
        folder.mkdir(parents=True)
        self._library, self._file = folder / "clock.so", folder / "seconds"
        words = [compiler, "-O2", "-shared", "-fPIC", "-pthread", str(_CLOCK), "-o", str(self._library), "-ldl"]
        subprocess.run(words, check=True, capture_output=True)
        self.set(0)

    def set(self, seconds: int) -> None:
        """Have it differ from the machine's clock by so much, at once."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("=q", seconds))

    def close(self) -> None:
        """Be right again."""
        self.set(0)

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process needs to go by it."""
        return {"LD_PRELOAD": str(self._library), "LIMNER_CLOCK": str(self._file)}


def _ip(*words: str) -> None:
    _run("ip", *words)


def _run(*words: str) -> None:
    if os.geteuid() != 0 or shutil.which(words[0]) is None:
        raise Impossible(f"`{' '.join(words)}` needs root and the command {words[0]}.")
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise Impossible(f"`{' '.join(words)}` failed: {done.stderr.strip()}")
