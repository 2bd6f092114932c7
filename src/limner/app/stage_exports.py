"""Exports of one stage to places that the installed systems know."""

from limner.app.app import App
from limner.app.declared import load_target
from limner.errors import ConfigurationError, UsageError


def export_stage(app: App, collection: str, *, stage: str, to: str) -> int:
    """
    Have the system of *collection* write what *stage* said to the place *to*; how many values that were.

    Raises:
        UsageError: no system exports stages of this collection.
    """
    exports = {name: target for system in app.declared.systems.values() for name, target in system.exports.items()}
    if collection not in exports:
        raise UsageError(
            f"No installed system exports a stage of {collection} by itself; leave --stage out. Known are: "
            f"{', '.join(sorted(exports)) or 'none'}."
        )
    export = load_target(exports[collection])
    if not callable(export):
        raise ConfigurationError(f"{exports[collection]} is no function.")
    return int(export(app, stage=stage, to=to))
