"""LitServe's side of work C: the same tiny model behind its dynamic batching; the port is the only argument."""

import sys
from typing import Any

import litserve


class Double(litserve.LitAPI):
    """Twice a number."""

    def setup(self, device: str) -> None:
        """Load nothing."""

    def decode_request(self, request: dict[str, Any]) -> float:
        """The number of a body."""
        return float(request["inputs"][0]["data"][0])

    def batch(self, inputs: list[float]) -> list[float]:
        """A batch is a list."""
        return inputs

    def predict(self, inputs: list[float]) -> list[float]:
        """A batch."""
        return [2 * one for one in inputs]

    def unbatch(self, output: list[float]) -> list[float]:
        """One answer for each."""
        return output

    def encode_response(self, output: float) -> dict[str, Any]:
        """The body of an answer."""
        return {"outputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [output]}]}


if __name__ == "__main__":
    api = Double(max_batch_size=64, batch_timeout=0.001)
    litserve.LitServer(api, accelerator="cpu").run(
        port=int(sys.argv[1]), host="127.0.0.1", generate_client_file=False, log_level="error"
    )
