"""What a run counts as found current."""

from pathlib import Path

import limner

PIPELINE = """
from limner import Pipeline, Stage

pipeline = Pipeline(
    "words",
    collection="words",
    stages=[
        Stage("first", "inferrers:first", reads={"word": "word"}),
        Stage("second", "second:second", reads={"word": "word"}),
    ],
)
"""
FIRST = 'version = "1"\n\n\ndef first(word: str) -> str:\n    return word[0]\n'
SECOND = "def second(word: str) -> str:\n    return word[1]\n\n\nsecond.version = '1'\n"


def test_results_beside_a_moved_version_are_found_current(tmp_path: Path) -> None:
    """A new version of one stage infers that stage; what the other said counts as reused."""
    # given
    for name, text in {"pipeline.py": PIPELINE, "inferrers.py": FIRST, "second.py": SECOND}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "words.csv").write_text("id,word\n1,one\n2,two\n3,three\n")
    with limner.open(tmp_path) as app:
        app.run("words", tmp_path / "words.csv")

        # when
        (tmp_path / "second.py").write_text(SECOND.replace("'1'", "'2'"))
        moved = app.run("words")
        again = app.run("words")

    # then
    assert (moved.inferred, moved.reused) == (3, 3)
    assert (again.inferred, again.reused) == (0, 6)
