"""The registry: models by name and number, each a file that was checked, and the aliases that decide which serves."""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct, structs

from limner.artifacts.base import Artifacts
from limner.clock import Clock
from limner.domain.models import ModelVersion
from limner.domain.values import Value, encode
from limner.errors import ArtifactMissing, ChecksumMismatch, ModelRefused, NotFound, UsageError
from limner.models.files import FileReport, check_file, licence_in, write_preprocessing
from limner.models.moves import CHAMPION, before, moved_on, rolled_back
from limner.store.models import AliasMove
from limner.store.store import Store, Transaction

#: May be asked for by anyone, or only by those with a token.
VISIBILITIES = ("private", "public")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_ALIAS = re.compile(r"[a-z][a-z0-9_-]*")


class Entry(Struct, frozen=True, kw_only=True):
    """One version of a model as a listing shows it."""

    version: ModelVersion
    aliases: tuple[str, ...]


class Card(Struct, frozen=True, kw_only=True):
    """All that is known of one version: what travels along with its file."""

    version: ModelVersion
    aliases: tuple[str, ...]
    #: Every move of the model's aliases from or to it, oldest first.
    moves: tuple[AliasMove, ...]


#: What the manifest of a model that answers with one vector a record calls its `output`; most say nothing.
_ONE_VECTOR = (None, "logits", "embedding")


class Registry:
    """Models of one store, their files among the artifacts; may be used by several threads and processes at once."""

    def __init__(self, store: Store, artifacts: Artifacts, clock: Clock) -> None:
        self._store = store
        self._artifacts = artifacts
        self._clock = clock

    def add(
        self,
        name: str,
        file: Path,
        *,
        manifest: Mapping[str, Value] | None = None,
        licence: str | None = None,
        origin: Mapping[str, Value] | None = None,
        metrics: Mapping[str, Value] | None = None,
        preprocess: str | None = None,
        visibility: str = "private",
        as_champion: bool = True,
        by: str = "limner",
    ) -> ModelVersion:
        """
        Check the file and register it as the next version; the same bytes and manifest give the version they have.

        *preprocess*, a preset or JSON, is written into a copy of an ONNX file, and the copy is added. The licence,
        by default the one that the file names, is part of the manifest. The first version of a name becomes its
        champion, unless told otherwise.

        Raises:
            ModelRefused: the file did not pass its check, or is to be public without a licence; nothing was added.
            UsageError: the name, the preprocessing or the visibility is not valid.
            NotFound: there is no such file.
        """
        _check_words(name, file, visibility=visibility)
        with TemporaryDirectory(prefix="limner-model-") as folder:
            # A copy that stands alone: data beside the file would not be there when a worker loads the artifact.
            copy = Path(folder) / file.name
            licence = licence or _text(manifest, "licence") or licence_in(file, filename=file.name)
            _copy(file, copy, preprocess=preprocess, licence=licence)
            plain = (manifest or {}).get("output") in _ONE_VECTOR
            report = _passed(name, check_file(copy, filename=file.name, one_vector=plain), filename=file.name)
            if visibility == "public" and not licence:
                raise ModelRefused(_without_licence(name))
            sha256 = self._artifacts.put_file(copy)
            wanted = ModelVersion(
                name=name,
                number=0,
                sha256=sha256,
                filename=file.name,
                size=copy.stat().st_size,
                created=self._clock.now(),
                manifest={**(manifest or {}), **({"licence": licence} if licence else {})},
                origin=dict(origin or {}),
                metrics=dict(metrics or {}),
                licence=licence,
                visibility=visibility,
                warnings=report.warnings,
            )
        return self._register(wanted, as_champion=as_champion, by=by)

    def listing(self, name: str | None = None, *, public_only: bool = False) -> list[Entry]:
        """All versions, or those of one model, by name and number; *public_only* hides the private ones."""
        with self._store.reading() as tx:
            found = tx.models.listing(name)
            aliases = {model: tx.models.aliases(model) for model in {version.name for version in found}}
        return [
            Entry(version=version, aliases=_names(aliases[version.name], version.number))
            for version in found
            if version.visibility == "public" or not public_only
        ]

    def find(self, reference: str) -> ModelVersion:
        """
        The version that ``name@alias``, ``name@number`` or ``name`` (its champion) names.

        Raises:
            NotFound: there is none; the sentence names what there is.
        """
        with self._store.reading() as tx:
            return _find(tx, reference)

    def champion(self, name: str) -> ModelVersion | None:
        """The version that serves; None where the model has none."""
        with self._store.reading() as tx:
            return tx.models.find(name)

    def show(self, reference: str) -> Card:
        """
        All that is known of one version.

        Raises:
            NotFound: there is none of this reference.
        """
        with self._store.reading() as tx:
            version = _find(tx, reference)
            aliases = tx.models.aliases(version.name)
            moves = tx.models.moves(version.name)
        return Card(
            version=version,
            aliases=_names(aliases, version.number),
            moves=tuple(move for move in moves if version.number in (move.old, move.new)),
        )

    def check(self, reference: str) -> FileReport:
        """
        Whether the file of a version is there, has its digest and passes its check.

        Raises:
            NotFound: there is none of this reference.
        """
        return self._check(self.find(reference))

    @contextmanager
    def file(self, version: ModelVersion) -> Iterator[Path]:
        """
        The file under the name that it had, to be read within the block: some loaders go by a file's ending.

        Raises:
            ArtifactMissing: the file is gone from the artifacts.
        """
        with TemporaryDirectory(prefix="limner-model-") as folder:
            link = Path(folder) / version.filename
            link.symlink_to(self._artifacts.path(version.sha256).absolute())
            yield link

    def promote(
        self,
        reference: str,
        alias: str = CHAMPION,
        *,
        gate_reasons: Sequence[str] = (),
        force: bool = False,
        by: str,
    ) -> ModelVersion:
        """
        Let *alias* stand for a version; where it does already, nothing moves.

        *gate_reasons* are what :func:`limner.models.training.gate_of` found against it. A move that is forced
        against them is recorded with them and with who asked.

        Raises:
            NotFound: there is none of this reference.
            ModelRefused: there are reasons and no force, or the file is damaged, against which no force helps.
            UsageError: the alias is not valid.
        """
        if not _ALIAS.fullmatch(alias):
            raise UsageError(f"{alias!r} is no alias; use small letters, digits, _ and -, a letter first.")
        version = self.find(reference)
        called = f"{version.name}@{version.number}"
        _passed(called, self._check(version), filename=version.filename)
        with self._store.transaction() as tx:
            old = tx.models.aliases(version.name).get(alias)
            if old == version.number:
                return version
            if gate_reasons and not force:
                raise ModelRefused(
                    f"{called} was not promoted to {alias}: {'; '.join(gate_reasons)}. "
                    "Train again with other samples, or add --force, which is recorded."
                )
            tx.models.move_alias(moved_on(version, alias, old=old, at=self._clock.now(), by=by, reasons=gate_reasons))
        return version

    def rollback(self, name: str, alias: str = CHAMPION, *, by: str) -> ModelVersion:
        """
        Let *alias* stand for the version before; again, for the one before that.

        Raises:
            NotFound: there is no such model.
            UsageError: the alias has no version before the present one.
            ModelRefused: the file of the version before is gone or damaged.
        """
        with self._store.reading() as tx:
            _refuse_unknown(tx, name)
            earlier = before(tx.models.moves(name), alias=alias)
            present = tx.models.aliases(name).get(alias)
        if earlier is None or present is None:
            at = f"which stands at {name}@{present}" if present else "which stands for none"
            raise UsageError(f"There is no version of {name} before the {alias}, {at}; promote one by its number.")
        version = self.find(f"{name}@{earlier}")
        _passed(f"{name}@{earlier}", self._check(version), filename=version.filename)
        with self._store.transaction() as tx:
            if before(tx.models.moves(name), alias=alias) != earlier:
                raise UsageError(f"The {alias} of {name} was moved meanwhile; look with: limner models show {name}.")
            tx.models.move_alias(rolled_back(version, alias, old=present, at=self._clock.now(), by=by))
        return version

    def publish(self, reference: str) -> ModelVersion:
        """
        Let anyone fetch a version's file, without a token.

        Raises:
            NotFound: there is none of this reference.
            ModelRefused: it has no licence.
        """
        with self._store.transaction() as tx:
            version = _find(tx, reference)
            if not version.licence:
                raise ModelRefused(_without_licence(f"{version.name}@{version.number}"))
            public = structs.replace(version, visibility="public")
            tx.models.replace(public)
        return public

    def _register(self, wanted: ModelVersion, *, as_champion: bool, by: str) -> ModelVersion:
        """Insert *wanted* under the next number, unless its bytes and manifest are there already."""
        with self._store.transaction() as tx:
            known = [one for one in tx.models.listing(wanted.name) if _same(one, wanted)]
            if known:
                return self._republished(tx, known[0], visibility=wanted.visibility)
            version = structs.replace(wanted, number=tx.models.next_number(wanted.name))
            tx.models.add(version)
            if as_champion and version.number == 1:
                tx.models.move_alias(moved_on(version, CHAMPION, old=None, at=version.created, by=by, reasons=()))
        return version

    def _republished(self, tx: Transaction, version: ModelVersion, *, visibility: str) -> ModelVersion:
        """*version* itself, or public where it is added again as such; what is public stays so."""
        if visibility != "public" or version.visibility == "public":
            return version
        public = structs.replace(version, visibility="public")
        tx.models.replace(public)
        return public

    def _check(self, version: ModelVersion) -> FileReport:
        try:
            self._artifacts.verify(version.sha256)
            return check_file(self._artifacts.path(version.sha256), filename=version.filename)
        except (ArtifactMissing, ChecksumMismatch) as error:
            return FileReport(problems=(f"{error} Add the file again.",))


def _check_words(name: str, file: Path, *, visibility: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name of a model; use small letters, digits, dots, _ and -.")
    if visibility not in VISIBILITIES:
        raise UsageError(f"{visibility!r} is no visibility; use {' or '.join(VISIBILITIES)}.")
    if not file.is_file():
        raise NotFound(f"There is no file {file}; name the model's file.")


def _copy(file: Path, copy: Path, *, preprocess: str | None, licence: str | None) -> None:
    if preprocess is None:
        shutil.copyfile(file, copy)
    elif file.suffix.lower() == ".onnx":
        write_preprocessing(file, copy, preprocess=preprocess, licence=licence or "")
    else:
        raise UsageError(f"Preprocessing is written into ONNX files only, and {file.name} is none; leave it out.")


def _passed(called: str, report: FileReport, *, filename: str) -> FileReport:
    if report.problems:
        raise ModelRefused(f"{called}: the file {filename} was refused. {' '.join(report.problems)}")
    return report


def _without_licence(called: str) -> str:
    return f"{called} names no licence, so it cannot be public; add its file again with --licence, and publish that."


def _same(one: ModelVersion, other: ModelVersion) -> bool:
    return one.sha256 == other.sha256 and encode(dict(one.manifest)) == encode(dict(other.manifest))


def _find(tx: Transaction, reference: str) -> ModelVersion:
    version = tx.models.find(reference)
    if version is not None:
        return version
    name = reference.partition("@")[0]
    _refuse_unknown(tx, name)
    numbers = [f"{name}@{one.number}" for one in tx.models.listing(name)]
    aliases = [f"{name}@{alias}" for alias in tx.models.aliases(name)]
    asked = reference if "@" in reference else f"{name}@{CHAMPION}"
    raise NotFound(f"There is no {asked}; there is: {', '.join(numbers + aliases)}.")


def _refuse_unknown(tx: Transaction, name: str) -> None:
    known = list(dict.fromkeys(version.name for version in tx.models.listing()))
    if name not in known:
        there = f"there is: {', '.join(known)}" if known else "none was added yet: limner models add NAME FILE"
        raise NotFound(f"There is no model {name}; {there}.")


def _names(aliases: Mapping[str, int], number: int) -> tuple[str, ...]:
    return tuple(sorted(alias for alias, stands_for in aliases.items() if stands_for == number))


def _text(manifest: Mapping[str, Value] | None, key: str) -> str | None:
    found = (manifest or {}).get(key)
    return found if isinstance(found, str) else None
