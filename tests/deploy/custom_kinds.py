"""The kinds of KEDA and of Prometheus' operator, as far as the chart uses them: no package brings their schemas."""

from tests.deploy.helm import Tree

_TEXT: Tree = {"type": "string"}
_TEXTS: Tree = {"type": "object", "additionalProperties": _TEXT}


def _closed(properties: Tree, *required: str) -> Tree:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


_METADATA = _closed({"name": _TEXT, "labels": _TEXTS, "annotations": _TEXTS}, "name")
_PROMETHEUS = _closed(
    {
        "serverAddress": {"type": "string", "pattern": "^https?://"},
        "query": _TEXT,
        # Text, as all metadata of triggers is.
        "threshold": {"type": "string", "pattern": "^[1-9][0-9]*$"},
        "activationThreshold": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "serverAddress",
    "query",
    "threshold",
)
_TRIGGER: Tree = {
    **_closed(
        {"type": _TEXT, "metadata": _TEXTS, "authenticationRef": _closed({"name": _TEXT}, "name")}, "type", "metadata"
    ),
    "if": {"properties": {"type": {"const": "prometheus"}}},
    "then": {"properties": {"metadata": _PROMETHEUS}},
}
_COUNT: Tree = {"type": "integer", "minimum": 0}
#: Compared with the definitions of KEDA 2.21 (keda.sh/v1alpha1) and of the operator 0.85 (monitoring.coreos.com/v1).
SCHEMAS: dict[str, Tree] = {
    "ScaledObject": _closed(
        {
            "apiVersion": {"const": "keda.sh/v1alpha1"},
            "kind": _TEXT,
            "metadata": _METADATA,
            "spec": _closed(
                {
                    "scaleTargetRef": _closed({"name": _TEXT}, "name"),
                    "minReplicaCount": _COUNT,
                    "maxReplicaCount": _COUNT,
                    "pollingInterval": _COUNT,
                    "cooldownPeriod": _COUNT,
                    "triggers": {"type": "array", "minItems": 1, "items": _TRIGGER},
                },
                "scaleTargetRef",
                "triggers",
            ),
        },
        "apiVersion",
        "metadata",
        "spec",
    ),
    "ServiceMonitor": _closed(
        {
            "apiVersion": {"const": "monitoring.coreos.com/v1"},
            "kind": _TEXT,
            "metadata": _METADATA,
            "spec": _closed(
                {
                    "selector": _closed({"matchLabels": _TEXTS}),
                    "endpoints": {
                        "type": "array",
                        "items": _closed({"port": _TEXT, "path": _TEXT, "interval": _TEXT}, "port"),
                    },
                },
                "selector",
                "endpoints",
            ),
        },
        "apiVersion",
        "metadata",
        "spec",
    ),
}
