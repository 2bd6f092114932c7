"""Run in a process of its own, which knows Ray: nodes on this machine, told on standard input what becomes of them."""

import importlib
import json
import sys

#: Ray takes no less for objects.
NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}
#: That a node is dead is known after a second or two, and not after half a minute.
WATCHFUL = {"health_check_period_ms": 500, "health_check_initial_delay_ms": 500, "health_check_failure_threshold": 6}


def main() -> None:
    """Start one node; then do what each line says (``add``, ``kill N``) and answer with the cluster as it is."""
    ray = importlib.import_module("ray")
    utils = importlib.import_module("ray.cluster_utils")
    head = {**NODE, "include_dashboard": False, "_system_config": WATCHFUL}
    cluster = utils.Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.head_node]
    answer(cluster, nodes)
    for line in sys.stdin:
        verb, _, at = line.strip().partition(" ")
        if verb == "add":
            nodes.append(cluster.add_node(**NODE))
        else:
            cluster.remove_node(nodes.pop(int(at)), allow_graceful=False)
        answer(cluster, nodes)
    cluster.shutdown()
    ray.shutdown()


def answer(cluster, nodes) -> None:  # type: ignore[no-untyped-def]  # Ray is not installed where types are checked
    """Say where the cluster is, where its logs lie, and which process is each node."""
    raylets = [node.all_processes["raylet"][0].process.pid for node in nodes]
    told = {"address": cluster.address, "session": cluster.head_node.get_session_dir_path(), "raylets": raylets}
    sys.stdout.write(f"{json.dumps(told)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
