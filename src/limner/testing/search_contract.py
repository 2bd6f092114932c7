"""What every search index must do; subclass it and give it a fixture `index`."""

import pytest
from msgspec import structs

from limner.domain.reads import where
from limner.errors import IllegalMove, NotFound, SearchUnavailable, UsageError, VersionConflict
from limner.search.base import Document, Query, SearchIndex, document_digest
from limner.search.mapping import FilterKind, Mapping
from limner.testing.search_answers import AnswersContract
from limner.testing.search_documents import FEATURES, MAPPING, document, filled, ids, near, numbers


class SearchContract(AnswersContract):
    """Tests that run over every backend; *index* has no generation at the start of each."""

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
