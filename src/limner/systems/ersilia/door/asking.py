"""Answers the better look-up: molecules by keys or by SMILES, one model or several, one version in each answer."""

from collections.abc import Mapping, Sequence

from msgspec import structs

from limner.api.auth import Caller
from limner.app.online_inputs import Input
from limner.domain.values import Value, decode, encode
from limner.errors import NotFound
from limner.systems.ersilia.door.looking_up import look_up
from limner.systems.ersilia.door.tables import Tables
from limner.systems.ersilia.door.wanted import Block, Molecule, Wanted, columns_of, described, places_of, result_of
from limner.systems.ersilia.library.index import record_id
from limner.systems.ersilia.nouns import KeyScheme
from limner.systems.ersilia.predictions.base import Shelf
from limner.systems.ersilia.reasons import Reason

_IDENTIFY = "molecules.identify"
#: Seconds that identifying may take beyond the stage's own limit.
_PATIENCE = 60.0


def answered(tables: Tables, caller: Caller, wanted: Wanted) -> list[Block]:
    """
    A block for each model.

    Raises:
        NotFound: there is no such model or version.
        UsageError: a column is unknown.
    """
    table = tables.of(caller.host)
    scheme = table.scheme() or KeyScheme.INCHIKEY
    shelves = [_shelf(tables, caller, model, version=wanted.version) for model in wanted.models]
    if wanted.smiles is None:
        molecules = [Molecule(key=key) for key in wanted.keys or ()]
    else:
        molecules = identified(caller, wanted.smiles, scheme=scheme)
    keys = [molecule.key for molecule in molecules]
    found = [look_up(table, shelf, keys) for shelf in shelves]
    blocks = []
    for model, shelf, predictions in zip(wanted.models, shelves, found, strict=True):
        block = _described(model, shelf, scheme=scheme, columns=wanted.columns)
        places = None if shelf is None else places_of(shelf.release, wanted.columns)
        results = [
            result_of(molecule, prediction, places=places)
            for molecule, prediction in zip(molecules, predictions, strict=True)
        ]
        missing = sum(result.status == "missing" for result in results)
        blocks.append(structs.replace(block, results=results, missing=missing))
    return blocks


def identified(caller: Caller, smiles: Sequence[str], *, scheme: KeyScheme) -> list[Molecule]:
    """The molecules that *smiles* name, with the keys that the stage ``identify`` makes; a bad one fails alone."""
    # What stands behind a blank is a name, as in a library.
    texts = [next(iter(text.split()), "") for text in smiles]
    distinct = list(dict.fromkeys(text for text in texts if text))
    known = _identities(caller, distinct, scheme=scheme)
    empty = f"{Reason.EMPTY_INPUT.value}: There is no SMILES here."
    known[""] = Molecule(key="", smiles="", code=Reason.EMPTY_INPUT.code.value, message=empty)
    return [known[text] for text in texts]


def _identities(caller: Caller, smiles: Sequence[str], *, scheme: KeyScheme) -> dict[str, Molecule]:
    if not smiles:
        return {}
    online = caller.online
    target = online.target(_IDENTIFY)
    limit = target.runtime.timeout.total_seconds() + _PATIENCE
    outcomes = []
    for start in range(0, len(smiles), target.runtime.batch):
        rows: list[Mapping[str, Input]] = [
            {"smiles": encode(text)} for text in smiles[start : start + target.runtime.batch]
        ]
        outcomes.append(online.begin(target, rows))
    found = {}
    for text, outcome in zip(smiles, (one for part in outcomes for one in part.result(limit)), strict=True):
        if outcome.failure is not None:
            failure = outcome.failure
            found[text] = Molecule(key="", smiles=text, code=failure.code.value, message=failure.message)
        else:
            found[text] = _molecule(text, decode(outcome.value), scheme=scheme)
    return found


def _molecule(smiles: str, identity: Value, *, scheme: KeyScheme) -> Molecule:
    key = record_id(smiles) if scheme is KeyScheme.MD5 else identity["inchikey"]
    if key is None:
        told = f"{Reason.NO_KEY.value}: InChI knows no key of this molecule."
        return Molecule(key="", smiles=smiles, code=Reason.NO_KEY.code.value, message=told)
    return Molecule(key=key, smiles=smiles)


def _shelf(tables: Tables, caller: Caller, model: str, *, version: str | None) -> Shelf | None:
    shelf = tables.shelf(caller.host, model, version=version)
    if shelf is None and not tables.knows(caller.host, model):
        raise NotFound(f"There is no model {model}; known are: {', '.join(tables.models(caller.host)) or 'none'}.")
    return shelf


def _described(model: str, shelf: Shelf | None, *, scheme: KeyScheme, columns: Sequence[str] | None) -> Block:
    """What holds for all results of a block."""
    release = None if shelf is None else shelf.release
    shown = [] if release is None else described(columns_of(release, places_of(release, columns)))
    return Block(
        model=model,
        version=None if release is None else release.version,
        package=None if release is None else release.package,
        environment=None if release is None else release.environment,
        environment_digest=None if release is None else release.environment_digest,
        key_scheme=scheme.value,
        deterministic=None if release is None else release.deterministic,
        checked=None if release is None else release.checked,
        complete=shelf is not None and shelf.complete,
        columns=shown,
        results=[],
        missing=0,
    )
