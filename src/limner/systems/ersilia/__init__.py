"""The ersilia system: a whole library of molecules through a model, stored, and looked up by key."""

from limner.domain.systems import System

system = System(
    name="ersilia",
    about="Molecules: what packaged models predict for a whole library, calculated once and looked up by key.",
    makers={"molecules": "limner.systems.ersilia.pipeline:molecules_pipeline"},
    needs=("rdkit", "pydantic", "yaml"),
    check_folder="limner.systems.ersilia.packages.checking:check_folder",
    routes="limner.systems.ersilia.door.routes:routes",
)
