"""Sets of values for the chart: such as people use, and such as it has to refuse."""

from tests.deploy.helm import Tree

MINIMAL: Tree = {
    "image": {"repository": "registry.example.org/limner"},
    "store": {"secretName": "limner-store"},
    "artifacts": {"url": "s3://museum/limner"},
    "secretKey": {"secretName": "limner-key"},
}
#: One server, its files on a volume.
VOLUME: Tree = {
    "image": {"repository": "registry.example.org/limner", "tag": "2"},
    "store": {"secretName": "limner-store"},
    "persistence": {"enabled": True, "storageClassName": "fast"},
}
#: Nobody infers in the cluster: all workers come over HTTPS.
FAR: Tree = {
    **MINIMAL,
    "ingress": {"enabled": True, "className": "nginx", "host": "limner.example.org", "tlsSecretName": "limner-tls"},
    "networkPolicy": {
        "publicEgress": False,
        "serverFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}],
    },
}
CLUSTER: Tree = {
    **MINIMAL,
    "server": {"replicas": 3},
    "bus": {"secretName": "limner-bus"},
    "workerToken": {"secretName": "limner-worker"},
    "keda": {"prometheusAddress": "http://prometheus.monitoring:9090"},
    "workers": [
        {
            "name": "detect",
            "stages": ["antenna.detect", "crop"],
            "image": {"repository": "registry.example.org/detect"},
            "gpu": 1,
            "grace": 300,
            "keda": {"enabled": True, "maxReplicas": 4, "recordsPerReplica": 500},
        },
        {"name": "rest", "image": {"repository": "registry.example.org/rest", "tag": "7"}, "replicas": 0},
    ],
}
#: Every value that there is, set to something else than its default.
EVERYTHING: Tree = {
    "nameOverride": "illuminator",
    "fullnameOverride": "museum",
    "image": {
        "repository": "registry.example.org/limner",
        "tag": "2",
        "digest": "sha256:" + "0123456789abcdef" * 4,
        "pullPolicy": "Always",
    },
    "imagePullSecrets": ["registry"],
    "store": {"secretName": "limner-store", "key": "store"},
    "bus": {"secretName": "limner-bus", "key": "bus"},
    "index": {"secretName": "limner-store", "key": "store"},
    "events": {"secretName": "limner-bus", "key": "events"},
    "artifacts": {"url": "s3://museum/limner?endpoint_url=https://s3.example.org", "secretName": "limner-s3"},
    "secretKey": {"secretName": "limner-key", "key": "key"},
    "webhookSecret": {"secretName": "limner-key", "key": "webhook"},
    "persistence": {"enabled": False, "existingClaim": "claim", "size": "1Gi", "storageClassName": "slow"},
    "settings": {"lease": 120.5, "cache_bytes": 8_000_000_000, "allow_hosts": ["10.0.0.0/8", "a.example.org"]},
    "server": {
        "replicas": 2,
        "ownWorkers": 1,
        "grace": 40,
        "resources": {"limits": {"memory": "4Gi"}},
        "scratch": "20Gi",
        "service": {"type": "NodePort", "port": 80, "annotations": {"a": "b"}},
        "podDisruptionBudget": False,
        "podAnnotations": {"a": "b"},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
    },
    "workers": [
        {
            "name": "classify",
            "stages": ["antenna.classify"],
            "image": {"repository": "registry.example.org/classify", "tag": "1", "pullPolicy": "Always"},
            "replicas": 2,
            "resources": {"requests": {"cpu": "2"}, "limits": {"memory": "8Gi"}},
            "gpu": 2,
            "parallel": 2,
            "grace": 60,
            "maxBytesInFlight": "1GiB",
            "scratch": "50Gi",
            "shm": "1Gi",
            "url": "amqps://team@broker.example.org/limner",
            "token": {"secretName": "team", "key": "password"},
            "env": [{"name": "OMP_NUM_THREADS", "value": "2"}],
            "keda": {
                "enabled": True,
                "minReplicas": 1,
                "maxReplicas": 20,
                "recordsPerReplica": 2_000_000,
                "pollingInterval": 5,
                "cooldownPeriod": 0,
            },
            "nodeSelector": {"gpu": "yes"},
            "tolerations": [{"key": "b", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "podAnnotations": {"c": "d"},
            "runtimeClassName": "nvidia",
        },
        {
            "name": "cron",
            "image": {"repository": "registry.example.org/cron"},
            "shm": 0,
            "keda": {
                "enabled": True,
                "triggers": [
                    {
                        "type": "cron",
                        "metadata": {
                            "timezone": "UTC",
                            "start": "0 6 * * *",
                            "end": "0 20 * * *",
                            "desiredReplicas": "2",
                        },
                    }
                ],
            },
        },
    ],
    "workerToken": {"secretName": "limner-worker", "key": "work"},
    "keda": {
        "prometheusAddress": "https://prometheus.example.org",
        "matchers": 'namespace="models"',
        "authenticationRef": "prometheus",
    },
    "toolbox": {"enabled": True, "resources": {"limits": {"memory": "2Gi"}}},
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "host": "limner.example.org",
        "tlsSecretName": "limner-tls",
        "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "64m"},
    },
    "serviceMonitor": {"enabled": True, "interval": "30s", "labels": {"release": "monitoring"}},
    "networkPolicy": {
        "enabled": True,
        "publicEgress": False,
        "serverFrom": [{"podSelector": {}}],
        "store": {"ports": [5433], "to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]},
        "broker": {"ports": [5671], "to": [{"podSelector": {"matchLabels": {"app": "rabbitmq"}}}]},
        "artifacts": {"ports": [9000], "to": [{"ipBlock": {"cidr": "10.2.0.0/16"}}]},
        "serverEgress": [{"ports": [{"port": 25}]}],
        "workerEgress": [{"ports": [{"port": 3128}]}],
    },
    "serviceAccount": {"name": "", "annotations": {"a": "b"}},
    "podSecurityContext": {"runAsUser": 2000, "fsGroup": 2000},
    "securityContext": {"privileged": False},
}

#: By name: sets that render.
GOOD: dict[str, Tree] = {
    "minimal": MINIMAL,
    "volume": VOLUME,
    "far": FAR,
    "cluster": CLUSTER,
    "everything": EVERYTHING,
    "open": {**MINIMAL, "networkPolicy": {"enabled": False}, "serviceAccount": {"name": "own"}},
}


def worker(**more: object) -> Tree:
    """A set with one worker, with *more* said of it."""
    return {**MINIMAL, "workers": [{"name": "one", "image": {"repository": "registry.example.org/one"}, **more}]}


#: Sets that are refused, by what the refusal has to name.
BAD: dict[str, Tree] = {
    "/image/repository": {**MINIMAL, "image": {}},
    "/store/secretName": {**MINIMAL, "store": {}},
    "/artifacts/url": {**MINIMAL, "artifacts": {}},
    "/secretKey/secretName": {**MINIMAL, "secretKey": {}},
    "'postgresql://": {**MINIMAL, "store": {"secretName": "postgresql://user:password@host/db"}},
    "/bus/secretName": {**MINIMAL, "server": {"replicas": 2}},
    "/persistence/enabled": {
        **MINIMAL,
        "server": {"replicas": 2},
        "bus": {"secretName": "b"},
        "persistence": {"enabled": True},
    },
    "/server/replicas": {**MINIMAL, "server": {"replicas": 0}},
    "'colour'": {**MINIMAL, "colour": "red"},
    "'leese'": {**MINIMAL, "settings": {"leese": 5}},
    "'secret_key'": {**MINIMAL, "settings": {"secret_key": "x" * 40}},
    "/ingress/host": {**MINIMAL, "ingress": {"enabled": True}},
    "'gpus'": worker(gpus=1),
    "/workers/0/stages/0": worker(stages=["Detect it"]),
    "/workers/0/name": worker(name="Upper"),
    "/workers/0/url": worker(url="amqps://team:password@broker.example.org/limner"),
    "/workers/0/maxBytesInFlight": worker(maxBytesInFlight="much"),
    "/workers/0/keda": worker(keda={"maxReplicas": 3}),
    "keda.prometheusAddress is needed": worker(keda={"enabled": True}),
    "/keda/matchers": {**MINIMAL, "keda": {"matchers": "namespace=models"}},
    "/networkPolicy/store/ports/0": {**MINIMAL, "networkPolicy": {"store": {"ports": [70_000]}}},
}
