"""From a package and an environment to the release that predictions name."""

from collections.abc import Mapping

from limner.systems.ersilia.nouns import Release
from limner.systems.ersilia.packages.base import Package


def release_of(
    package: Package,
    *,
    environment: Mapping[str, str],
    deterministic: bool = True,
    checked: bool = True,
    digest: str | None = None,
) -> Release:
    """The release of *package* in one environment; *digest* spares packing it again where it is known."""
    return Release(
        model=package.id,
        release=package.release,
        package=digest or package.digest,
        environment=environment,
        columns=package.columns,
        deterministic=deterministic,
        checked=checked,
    )
