"""How sharp a picture is: the spread of its edges. A blurred one has a small value."""

from PIL import Image, ImageFilter, ImageStat


class Blur:
    """Edges of the grey picture; the standard deviation is large where many are sharp."""

    version = "1"

    def infer(self, image: list[Image.Image]) -> list[dict[str, float]]:
        """For each picture ``{"value": spread of its edges}``."""
        edges = [picture.convert("L").filter(ImageFilter.FIND_EDGES) for picture in image]
        return [{"value": ImageStat.Stat(edge).stddev[0]} for edge in edges]
