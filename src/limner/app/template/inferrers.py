"""What is inferred here: plain Python that imports nothing of Limner, so that it is tested by itself."""

from collections import Counter
from math import log2

KINDS = {b"\xff\xd8\xff": "jpeg", b"\x89PNG": "png", b"GIF8": "gif", b"RIFF": "webp", b"II*": "tiff", b"MM": "tiff"}


class Facts:
    """The kind of a picture's file, its size, and how full of information it is (bits a byte, at most 8)."""

    version = "1"  # change it when the answers change: that is how Limner knows what to infer again

    def infer(self, image: list[bytes]) -> list[dict[str, object] | Exception]:
        """Answer each picture with its facts, or with an exception that fails it alone."""
        return [self.facts(data) if data else ValueError("the file is empty") for data in image]

    def facts(self, data: bytes) -> dict[str, object]:
        """Tell the facts of one file."""
        kind = next((name for start, name in KINDS.items() if data.startswith(start)), "other")
        entropy = sum(n / len(data) * log2(len(data) / n) for n in Counter(data).values())
        return {"kind": kind, "bytes": len(data), "entropy": round(min(entropy, 8.0), 3)}
