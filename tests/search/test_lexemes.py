"""Both backends find the same documents for the same words, whatever they are written in."""

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from limner.search.base import Document, Match, Query, SearchIndex
from limner.search.connect import connect_search
from limner.search.mapping import Mapping
from tests.search.databases import index_url

TEXTS = (
    "Crème brûlée, naïve façade",
    "Straße in Ångström; smørrebrød",
    "Ἀθήνα καὶ Σπάρτη",
    "Война и миръ",
    "東京 都庁 tokyo",
    "हिन्दी साहित्य",
    "running runs ran runner's",
    "state-of-the-art B/1234-X e.g. 3.14 1e5 v2.0 0x1F",
    "o'clock don't l'été",
    "a & b | c ! d <-> e:* 'quoted' \\back",
    "http://example.org/path?q=1 some.body@example.org C:\\folder",
    "emoji 🙂 and \u0301 combining, ﬁne ligature, Ⅷ ½ ²",
    "the of and is a an",
    "nul\u0000inside tab\tnew\nline",
    "İstanbul ISTANBUL istanbul \u0131stanbul",
)


@pytest.fixture(scope="module")
def indexes(
    require_service: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[SearchIndex, SearchIndex]]:
    """An index of all texts in each backend."""
    folder: Path = tmp_path_factory.mktemp("index")
    with index_url(require_service("postgresql")) as url:
        made = (connect_search(f"sqlite:{folder}", name="i"), connect_search(url, name="i"))
        with closing(made[0]), closing(made[1]):
            for index in made:
                index.switch(index.create(Mapping(text={"a": 2.0, "b": 1.0})))
                index.apply(
                    Document(id=f"d{at:02}", text={"a": text, "b": TEXTS[at - 1].split()})
                    for at, text in enumerate(TEXTS)
                )
            yield made


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_the_same_words_find_the_same_documents(indexes: tuple[SearchIndex, SearchIndex], text: str) -> None:
    """Each word, in its own and in another case, each pair, and the whole text find the same in both."""
    words = text.split()
    pairs = [f"{one} {other}" for one, other in pairwise(words)]
    asked = [*words, *(word.upper() for word in words), *(word[:-1] for word in words), *pairs, text]
    for question in asked:
        for match in Match:
            found = [
                sorted(hit.id for hit in index.search(Query(text=question, match=match, limit=50)).hits)
                for index in indexes
            ]
            assert found[0] == found[1], question


def test_the_same_documents_come_first_with_the_same_scores(indexes: tuple[SearchIndex, SearchIndex]) -> None:
    """How well words match is the same number in both, so the order is: by rarity, frequency, length and weight."""
    for text in (*TEXTS, "runs running istanbul the", "b/1234-x b/1234-x 1234"):
        ours, theirs = (index.search(Query(text=text)).hits for index in indexes)
        assert [hit.id for hit in theirs] == [hit.id for hit in ours], text
        assert [hit.score for hit in theirs] == pytest.approx([hit.score for hit in ours]), text
