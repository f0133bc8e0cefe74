"""One document as a page and as Markdown: the same blocks, nothing outside needed, no text taken for markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from mats_sql.evaluation.report.document import Code, Document, DocumentSection, Picture, Strong, fenced, markdown_text
from mats_sql.evaluation.report.figures import new_figure
from mats_sql.evaluation.report.flips import Flip
from mats_sql.evaluation.report.tables import ResultTable

NASTY = "<script>alert('x')</script> & a | b\n## no heading"
FLIP = Flip(
    treatment="NEW",
    baseline="INDEP",
    question_id=7,
    db_id="shop",
    difficulty="simple",
    effect="rescued",
    agent="fixer: it was",
    question=NASTY,
    gold_sql="SELECT '```' FROM t WHERE a < 3",
    baseline_sql="",
    baseline_verdict="wrong",
    treatment_sql="SELECT 2",
    treatment_verdict="correct",
)


def picture():
    figure = new_figure("a figure", height=2.0)
    figure.add_subplot().plot([1, 2])
    return Picture("figure_1", "What it shows.", figure)


def document():
    table = ResultTable("A table", ("team", "EX"), (("one|two", "61.5"), ("x" * 90, None)), "A note.")
    blocks = [NASTY, Strong("Look here."), Code("a: 1\nb: 2"), picture(), table, FLIP]
    return Document("A <title>", (DocumentSection("First", tuple(blocks)), DocumentSection("Second", ("End.",))))


class Tags(HTMLParser):
    """Every tag with its attributes, and whether all are closed in order."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, page):
        super().__init__()
        self.seen, self.open = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_needs_nothing_beside_it():
    page = document().to_html()
    tags = Tags(page)
    assert tags.open == []
    assert not [tag for tag, _ in tags.seen if tag in ("script", "link", "iframe")]
    sources = [attributes["src"] for tag, attributes in tags.seen if tag == "img"]
    assert len(sources) == 1
    assert sources[0].startswith("data:image/svg+xml;base64,")
    links = [attributes["href"] for tag, attributes in tags.seen if tag == "a"]
    ids = {attributes["id"] for _, attributes in tags.seen if "id" in attributes}
    assert {link.removeprefix("#") for link in links} == ids


def test_text_is_never_taken_for_markup():
    assert "<script>" not in document().to_html()
    markdown = document().to_markdown()
    assert [line for line in markdown.splitlines() if line.startswith("## ")] == ["## First", "## Second"]
    assert "<script>" not in markdown_text(NASTY).replace("\\<", "")


def test_page_and_markdown_say_the_same():
    page, markdown = document().to_html(), document().to_markdown()
    for text in ("Look here.", "A note.", "61.5", "fixer: it was", "What it shows.", "(no SQL)"):
        assert text in page
        assert text in markdown
    assert "figures/figure_1.svg" in markdown


@pytest.mark.parametrize("text", ["plain", "with ``` inside", "`````"])
def test_a_fence_is_longer_than_what_it_holds(text):
    first, *_, last = fenced(text, "sql").splitlines()
    assert first == last + "sql"
    assert len(last) > max((len(run) for run in re.findall("`+", text)), default=2)


def test_numbers_stay_on_one_line_and_long_cells_wrap():
    tags = Tags(document().to_html())
    cells = [attributes.get("class") for tag, attributes in tags.seen if tag in ("td", "th")]
    assert cells == [None, None, None, None, "long", None]


def test_a_figure_has_the_same_bytes_each_time():
    assert picture().svg == picture().svg
