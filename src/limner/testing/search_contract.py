"""What every search index must do; a backend's tests subclass SearchContract and give it an empty index."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pytest
from msgspec import structs

from limner.domain.reads import Condition, where
from limner.errors import IllegalMove, NotFound, SearchUnavailable, UsageError, VersionConflict
from limner.search.base import Document, Match, Near, Query, SearchIndex, document_digest
from limner.search.mapping import FilterKind, Mapping

MAPPING = Mapping(
    text={"title": 500.0, "parent.title": 10.0, "notes": 1.0},
    filters={
        "licence": FilterKind.ANY,
        "sharpness.word": FilterKind.WORD,
        "sharpness.number": FilterKind.NUMBER,
        "sharpness.flag": FilterKind.FLAG,
        "dates": FilterKind.NUMBER,
    },
    vectors={"features.vector": 3, "palette.vector": None},
)
FEATURES = "features.vector"


def document(
    id: str,
    *,
    vector: Sequence[float] | None = None,
    version: str = "one",
    text: dict[str, str | list[str]] | None = None,
    complete: bool = True,
    **filters: object,
) -> Document:
    """A document; *filters* are named with __ for a dot."""
    return Document(
        id=id,
        text=text or {},
        filters={name.replace("__", "."): value for name, value in filters.items()},  # type: ignore[misc]  # tests also give what is refused
        vectors={FEATURES: numbers(vector)} if vector is not None else {},
        versions={FEATURES: version} if vector is not None else {},
        complete=complete,
    )


def numbers(values: Sequence[float]) -> npt.NDArray[np.float32]:
    """*values* as a vector."""
    return np.array(values, dtype=np.float32)


def ids(index: SearchIndex, query: Query) -> list[str]:
    """The ids that *query* finds, in order."""
    return [hit.id for hit in index.search(query).hits]


def filled(index: SearchIndex, documents: Sequence[Document], *, mapping: Mapping = MAPPING) -> int:
    """A current generation that holds *documents*."""
    number = index.create(mapping)
    index.apply(documents, generation=number)
    index.switch(number)
    return number


def near(*vector: float, **options: object) -> Near:
    """Likeness to *vector* at the path of features."""
    return structs.replace(Near(path=FEATURES, vector=numbers(vector)), **options)


class SearchContract:
    """Tests that run over every backend; *index* has no generation at the start of each."""

    @pytest.fixture
    def index(self) -> SearchIndex | Iterator[SearchIndex]:
        """The index to test, without generations; a generator closes it."""
        raise NotImplementedError("a subclass gives the fixture `index`")

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

    # Changes

    def test_a_document_takes_the_place_of_the_one_before(self, index: SearchIndex) -> None:
        """Nothing of an older document is found, whether its vector changed or not, and one deleted is gone."""
        number = filled(index, [document("a", vector=[1, 0, 0], text={"title": "old"}, licence="pdm"), document("b")])
        index.apply([document("a", vector=[1, 0, 0], text={"title": "new"}, licence="inc")], generation=number)
        assert ids(index, Query(text="old")) == []
        assert ids(index, Query(filters=(where("licence", "==", "pdm"),))) == []
        index.apply([document("a", vector=[0, 1, 0], text={"title": "newer"})], deletes=["b", "nobody"])
        assert ids(index, Query(text="newer", near=near(0, 1, 0, min_score=0.99))) == ["a"]
        assert index.search(Query()).total == 1
        index.apply([document("a", text={"title": "newer"})])
        assert ids(index, Query(near=near(0, 1, 0))) == []

    def test_of_two_documents_with_one_id_the_last_counts(self, index: SearchIndex) -> None:
        """One call may name an id twice, and delete what it puts in anew."""
        filled(index, [document("a", licence="one"), document("a", licence="two")])
        assert [hit.fields for hit in index.search(Query()).hits] == [{"licence": "two"}]
        index.apply([document("a", licence="three")], deletes=["a"])
        assert [hit.fields for hit in index.search(Query()).hits] == [{"licence": "three"}]

    def test_the_journal_number_is_stored_with_what_it_covers(self, index: SearchIndex) -> None:
        """A later number is remembered with its documents; a call with an earlier one is late and changes nothing."""
        number = filled(index, [])
        index.apply([document("a", licence="new")], remembered=7)
        index.apply([document("a", licence="old")], deletes=["a"], remembered=5)
        index.apply([document("b")])
        [generation] = index.generations()
        assert (generation.number, generation.remembered, generation.documents) == (number, 7, 2)
        assert ids(index, Query(filters=(where("licence", "==", "new"),))) == ["a"]

    @pytest.mark.parametrize(
        ("wrong", "error"),
        [
            (document("z", vector=[1, 0, 0], version="two"), VersionConflict),
            (document("z", vector=[1, 0]), VersionConflict),
            (document("z", vector=[1, 0, float("inf")]), UsageError),
            (document("z", nowhere=1), UsageError),
            (document("z", sharpness__number="three"), UsageError),
            (Document(id="z", text={"licence": "pdm"}), UsageError),
            (Document(id="z", vectors={FEATURES: numbers([1, 0, 0])}), UsageError),
        ],
        ids=["version", "length", "infinite", "path", "kind", "no text", "no version"],
    )
    def test_a_refused_document_leaves_nothing_behind(
        self, index: SearchIndex, wrong: Document, error: type[Exception]
    ) -> None:
        """A call is all or nothing: where one document is refused, the others and the number are not taken either."""
        filled(index, [document("a", vector=[1, 0, 0])])
        with pytest.raises(error, match="z"):
            index.apply([document("b", vector=[0, 1, 0]), wrong], deletes=["a"], remembered=9)
        assert ids(index, Query()) == ids(index, Query(near=near(1, 0, 0))) == ["a"]
        assert index.generations()[0].remembered == 0
        index.apply([document("b", vector=[0, 1, 0])])
        assert ids(index, Query(near=near(0, 1, 0))) == ["b", "a"]

    # Generations

    def test_without_a_generation_search_is_unavailable(self, index: SearchIndex) -> None:
        """An index that was never built answers with an error, not with an empty list."""
        assert index.generations() == []
        with pytest.raises(SearchUnavailable):
            index.search(Query())
        index.create(MAPPING)
        with pytest.raises(SearchUnavailable):
            index.search(Query())

    def test_a_generation_is_filled_beside_the_current_one(self, index: SearchIndex) -> None:
        """The old generation answers until the switch, the new one after it, the old one again after a roll-back."""
        old = filled(index, [document("a", vector=[1, 0, 0], version="one")])
        new = index.create(MAPPING, versions={FEATURES: "two"})
        index.apply([document("a", vector=[0, 1, 0], version="two"), document("b")], generation=new)
        assert index.search(Query()).generation == old
        assert index.search(Query(generation=new)).total == 2
        index.switch(new)
        page = index.search(Query(near=near(0, 1, 0, version="two")))
        assert (page.generation, page.versions) == (new, {FEATURES: "two"})
        assert page.hits[0].score == pytest.approx(1)
        with pytest.raises(VersionConflict, match="one"):
            index.search(Query(near=near(0, 1, 0, version="one")))
        index.switch(old)
        assert index.search(Query(near=near(1, 0, 0, version="one"))).generation == old
        assert [generation.current for generation in index.generations()] == [True, False]

    def test_a_version_fixed_beforehand_refuses_the_first_of_another(self, index: SearchIndex) -> None:
        """A generation made for one version takes no vector of another, not even as its first."""
        number = index.create(MAPPING, versions={FEATURES: "two"})
        with pytest.raises(VersionConflict, match="two"):
            index.apply([document("a", vector=[1, 0, 0], version="one")], generation=number)

    def test_a_mapping_belongs_to_its_generation(self, index: SearchIndex) -> None:
        """Another mapping is another generation; the one in use is never changed or emptied."""
        old = filled(index, [document("a", licence="pdm")])
        new = index.create(Mapping(filters={"colour": FilterKind.WORD}))
        index.apply([document("a", colour="red")], generation=new)
        with pytest.raises(UsageError, match="colour"):
            index.apply([document("a", colour="red")])
        index.switch(new)
        assert [generation.mapping for generation in index.generations()] == [
            MAPPING,
            Mapping(filters={"colour": FilterKind.WORD}),
        ]
        assert index.search(Query(generation=old)).hits[0].fields == {"licence": "pdm"}

    def test_the_current_generation_is_not_dropped(self, index: SearchIndex) -> None:
        """Only a generation that does not answer can be dropped; it is then unknown, and its number never returns."""
        old = filled(index, [document("a")])
        new = filled(index, [document("b")])
        with pytest.raises(IllegalMove):
            index.drop(new)
        index.drop(old)
        for ask in (lambda: index.drop(old), lambda: index.switch(old), lambda: index.search(Query(generation=old))):
            with pytest.raises(NotFound, match=str(old)):
                ask()
        assert ids(index, Query()) == ["b"]
        assert index.create(MAPPING) > new

    # Audit

    def test_rows_say_what_is_indexed(self, index: SearchIndex) -> None:
        """Rows come by id with the digest of the document that was taken, its versions and whether it was complete."""
        documents = [document("b", vector=[1, 0, 0]), document("é", complete=False), document("a", licence="pdm")]
        filled(index, documents)
        rows = list(index.rows())
        assert [row.id for row in rows] == ["a", "b", "é"]
        assert [row.versions for row in rows] == [{}, {FEATURES: "one"}, {}]
        assert [row.complete for row in rows] == [True, True, False]
        digests = {document.id: document_digest(document) for document in documents}
        assert {row.id: row.digest for row in rows} == digests

    def test_the_digest_moves_with_everything_searched(self) -> None:
        """Two documents have one digest exactly if all that is searched of them is the same."""
        first = document("a", vector=[1, 0, 0], text={"title": "bread"}, licence="pdm")
        others = [
            document("a", vector=[1, 0, 1], text={"title": "bread"}, licence="pdm"),
            document("a", vector=[1, 0, 0], text={"title": "breads"}, licence="pdm"),
            document("a", vector=[1, 0, 0], text={"title": "bread"}, licence="inc"),
            document("a", vector=[1, 0, 0], text={"title": "bread"}, licence="pdm", version="two"),
            document("a", vector=[1, 0, 0], text={"title": "bread"}, licence="pdm", complete=False),
        ]
        assert len({document_digest(other) for other in [first, *others]}) == 6
        assert document_digest(structs.replace(first, id="b")) == document_digest(first)
