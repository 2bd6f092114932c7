"""Sorts what was found into pale and dark: how a classifier of your own looks."""

from collections.abc import Sequence

from PIL import Image, ImageStat


class PaleDark:
    """The brighter the middle of a box, the paler the insect."""

    version = "1"

    def infer(self, image: list[Image.Image], box: list[Sequence[int]]) -> list[dict[str, object]]:
        """For each whole picture and box ``{"labels": [{"id", "name", "score"}, …]}``, best first."""
        return [self._one(picture.crop(tuple(edges))) for picture, edges in zip(image, box, strict=True)]

    def _one(self, insect: Image.Image) -> dict[str, object]:
        pale = ImageStat.Stat(insect.convert("L")).mean[0] / 255
        best_first = sorted([(pale, "pale"), (1 - pale, "dark")], reverse=True)
        return {"labels": [{"id": name, "name": name, "score": score} for score, name in best_first]}
