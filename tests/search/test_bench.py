"""The benchmark of search runs on a small size and counts real results."""

import json
import subprocess
import sys
from pathlib import Path


def test_the_benchmark_of_search_counts_what_it_finds(repository: Path) -> None:
    """Every kind of query is measured, over all documents, and finds the true nearest."""
    size = ["--documents", "600", "--length", "16", "--queries", "20", "--judged", "20"]
    command = [sys.executable, str(repository / "bench" / "search.py"), *size]
    result = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert result["documents"] == 600
    assert set(result["kinds"]) == {"text filter near", "filter near", "near", "text filter"}
    assert result["kinds"]["near"]["documents_left"] == 600
    assert all(figures["p50_ms"] > 0 for figures in result["kinds"].values())
    assert all(figures["recall_at_10"] == 1 for kind, figures in result["kinds"].items() if "near" in kind)
