"""The model of a precalculation: its package, checked and registered when it is first seen."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct

from limner.app.app import App
from limner.domain.models import ModelVersion
from limner.domain.values import Value
from limner.errors import ModelRefused, NotFound
from limner.models.moves import CHAMPION
from limner.systems.ersilia.nouns import Release
from limner.systems.ersilia.packages.archive import unpack
from limner.systems.ersilia.packages.base import Package
from limner.systems.ersilia.packages.golden import Verdict, check_package
from limner.systems.ersilia.packages.packing import pack
from limner.systems.ersilia.packages.reading import HUB, find_packages, read_package
from limner.systems.ersilia.packages.releases import release_of
from limner.systems.ersilia.pipeline import OWN


class Chosen(Struct, frozen=True, kw_only=True):
    """The champion of a model."""

    package: Package
    version: ModelVersion

    def release(self, environment: Mapping[str, str]) -> Release:
        """What is predicted with, in the environment that a worker said."""
        manifest = self.version.manifest
        return release_of(
            self.package,
            environment=environment,
            deterministic=manifest.get("deterministic") is not False,
            checked=manifest.get("checked") is not False,
            digest=self.version.sha256,
        )


def choose(app: App, model: str, *, unchecked: bool = False) -> Chosen:
    """
    The champion of *model*; a package that was not seen before is checked, registered and becomes it.

    Raises:
        NotFound: there is neither a package nor a registered model of this id; the sentence names the known ones.
        ModelRefused: a new package does not reproduce its golden example, and *unchecked* does not let that pass.
    """
    found = package_named(app, model)
    if not found.registered:
        _register(app, found.package, unchecked=unchecked)
    version = app.registry.find(f"{model}@{CHAMPION}")
    package = found.package if found.digest == version.sha256 else _registered(app, version)
    return Chosen(package=package, version=version)


class Found(Struct, frozen=True, kw_only=True):
    """A package as it lies in a folder, or as its model's champion was registered."""

    package: Package
    #: SHA-256 of the packed folder.
    digest: str
    #: Whether it is a version of its model already.
    registered: bool


def package_named(app: App, model: str) -> Found:
    """
    The package of *model*: the one in a folder, else the champion.

    Raises:
        NotFound: there is neither; the sentence names the known ones.
    """
    packages = packages_of(app)
    if model in packages:
        digest = packages[model].digest
        registered = any(entry.version.sha256 == digest for entry in app.registry.listing(model))
        return Found(package=packages[model], digest=digest, registered=registered)
    version = app.registry.champion(model)
    if version is None:
        raise NotFound(f"There is no model package {model}; known are: {', '.join(packages) or 'none'}.")
    return Found(package=_registered(app, version), digest=version.sha256, registered=True)


def packages_of(app: App) -> dict[str, Package]:
    """The packages that ship with Limner, and the project's own, which win."""
    return find_packages(HUB, app.project.folder / OWN)


def _register(app: App, package: Package, *, unchecked: bool) -> ModelVersion:
    """Check a package, and let it be the champion of its model."""
    verdict = None if unchecked else check_package(package, project=app.project.folder)
    if verdict is not None and not verdict.allowed:
        told = f"The package {package.id} in {package.folder} was refused"
        raise ModelRefused(f"{told}. {' '.join(verdict.problems)} --unchecked uses it all the same.")
    manifest = _manifest(package, verdict)
    with TemporaryDirectory(prefix="limner-package-") as folder:
        version = app.registry.add(
            package.id,
            pack(package, into=Path(folder)),
            manifest=manifest,
            licence=package.licence,
            origin={"folder": str(package.folder)},
            by="precalc",
        )
    return app.registry.promote(f"{package.id}@{version.number}", CHAMPION, by="precalc")


def _manifest(package: Package, verdict: Verdict | None) -> dict[str, Value]:
    """What is registered of a package besides its bytes; without a verdict it was not checked."""
    return {
        "release": package.release,
        "consistency": package.consistency,
        "deterministic": verdict is None or verdict.deterministic,
        "checked": verdict is not None,
    }


def _registered(app: App, version: ModelVersion) -> Package:
    """The package of a registered version that lies in no folder any more."""
    with app.registry.file(version) as file, TemporaryDirectory(prefix="limner-package-") as folder:
        return read_package(unpack(file, into=Path(folder) / "package"))
