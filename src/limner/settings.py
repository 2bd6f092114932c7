"""Settings: ``limner.toml``, then ``LIMNER_*``, then options."""

import base64
import binascii
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct, field, structs

from limner.domain.values import Value
from limner.errors import ConfigurationError

FILE = "limner.toml"
#: Below a project's folder: what Limner keeps.
HOME = ".limner"
#: The project that a folder is, where no other is named.
DEFAULT = "default"
#: Settings that only ``limner.toml`` can hold.
_TABLES = ("pipelines", "systems")
_LISTS = "allow_hosts, file_roots, content_allow, facades, online"


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set; each has a default that works on a laptop."""

    #: URL of the store.
    store: str = "sqlite:///.limner/limner.db"
    #: URL of the bus.
    bus: str = "memory:"
    #: URL or folder of the artifacts.
    artifacts: str = "file:.limner/artifacts"
    #: URL of the broker that is told what changes; empty: nobody is told.
    events: str = ""
    #: URL of the search index.
    index: str = "sqlite:.limner/index"
    #: Folder of fetched files.
    cache: str = ".limner/cache"
    #: What becomes of fetched files: ``done`` (gone when a run ends), a number of days, or ``always``.
    keep: str = "done"
    #: Bytes of fetched files that are kept at most while a run goes on.
    cache_bytes: int = 4_000_000_000
    #: Child processes of each implementation at most; 0 means half of the machine's cores, at least one.
    parallel: int = 0
    #: Bytes of files, fetched ahead, that tasks which are not done may hold.
    max_bytes_in_flight: int = 1 << 30
    #: Bytes of one record's encoded value in one stage at most; what is larger is declared as an artifact.
    max_value_bytes: int = 8_000_000
    #: Megabytes by which an inferrer's process may grow before another takes its place; 0 means that it may grow.
    max_growth_mb: int = 2000
    #: Tasks of each implementation that are handed out at a time.
    in_flight: int = 4
    #: Seconds until a silent worker is taken for lost.
    lease: float = 60.0
    #: Hosts, host:port or networks that may be fetched from although they are not public.
    allow_hosts: list[str] = field(default_factory=list)
    #: Folders whose files may be read by file:// addresses, besides the project and the folders named on a command.
    file_roots: list[str] = field(default_factory=list)
    #: Requests to one host at a time.
    per_host: int = 8
    #: Requests to one host a second; 0 means no limit.
    per_host_rate: float = 0.0
    #: Seconds to connect to a host, and for a whole fetch, redirects and body included.
    connect_timeout: float = 5.0
    fetch_timeout: float = 30.0
    #: Pipelines of the project: name and ``file.py:variable``.
    pipelines: dict[str, str] = field(default_factory=dict)
    #: What systems are told, by name; each says in its own documents what it takes.
    systems: dict[str, dict[str, Value]] = field(default_factory=dict)
    #: Where clients reach this server: links that it hands out begin so; empty: the address by which a request came.
    public_url: str = ""
    #: What searching by likeness does with records of which a required stage has no value: ``show`` or ``hide``.
    incomplete: str = "show"
    #: What the server seals callback tokens and signs links with; empty: the file ``.limner/server.key``, made once.
    secret_key: str = ""
    #: What callbacks are signed with: ``whsec_`` and base64, or any text; empty: the token of the callback itself.
    webhook_secret: str = ""
    #: Bytes of one page of a callback at most.
    callback_max_bytes: int = 8_000_000
    #: Seconds that a receiver may take to accept one page of a callback.
    callback_timeout: float = 30.0
    #: Bytes of one request's body at most, but for JSON Lines and artifacts, which are read a piece at a time.
    max_request_bytes: int = 64_000_000
    #: Requests a second of one token or address at most, where the server listens on a public address.
    rate_limit: float = 100.0
    #: Whether the online door answers without a token although tokens exist.
    anonymous_infer: bool = False
    #: What the online door may be asked about: ``any`` content, only what ``content_allow`` lists (``allowlist``), or
    #: only stored records (``ids``).
    content: str = "any"
    #: Beginnings of addresses that ``content = "allowlist"`` lets pass.
    content_allow: list[str] = field(default_factory=list)
    #: Systems whose own routes are mounted; None means those whose pipelines the project declares.
    facades: list[str] | None = None
    #: Stages whose inferrers are loaded when the server starts, in place of when they are first asked.
    online: list[str] = field(default_factory=list)
    #: Milliseconds for which a batch of online requests is waited for, once several came together.
    online_window: float = 2.0


class Project(Struct, frozen=True, kw_only=True):
    """A folder with its settings."""

    folder: Path
    settings: Settings
    #: Which of the folder's projects it is: a store of its own, and all that goes with it.
    name: str = DEFAULT

    @property
    def home(self) -> Path:
        """The folder of what Limner keeps for it."""
        base = self.folder / HOME
        return base if self.name == DEFAULT else base / "projects" / self.name

    @property
    def copies(self) -> Path:
        """The folder of copies of artifacts that lie elsewhere."""
        return self.home / "copies"

    def url(self, value: str) -> str:
        """A URL whose relative path is taken from the project's folder."""
        scheme, colon, rest = value.partition(":")
        if scheme == "sqlite" and rest.startswith("///") and not rest.startswith("////"):
            return f"sqlite:///{self.folder / rest[3:]}"
        if colon and scheme in ("file", "sqlite") and not rest.startswith("/"):
            return f"{scheme}:{self.folder / rest}"
        return value

    def path(self, value: str) -> Path:
        """A path, taken from the project's folder where it is relative."""
        return (self.folder / value).resolve()


def load_project(
    folder: Path | str = ".",
    *,
    environment: Mapping[str, str] | None = None,
    options: Mapping[str, object] | None = None,
) -> Project:
    """
    The project in *folder*: its ``limner.toml``, overridden by ``LIMNER_*`` and then by *options*.

    Raises:
        ConfigurationError: a setting is unknown or of the wrong type; the sentence names it and where it stands.
    """
    place = Path(folder).resolve()
    if not place.is_dir():
        raise ConfigurationError(f"There is no folder {place}.")
    values: dict[str, object] = {}
    file = place / FILE
    if file.is_file():
        try:
            values.update(tomllib.loads(file.read_text(encoding="utf-8")))
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"{file} is no valid TOML: {error}") from error
    values.update(_from_environment(os.environ if environment is None else environment))
    values.update({key: value for key, value in (options or {}).items() if value is not None})
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"The settings of {place} are not right: {error}. See docs/settings.md.") from error
    _check(settings)
    return Project(folder=place, settings=settings)


def _from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    """Settings from ``LIMNER_*``; lists are separated by commas."""
    known = {f"LIMNER_{item.encode_name.upper()}": item for item in structs_fields()}
    found: dict[str, object] = {}
    for name, value in environment.items():
        item = known.get(name)
        if item is None or item.encode_name in _TABLES:
            continue
        listed = item.encode_name in _LISTS.split(", ")
        found[item.encode_name] = [part.strip() for part in value.split(",") if part.strip()] if listed else value
    return found


def structs_fields() -> tuple[structs.FieldInfo, ...]:
    """The settings' names, types and defaults."""
    return structs.fields(Settings)


def _check(settings: Settings) -> None:
    """Refuse values that no part would understand."""
    problems = {
        "`keep` is done, always, or a number of days": not (
            settings.keep in ("done", "always") or settings.keep.replace(".", "", 1).isdigit()
        ),
        "`parallel` is 0 or more": settings.parallel < 0,
        "`max_bytes_in_flight` is 1 or more": settings.max_bytes_in_flight < 1,
        "`max_value_bytes` is 1000 or more": settings.max_value_bytes < 1000,
        "`max_growth_mb` is 0 or more": settings.max_growth_mb < 0,
        "`in_flight` is 1 or more": settings.in_flight < 1,
        "`lease` is at least one second": settings.lease < 1,
        "`connect_timeout` and `fetch_timeout` are above 0": min(settings.connect_timeout, settings.fetch_timeout) <= 0,
        "`per_host` is 1 or more": settings.per_host < 1,
        "`incomplete` is show or hide": settings.incomplete not in ("show", "hide"),
        "`secret_key` has at least 32 characters": 0 < len(settings.secret_key) < 32,
        "`webhook_secret` goes on with base64 after whsec_": not _signs(settings.webhook_secret),
        "`callback_max_bytes` is 1000 or more": settings.callback_max_bytes < 1000,
        "`callback_timeout` is more than 0": settings.callback_timeout <= 0,
        "`max_request_bytes` is 1000 or more": settings.max_request_bytes < 1000,
        "`rate_limit` is 0 or more": settings.rate_limit < 0,
        "`content` is any, allowlist or ids": settings.content not in ("any", "allowlist", "ids"),
        "`online_window` is 0 or more": settings.online_window < 0,
    }
    for problem, found in problems.items():
        if found:
            raise ConfigurationError(f"The setting {problem}.")


def _signs(secret: str) -> bool:
    """Whether *secret* can be a signing secret."""
    if not secret.startswith("whsec_"):
        return True
    try:
        return bool(base64.b64decode(secret.removeprefix("whsec_"), validate=True))
    except binascii.Error:
        return False
