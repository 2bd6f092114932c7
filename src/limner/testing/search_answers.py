"""What every search index must answer; a part of the contract in search_contract.py."""

from collections.abc import Iterator

import numpy as np
import pytest
from msgspec import structs

from limner.domain.reads import Condition, where
from limner.errors import NotFound, UsageError, VersionConflict
from limner.search.base import Match, Near, Query, SearchIndex
from limner.testing.search_documents import FEATURES, document, filled, ids, near


class AnswersContract:
    """Tests of what queries find; *index* has no generation at the start of each."""

    @pytest.fixture
    def index(self) -> SearchIndex | Iterator[SearchIndex]:
        """The index to test, without generations; a generator closes it."""
        raise NotImplementedError("abstract: a subclass gives the fixture `index`")

    # What is found

    def test_everything_is_found_in_the_order_of_ids(self, index: SearchIndex) -> None:
        """A query that asks for nothing finds all documents by id."""
        filled(index, [document("b"), document("a"), document("c")])
        page = index.search(Query())
        assert [(hit.id, hit.score) for hit in page.hits] == [("a", None), ("b", None), ("c", None)]
        assert page.total == 3

    def test_a_hit_carries_the_values_of_its_document(self, index: SearchIndex) -> None:
        """Text and filter values come back as they were given, and nothing that was absent is invented."""
        filled(index, [document("a", text={"title": ["bread", "and butter"]}, licence="pdm", sharpness__flag=True)])
        [hit] = index.search(Query()).hits
        assert hit.fields == {"title": ["bread", "and butter"], "licence": "pdm", "sharpness.flag": True}

    def test_words_are_found_in_any_text_and_form(self, index: SearchIndex) -> None:
        """A word is found in every text path, in any case, with or without accents, and in another form of it."""
        filled(
            index,
            [
                document("a", text={"title": "Baking Breads"}),
                document("b", text={"parent.title": "bread"}),
                document("c", text={"notes": ["Crème", "BREAD"]}),
                document("d", text={"title": "stone"}),
            ],
        )
        assert sorted(ids(index, Query(text="bread"))) == ["a", "b", "c"]
        assert ids(index, Query(text="creme")) == ["c"]

    def test_weights_order_what_words_find(self, index: SearchIndex) -> None:
        """A word in a path of more weight counts for more."""
        filled(
            index,
            [
                document("a", text={"notes": "bread", "title": "stone"}),
                document("b", text={"parent.title": "bread", "title": "stone"}),
                document("c", text={"title": "bread", "notes": "stone"}),
            ],
        )
        page = index.search(Query(text="bread"))
        scores = [hit.score for hit in page.hits]
        assert [hit.id for hit in page.hits] == ["c", "b", "a"]
        assert all(score is not None for score in scores)
        assert scores == sorted(scores, key=lambda score: -(score or 0))

    def test_at_most_three_words_of_ten_may_be_missing(self, index: SearchIndex) -> None:
        """Of one to three words all must occur, of four one may be missing, of ten three; or all, if asked so."""
        filled(index, [document("a", text={"title": "alpha beta gamma", "notes": "delta epsilon zeta eta"})])
        ten = "alpha beta gamma delta epsilon zeta eta"
        assert ids(index, Query(text="alpha beta")) == ["a"]
        assert ids(index, Query(text="alpha beta omega")) == []
        assert ids(index, Query(text="alpha beta gamma omega")) == ["a"]
        assert ids(index, Query(text="alpha beta psi omega")) == []
        assert ids(index, Query(text=f"{ten} psi chi omega")) == ["a"]
        assert ids(index, Query(text=f"{ten} phi psi chi omega")) == []
        assert ids(index, Query(text="alpha beta gamma omega", match=Match.ALL)) == []

    def test_identifiers_are_matched_whole(self, index: SearchIndex) -> None:
        """An id, and a value that is one word, are found by all of it in any case, not by a part that only looks so."""
        filled(index, [document("Rvhsh6y2", text={"notes": ["B/1234-X", "b.99"]}), document("other")])
        assert ids(index, Query(text="rvhsh6y2")) == ["Rvhsh6y2"]
        assert ids(index, Query(text="b/1234-x")) == ["Rvhsh6y2"]
        assert ids(index, Query(text="rvhsh6")) == []

    @pytest.mark.parametrize(
        "text", ['"', "a AND", "NOT", "title:bread", "* ^ (", "bread)", "-bread", "'; --", "NEAR("]
    )
    def test_no_word_is_an_operator(self, index: SearchIndex, text: str) -> None:
        """Whatever people type is words; it is never an error."""
        filled(index, [document("a", text={"title": "bread"})])
        assert index.search(Query(text=text)).total in (0, 1)

    # Conditions

    def test_numbers_compare_as_numbers(self, index: SearchIndex) -> None:
        """Negative numbers, dates before the epoch and fractions are ordered by size, not by their digits."""
        filled(
            index, [document(f"n{at}", dates=value) for at, value in enumerate((-27_517_622_400_000, -1.5, 0, 9, 10))]
        )
        cases = [("<", 0, "n0 n1"), ("<=", 0, "n0 n1 n2"), (">", 9, "n4"), (">=", -1.5, "n1 n2 n3 n4"), ("==", 9, "n3")]
        for compare, value, found in cases:
            assert ids(index, Query(filters=(where("dates", compare, value),))) == found.split(), compare
        between = (where("dates", ">=", -2), where("dates", "<", 10))
        assert ids(index, Query(filters=between)) == ["n1", "n2", "n3"]

    def test_values_of_a_field_that_nothing_declares_compare_with_their_own_kind(self, index: SearchIndex) -> None:
        """The number 5, the word 5 and true are three values, and a range stays among its kind."""
        filled(index, [document("five", licence=5), document("word", licence="5"), document("flag", licence=True)])
        assert ids(index, Query(filters=(where("licence", "==", 5),))) == ["five"]
        assert ids(index, Query(filters=(where("licence", "==", "5"),))) == ["word"]
        assert ids(index, Query(filters=(where("licence", "==", True),))) == ["flag"]
        assert ids(index, Query(filters=(where("licence", "==", 1),))) == []
        assert ids(index, Query(filters=(where("licence", ">", 1),))) == ["five"]
        assert ids(index, Query(filters=(where("licence", ">", "1"),))) == ["word"]

    def test_one_of_several_values_is_enough(self, index: SearchIndex) -> None:
        """A document with several values keeps a condition if one of them does; ``!=`` needs all to differ."""
        filled(index, [document("a", licence=["pdm", "cc-by"]), document("b", licence="inc"), document("c")])
        assert ids(index, Query(filters=(where("licence", "==", "cc-by"),))) == ["a"]
        assert ids(index, Query(filters=(where("licence", "in", ["inc", "pdm"]),))) == ["a", "b"]
        assert ids(index, Query(filters=(where("licence", "in", []),))) == []
        assert ids(index, Query(filters=(where("licence", "!=", "pdm"),))) == ["b", "c"]
        assert ids(index, Query(filters=(where("licence", "not in", ["pdm", "inc"]),))) == ["c"]
        assert ids(index, Query(filters=(where("licence", "exists"),))) == ["a", "b"]
        assert ids(index, Query(filters=(where("licence", "exists", False),))) == ["c"]

    @pytest.mark.parametrize(
        "condition",
        [
            where("sharpness.number", "==", "abc"),
            where("sharpness.number", "==", True),
            where("sharpness.number", ">", float("nan")),
            where("sharpness.word", "==", 3),
            where("sharpness.flag", "==", "yes"),
            where("sharpness.flag", "<", True),
            where("licence", "matches", "p.*"),
            where("title", "==", "bread"),
            where("nowhere", "==", 1),
        ],
        ids=str,
    )
    def test_what_cannot_be_compared_is_refused(self, index: SearchIndex, condition: Condition) -> None:
        """A value of another kind than its path's, and a path that is no filter, are named and not passed over."""
        filled(index, [document("a", sharpness__number=3)])
        with pytest.raises(UsageError, match=condition.path):
            index.search(Query(filters=(condition,)))

    # Likeness

    def test_the_most_alike_come_first(self, index: SearchIndex) -> None:
        """Hits by likeness are ordered by cosine, whatever the lengths of the vectors."""
        filled(
            index, [document("a", vector=[0, 5, 0]), document("b", vector=[1, 1, 0]), document("c", vector=[9, 0, 0.1])]
        )
        page = index.search(Query(near=near(2, 0, 0)))
        assert [hit.id for hit in page.hits] == ["c", "b", "a"]
        assert [hit.score for hit in page.hits] == pytest.approx([0.99994, 0.70711, 0.0], abs=1e-4)
        assert page.total == 3

    def test_equal_likeness_is_ordered_by_id(self, index: SearchIndex) -> None:
        """Equal vectors have exactly equal scores wherever they stand, and come by id, page after page."""
        rng = np.random.default_rng(3)
        some = [document(f"x{at:03}", vector=rng.standard_normal(3).tolist()) for at in range(300)]
        same = [document(f"s{at:02}", vector=[0.1, 0.7, 0.3]) for at in range(40)]
        mixed = [*some[:7], *same[:11], *some[7:100], *same[11:], *some[100:]]
        filled(index, [mixed[at] for at in rng.permutation(len(mixed))])
        found = index.search(Query(near=near(0.1, 0.7, 0.3), limit=40)).hits
        assert [hit.id for hit in found] == [f"s{at:02}" for at in range(40)]
        assert len({hit.score for hit in found}) == 1

    def test_like_a_document_is_not_the_document_itself(self, index: SearchIndex) -> None:
        """What is like a document leaves it out, as it does those excluded."""
        filled(index, [document(id, vector=[1, at, 0]) for at, id in enumerate("abcd")])
        assert ids(index, Query(near=Near(path=FEATURES, like="b"))) == ["c", "d", "a"]
        assert ids(index, Query(near=Near(path=FEATURES, like="b", exclude=("c", "nobody")))) == ["d", "a"]

    def test_a_least_score_cuts(self, index: SearchIndex) -> None:
        """Hits are at least as much alike as asked; the total still counts what was compared."""
        filled(
            index, [document("a", vector=[1, 0, 0]), document("b", vector=[1, 1, 0]), document("c", vector=[0, 0, 1])]
        )
        page = index.search(Query(near=near(1, 0, 0, min_score=0.5)))
        assert [hit.id for hit in page.hits] == ["a", "b"]
        assert page.total == 3

    def test_a_document_without_the_vector_is_found_by_its_words_only(self, index: SearchIndex) -> None:
        """Absent stays absent: no likeness is invented, and the text is searched all the same."""
        filled(
            index, [document("a", vector=[1, 0, 0], text={"title": "bread"}), document("b", text={"title": "bread"})]
        )
        assert ids(index, Query(near=near(1, 0, 0))) == ["a"]
        assert sorted(ids(index, Query(text="bread"))) == ["a", "b"]

    def test_incomplete_documents_are_hidden_from_likeness_only(self, index: SearchIndex) -> None:
        """With hide_incomplete an incomplete document is not like anything, but is found by its words."""
        filled(index, [document("a", vector=[1, 0, 0]), document("b", vector=[1, 0, 0], complete=False)])
        assert ids(index, Query(near=near(1, 0, 0))) == ["a", "b"]
        assert ids(index, Query(near=near(1, 0, 0), hide_incomplete=True)) == ["a"]
        assert ids(index, Query(hide_incomplete=True)) == ["a", "b"]

    def test_words_beside_a_vector_are_a_filter(self, index: SearchIndex) -> None:
        """With likeness all words must occur, and the order is that of likeness alone."""
        filled(
            index,
            [
                document("a", vector=[0, 1, 0], text={"title": "one two three four"}),
                document("b", vector=[1, 0, 0], text={"notes": "one two three four"}),
                document("c", vector=[1, 0, 0], text={"notes": "one two three"}),
            ],
        )
        assert ids(index, Query(text="one two three four", near=near(1, 0, 0))) == ["b", "a"]

    @pytest.mark.parametrize(
        ("wrong", "sentence"),
        [
            (near(1, 0, 0, version="two"), "two"),
            (near(1, 0), "2 numbers"),
        ],
    )
    def test_another_version_or_length_is_never_compared(self, index: SearchIndex, wrong: Near, sentence: str) -> None:
        """A vector of another version or length than the index holds is refused by name."""
        filled(index, [document("a", vector=[1, 0, 0])])
        with pytest.raises(VersionConflict, match=sentence):
            index.search(Query(near=wrong))

    @pytest.mark.parametrize(
        "wrong",
        [
            near(0, 0, 0),
            near(1, 0, float("nan")),
            Near(path="features.nothing", like="a"),
            Near(path=FEATURES),
            near(1, 0, 0, like="a"),
        ],
        ids=["zero", "not finite", "no such path", "nothing to be like", "two things to be like"],
    )
    def test_a_vector_that_means_nothing_is_refused(self, index: SearchIndex, wrong: Near) -> None:
        """A query by likeness that cannot be answered says why."""
        filled(index, [document("a", vector=[1, 0, 0])])
        with pytest.raises(UsageError):
            index.search(Query(near=wrong))

    def test_like_nobody_is_not_found(self, index: SearchIndex) -> None:
        """To be like a document that is not there, or has no vector, is an error and not an empty answer."""
        filled(index, [document("a", vector=[1, 0, 0]), document("b")])
        for like in ("nobody", "b"):
            with pytest.raises(NotFound, match=like):
                index.search(Query(near=Near(path=FEATURES, like=like)))

    # Pages, orders, counts

    @pytest.mark.parametrize("part", [{}, {"text": "bread"}, {"near": near(1, 0, 0)}, {"order": "dates"}], ids=str)
    def test_pages_fit_together(self, index: SearchIndex, part: dict[str, object]) -> None:
        """Pages of seven are the list of all, whatever orders it and however many are equal."""
        rng = np.random.default_rng(5)
        filled(
            index,
            [
                document(
                    f"d{at:02}",
                    vector=[1, int(rng.integers(0, 5)), 0],
                    text={"title": "bread " * int(rng.integers(1, 4))},
                    dates=int(rng.integers(0, 5)),
                )
                for at in rng.permutation(60)
            ],
        )
        query = structs.replace(Query(limit=60), **part)
        whole = ids(index, query)
        pages = [ids(index, structs.replace(query, limit=7, offset=at)) for at in range(0, 70, 7)]
        assert len(whole) == len(set(whole)) == 60
        assert [id for page in pages for id in page] == whole

    def test_an_order_puts_what_has_no_value_last(self, index: SearchIndex) -> None:
        """Ordered either way, documents without a value come last; of several values the outermost counts."""
        filled(
            index,
            [
                document("a"),
                document("b", dates=[5, 1]),
                document("c", dates=3),
                document("d", dates=-7),
                document("e", dates=3),
            ],
        )
        assert ids(index, Query(order="dates")) == ["d", "b", "c", "e", "a"]
        assert ids(index, Query(order="dates", descending=True)) == ["b", "c", "e", "d", "a"]

    def test_facets_pass_over_their_own_conditions(self, index: SearchIndex) -> None:
        """A facet counts values among what all other conditions leave, the most frequent first."""
        filled(
            index,
            [
                document("a", licence="pdm", sharpness__flag=True),
                document("b", licence="pdm", sharpness__flag=False),
                document("c", licence=["inc", "cc-by"], sharpness__flag=True),
                document("d", licence="inc", sharpness__flag=True),
            ],
        )
        conditions = (where("licence", "==", "pdm"), where("sharpness.flag", "==", True))
        page = index.search(Query(filters=conditions, facets=("licence", "sharpness.flag")))
        counts = {path: [(count.value, count.count) for count in found] for path, found in page.facets.items()}
        assert counts == {"licence": [("inc", 2), ("cc-by", 1), ("pdm", 1)], "sharpness.flag": [(False, 1), (True, 1)]}
        assert page.total == 1

    def test_a_page_that_cannot_be_is_refused(self, index: SearchIndex) -> None:
        """Negative pages, orders by what is no filter, and two orders at once are usage errors."""
        filled(index, [document("a", vector=[1, 0, 0])])
        for wrong in (Query(limit=-1), Query(offset=-1), Query(order="title"), Query(facets=("no",))):
            with pytest.raises(UsageError):
                index.search(wrong)
        with pytest.raises(UsageError, match="order"):
            index.search(Query(near=near(1, 0, 0), order="dates"))
