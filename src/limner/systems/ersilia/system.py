"""What the system brings: its pipelines, verbs, exports, routes and a demonstration, each loaded when it is needed."""

from limner.domain.systems import System

_HOME = "limner.systems.ersilia"

system = System(
    name="ersilia",
    about="Molecules: what packaged models predict for a whole library, calculated once and looked up by key.",
    makers={"molecules": f"{_HOME}.pipeline:pipeline_of"},
    needs=("rdkit", "pydantic", "yaml"),
    check_folder=f"{_HOME}.packages.checking:check_folder",
    install_model=f"{_HOME}.packages.installing:install_model",
    audit_library=f"{_HOME}.precalc.auditing:audit_library",
    exports={"molecules": f"{_HOME}.predictions.exporting:export_predictions"},
    demo=f"{_HOME}.demo:demo",
    template=f"{_HOME}:template",
    routes=f"{_HOME}.door.routes:routes",
)
