"""Run in a process of its own, which holds Helm's library: lints and renders a chart with many sets of values."""

import importlib
import json
import sys

#: Every set is installed under this name, into this namespace.
RELEASE, NAMESPACE = "demo", "models"


def main() -> None:
    """Read ``{chart, sets}`` from standard input, and write what became of each set."""
    asked = json.load(sys.stdin)
    helm = importlib.import_module("helm_python")
    found = {}
    with helm.Chart.load(asked["chart"]) as chart:
        for name, values in asked["sets"].items():
            try:
                rendered = chart.render(values, name=RELEASE, namespace=NAMESPACE)
            except helm.HelmError as error:
                found[name] = {"refused": str(error)}
            else:
                found[name] = {"files": rendered, "lint": helm.lint(asked["chart"], values)}
    json.dump({"helm": helm.helm_sdk_version(), "sets": found}, sys.stdout)


if __name__ == "__main__":
    main()
