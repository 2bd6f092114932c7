"""An inferrer is tested like any Python: no server, no store, no limner."""

from inferrers.blur import Blur
from PIL import Image, ImageFilter


def test_blurred_picture_has_less_spread() -> None:
    """The same picture, blurred, has a smaller value."""
    sharp = Image.effect_mandelbrot((80, 60), (-2, -1.2, 1, 1.2), 60)

    clear, blurred = Blur().infer([sharp, sharp.filter(ImageFilter.GaussianBlur(4))])

    assert blurred["value"] < clear["value"] / 2
