"""What a far worker can serve of all that its server wants served: asked of the inferrers themselves, here."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from limner.domain.pipelines import EXTERNAL, Implementation
from limner.domain.values import Value
from limner.domain.versions import Description
from limner.domain.workers import Served, ServedVersion, digest_of
from limner.errors import UsageError
from limner.server_client import Server
from limner.settings import Project
from limner.worker.describe import describe_all


class Offer(Struct, frozen=True, kw_only=True):
    """What a worker can serve."""

    #: By address.
    serves: Mapping[str, Served]
    #: Why something that was asked for cannot be served here, in sentences.
    problems: Sequence[str]


class _Model(Struct, frozen=True):
    sha256: str


class _Wanted(Struct, frozen=True):
    """One implementation that the server's pipelines want served."""

    address: str
    pipeline: str
    stage: str
    implementation: str
    infer: str
    params: dict[str, Value]
    model: _Model | None = None


class _AllWanted(Struct, frozen=True):
    implementations: list[_Wanted]


def look(client: Server, project: Project, *, stages: Sequence[str], implementations: Sequence[str]) -> Offer:
    """
    What of the server's implementations can be served here; of some *stages* and *implementations* only, if named.

    Raises:
        UsageError: the server has none of these names.
        ServerUnavailable: it cannot be reached.
        ServerRefused: it does not accept the token.
    """
    chosen = _asked(client, stages, implementations)
    targets = {one.address: Implementation(infer=one.infer, params=one.params) for one in chosen}
    described = describe_all(targets, project=project.folder, allow_hosts=project.settings.allow_hosts)
    return Offer(
        serves={
            one.address: _served(one, described[one.address])
            for one in chosen
            if described[one.address].problem is None
        },
        problems=[
            f"Cannot serve {one.address}: {described[one.address].problem}"
            for one in chosen
            if described[one.address].problem is not None
        ],
    )


def wanted_of(client: Server, *, stages: Sequence[str], implementations: Sequence[str]) -> list[str]:
    """The addresses of what *client*'s server wants served, without a look at what can be; raises as :func:`look`."""
    return [one.address for one in _asked(client, stages, implementations)]


def _asked(client: Server, stages: Sequence[str], implementations: Sequence[str]) -> list[_Wanted]:
    wanted = client.ask("work/implementations", type=_AllWanted).implementations
    return _chosen(wanted, set(stages), set(implementations))


def _chosen(wanted: Sequence[_Wanted], stages: set[str], ways: set[str]) -> list[_Wanted]:
    named = {name for one in wanted for name in (one.stage, f"{one.pipeline}.{one.stage}")}
    unknown = sorted(stages - named) + sorted(ways - {one.implementation for one in wanted})
    if unknown:
        known = ", ".join(sorted({one.address for one in wanted})) or "nothing"
        raise UsageError(f"The server has no {', '.join(unknown)}; it wants served: {known}.")
    return [
        one
        for one in wanted
        if one.infer != EXTERNAL
        and (not stages or one.stage in stages or f"{one.pipeline}.{one.stage}" in stages)
        and (not ways or one.implementation in ways)
    ]


def _served(one: _Wanted, description: Description) -> Served:
    """What a worker says of one implementation that it serves; the model is the server's, and is fetched by digest."""
    return Served(
        stage=f"{one.pipeline}.{one.stage}",
        implementation=one.implementation,
        version=ServedVersion(
            code=description.code,
            model_digest=one.model.sha256 if one.model else None,
            params_digest=digest_of(one.params),
            environment_digest=digest_of(description.environment),
            environment=dict(description.environment),
        ),
    )
