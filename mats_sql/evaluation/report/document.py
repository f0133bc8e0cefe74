"""A document of sections that prints as one self-contained HTML page and as Markdown, from the same blocks."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape

from matplotlib.figure import Figure

from mats_sql.evaluation.report.flips import Flip
from mats_sql.evaluation.report.page_style import STYLE
from mats_sql.evaluation.report.tables import ResultTable, shown

LONG_HEADING, LONG_CELL = 24, 70
"""Characters above which a heading, or a cell, is broken into lines where there is no room."""


@dataclass(frozen=True, slots=True)
class Strong:
    """A paragraph that must not be overlooked."""

    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """Text as it is, e.g. settings or a command."""

    text: str


@dataclass(frozen=True)
class Picture:
    """A figure; ``name`` is its file's, without a suffix, and ``caption`` what is told where it cannot be seen."""

    name: str
    caption: str
    figure: Figure

    @cached_property
    def svg(self) -> bytes:
        """The figure as SVG, drawn once: it stands in the page and in a file of its own."""
        from matplotlib import rc_context

        drawn = io.BytesIO()
        with rc_context({"svg.hashsalt": self.name}):
            self.figure.savefig(drawn, format="svg", bbox_inches="tight", metadata={"Date": None})
        return drawn.getvalue()


Block = str | Strong | Code | Picture | ResultTable | Flip


@dataclass(frozen=True, slots=True)
class DocumentSection:
    """A heading and what stands under it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Document:
    """A title and its sections."""

    title: str
    sections: Sequence[DocumentSection]

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All figures, in order."""
        return tuple(block for section in self.sections for block in section.blocks if isinstance(block, Picture))

    def to_markdown(self) -> str:
        """Return GitHub's Markdown; figures are links to ``figures/<name>.svg`` beside it."""
        parts = [f"# {markdown_text(self.title)}"]
        for section in self.sections:
            parts.append(f"## {markdown_text(section.title)}")
            parts += [_markdown(block).strip() for block in section.blocks]
        return "\n\n".join(parts) + "\n"

    def to_html(self) -> str:
        """Return one HTML page that needs nothing beside it: style and figures are in it, and no script."""
        places = [f"section-{index}" for index in range(1, len(self.sections) + 1)]
        links = "".join(
            f'<li><a href="#{place}">{escape(section.title)}</a></li>'
            for place, section in zip(places, self.sections, strict=True)
        )
        bodies = "\n".join(
            f'<section id="{place}"><h2>{escape(section.title)}</h2>\n{_joined(section.blocks)}\n</section>'
            for place, section in zip(places, self.sections, strict=True)
        )
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(self.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
            f"<h1>{escape(self.title)}</h1>\n<nav><ol>{links}</ol></nav>\n{bodies}\n</main>\n</body>\n</html>\n"
        )


def markdown_text(text: str) -> str:
    """Return a text on one line that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]<>#|~])", r"\\\1", " ".join(text.split()))


def fenced(text: str, language: str = "") -> str:
    """Return a fenced block whose fence is longer than any run of backticks in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _markdown(block: Block) -> str:
    match block:
        case ResultTable():
            return block.to_markdown()
        case Picture():
            return f"![{markdown_text(block.caption)}](figures/{block.name}.svg)"
        case Code():
            return fenced(block.text)
        case Strong():
            return f"**{markdown_text(block.text)}**"
        case Flip():
            return _flip_markdown(block)
        case str():
            return markdown_text(block)


def _flip_markdown(flip: Flip) -> str:
    parts = [f"#### {markdown_text(_flip_title(flip))}", f"> {markdown_text(flip.question)}", markdown_text(flip.agent)]
    for title, verdict, sql in _flip_answers(flip):
        parts += [markdown_text(f"{title}: {verdict}" if verdict else title), fenced(sql, "sql")]
    return "\n\n".join(parts)


def _joined(blocks: Sequence[Block]) -> str:
    return "\n".join(_html(block) for block in blocks)


def _html(block: Block) -> str:
    match block:
        case ResultTable():
            return _table_html(block)
        case Picture():
            data = base64.b64encode(block.svg).decode("ascii")
            caption = escape(block.caption)
            image = f'<img alt="{caption}" src="data:image/svg+xml;base64,{data}">'
            return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"
        case Code():
            return f"<pre><code>{escape(block.text)}</code></pre>"
        case Strong():
            return f'<p class="strong">{escape(block.text)}</p>'
        case Flip():
            return _flip_html(block)
        case str():
            return f"<p>{escape(block)}</p>"


def _table_html(table: ResultTable) -> str:
    head = "".join(_cell_html("th", "col", name, LONG_HEADING) for name in table.columns)
    rows = "\n".join(f"<tr>{_row_html([shown(cell) for cell in row])}</tr>" for row in table.rows)
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return (
        f'<h3>{escape(table.title)}</h3>\n<div class="table"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>{note}"
    )


def _row_html(cells: Sequence[str]) -> str:
    first, *others = cells
    return _cell_html("th", "row", first, LONG_CELL) + "".join(_cell_html("td", "", text, LONG_CELL) for text in others)


def _cell_html(tag: str, scope: str, text: str, long: int) -> str:
    """Return a cell; a long one is marked, so that it wraps, while numbers stay on one line."""
    marks = (f' scope="{scope}"' if scope else "") + (' class="long"' if len(text) > long else "")
    return f"<{tag}{marks}>{escape(text)}</{tag}>"


def _flip_html(flip: Flip) -> str:
    answers = "".join(
        f"<h5>{escape(title)}{f': <em>{escape(verdict)}</em>' if verdict else ''}</h5>"
        f"<pre><code>{escape(sql)}</code></pre>"
        for title, verdict, sql in _flip_answers(flip)
    )
    return (
        f'<article class="{escape(flip.effect)}"><h4>{escape(_flip_title(flip))}</h4>'
        f"<blockquote>{escape(flip.question)}</blockquote><p>{escape(flip.agent)}</p>{answers}</article>"
    )


def _flip_title(flip: Flip) -> str:
    return f"{flip.effect} by {flip.treatment}: question {flip.question_id} ({flip.db_id}, {flip.difficulty})"


def _flip_answers(flip: Flip) -> Iterator[tuple[str, str, str]]:
    yield "gold", "", flip.gold_sql
    yield flip.baseline, flip.baseline_verdict, flip.baseline_sql or "(no SQL)"
    yield flip.treatment, flip.treatment_verdict, flip.treatment_sql or "(no SQL)"
