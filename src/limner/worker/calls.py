"""One call of an inferrer's host: what is asked, what comes back, and what went wrong as a code and a sentence."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from msgspec import Struct

from limner.domain.failures import FailureCode
from limner.domain.tasks import Outcome, Runtime
from limner.domain.values import Value
from limner.domain.versions import Description
from limner.errors import AddressRefused, InferrerBroken, MissingExtra

if TYPE_CHECKING:
    # A child process starts without an HTTP client, unless its inferrer asks over HTTP.
    import httpx

    from limner.inferrers.host import Host

_LONGEST = 1000
#: What native code says when it finds no memory and cannot raise MemoryError.
_NO_MEMORY = ("bad_alloc", "Failed to allocate memory", "out of memory", "smaller than requested bytes")


class Load(Struct, frozen=True, kw_only=True, tag="load"):
    """Asks a child process to load an inferrer; the first thing that it is told."""

    runtime: Runtime
    #: Local path of the model's file.
    model_path: str | None
    #: Where the inferrer runs unless its parameters say so: ``cpu``, ``cuda:0``.
    device: str | None
    #: Folder that the user's modules are found in.
    project: str
    #: The setting ``allow_hosts``: what else an inferrer behind HTTP may be at.
    allow_hosts: tuple[str, ...]
    #: The setting ``max_value_bytes``: a record whose encoded value has more fails.
    max_value_bytes: int = 8_000_000


class Call(Struct, frozen=True, kw_only=True, tag="call"):
    """Asks for the outcomes of some records."""

    columns: Mapping[str, list[bytes]]
    prior: list[bytes]


class Describe(Struct, frozen=True, kw_only=True, tag="describe"):
    """Asks what an inferrer says of itself, without loading it."""

    infer: str
    params: Mapping[str, Value]
    project: str
    allow_hosts: tuple[str, ...]


class Loaded(Struct, frozen=True, kw_only=True, tag="loaded"):
    """The inferrer can be called."""


class Written(Struct, frozen=True, kw_only=True):
    """A file that an inferrer made, to be uploaded before its outcome is answered."""

    sha256: str
    path: str
    #: Position, in the call, of the record that it belongs to.
    index: int


class Done(Struct, frozen=True, kw_only=True, tag="done"):
    """One outcome for each record; their indexes count from 0 in the call."""

    outcomes: list[Outcome]
    files: list[Written]


class Trouble(Struct, frozen=True, kw_only=True, tag="trouble"):
    """The call as a whole went wrong: with fewer records it may go well."""

    code: FailureCode
    message: str


class Unusable(Struct, frozen=True, kw_only=True, tag="unusable"):
    """The inferrer cannot be used now, whatever the records; none of them is to blame."""

    reason: str


Asked: TypeAlias = Load | Call | Describe
Reply: TypeAlias = Done | Trouble | Unusable
Answered: TypeAlias = Done | Trouble | Unusable | Loaded | Description


class Runner(Protocol):
    """Something that calls an inferrer: a child process, or this one."""

    def run(self, columns: Mapping[str, list[bytes]], *, prior: list[bytes]) -> Reply:
        """The outcomes of these records, or what went wrong with the call as a whole."""
        ...

    def tidy(self, path: Path) -> None:
        """Remove *path*, which was uploaded, if it is certainly nobody's any more."""
        ...

    def kill(self) -> None:
        """End a call that is under way, from another thread, if that can be done."""
        ...

    def close(self) -> None:
        """Let go of the inferrer."""
        ...


def load_host(load: Load, *, scratch: Path) -> "Host":
    """
    The host of the inferrer that *load* names; files that it makes wait in *scratch*.

    Raises:
        InferrerBroken: it cannot be loaded.
        MissingExtra: it needs a part that is not installed.
    """
    from limner.inferrers.connect import asks_over_http
    from limner.inferrers.host import Host

    client = _client(load) if asks_over_http(load.runtime.infer) else None
    model_path = Path(load.model_path) if load.model_path else None
    return Host(
        load.runtime,
        model_path=model_path,
        device=load.device,
        client=client,
        max_value_bytes=load.max_value_bytes,
        scratch=scratch,
    )


def call_host(host: "Host", columns: Mapping[str, list[bytes]], *, prior: list[bytes]) -> Reply:
    """What *host* makes of some records; whatever a user's code raises is an answer, an exit included."""
    from limner.inferrers.base import InferrerUnavailable, OutputsMiscounted

    try:
        ran = host.run(columns, prior=prior)
    except MemoryError as error:
        return no_memory(error)
    except OutputsMiscounted as error:
        return Trouble(code=FailureCode.OUTPUT_INVALID, message=str(error))
    except (InferrerUnavailable, InferrerBroken, MissingExtra, AddressRefused) as error:
        return Unusable(reason=str(error))
    except (Exception, SystemExit) as error:  # noqa: BLE001  the process that calls must learn of it, whatever it is
        told = f"{type(error).__name__}: {error}"
        if any(sign in told for sign in _NO_MEMORY):
            return no_memory(error)
        return Trouble(code=FailureCode.MODEL_ERROR, message=told[:_LONGEST])
    files = [Written(sha256=file.sha256, path=str(file.path), index=file.index) for file in ran.files]
    return Done(outcomes=ran.outcomes, files=files)


def no_memory(error: BaseException) -> Trouble:
    """The trouble of a call that found no memory."""
    said = f": {error}" if str(error) else ""
    return Trouble(
        code=FailureCode.OUT_OF_MEMORY, message=f"The inferrer ran out of memory (memory_mb){said}"[:_LONGEST]
    )


def _client(load: Load) -> "httpx.Client":
    """What an inferrer behind HTTP is asked with: through the guard, within the stage's time limit."""
    from limner.addresses import AddressGuard

    return AddressGuard(allow_hosts=load.allow_hosts).client(total=load.runtime.timeout)
