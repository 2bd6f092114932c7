"""An inferrer is tested like any Python: no server, no store, no limner."""

from inferrers.pale_dark import PaleDark
from PIL import Image


def test_dark_insect_is_dark() -> None:
    """A dark thing on a bright board is dark, and the board beside it pale."""
    board = Image.new("RGB", (60, 40), (230, 230, 225))
    board.paste((30, 25, 20), (10, 10, 30, 30))

    dark, pale = PaleDark().infer([board, board], [[10, 10, 30, 30], [35, 5, 55, 25]])

    assert dark["labels"][0]["name"] == "dark"
    assert pale["labels"][0]["name"] == "pale"
