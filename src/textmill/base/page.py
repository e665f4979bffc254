"""Pages of HTML that are whole in one file: nothing is fetched, no script runs, and what people wrote stays text.

Whatever is not `Html` is escaped where it is put into a page, so that a name or a sample cannot become markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from textmill.base.language import chosen

# What a browser may load for a page: nothing but the page.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_STYLE = """
:root { color-scheme: light dark; --ink: #1d2733; --dim: #667; --line: #d5dae1; --paper: #fff; --ground: #f4f6f9 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ee; --dim: #98a2b3; --line: #38414e; --paper: #14181e; --ground: #1d232c }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       max-width: 60rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere }
h1 { font-size: 1.7rem; margin-bottom: 0 } h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem }
.dim { color: var(--dim) }
table { border-collapse: collapse; width: 100%; margin-bottom: 1rem }
th { text-align: left; font-weight: 600; color: var(--dim) }
th, td { padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; color: var(--dim) }
td.label { white-space: nowrap; color: var(--dim); width: 12rem }
pre { font: .85rem/1.4 ui-monospace, monospace; background: var(--ground); padding: .8rem; white-space: pre-wrap }
blockquote { margin: .5rem 0; padding: .1rem .8rem; border-left: 3px solid var(--line); white-space: pre-wrap }
svg { width: 100%; height: auto }
@media print {
  body { max-width: none; margin: 0; font-size: 11pt }
  h2 { break-after: avoid } tr, svg, blockquote { break-inside: avoid }
}
"""


class Html(str):
    """Text that is HTML already."""


def html(*parts: object) -> Html:
    """These one after the other, what is not HTML escaped."""
    return Html("".join(part if isinstance(part, Html) else escape(str(part)) for part in parts))


def element(tag: str, *parts: object, kind: str = "") -> Html:
    """`<tag class=kind>parts</tag>`."""
    marked = f' class="{escape(kind)}"' if kind else ""
    return Html(f"<{tag}{marked}>{html(*parts)}</{tag}>")


def page(title: str, sections: Iterable[Html]) -> Html:
    """A whole page; sections that are empty are left out."""
    body = Html("\n".join(section for section in sections if section))
    return html(
        Html('<!doctype html>\n<html lang="'),
        chosen(),
        Html('"><head><meta charset="utf-8">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="generator" content="textmill">'),
        element("title", title),
        Html(f"<style>{_STYLE}</style></head>\n<body>"),
        element("h1", title),
        Html("\n"),
        body,
        Html("\n</body></html>\n"),
    )


def section(title: str, *parts: object) -> Html:
    """A titled section; nothing where all its parts are empty."""
    return html(element("h2", title), Html("\n"), *parts) if any(parts) else Html()


def table(head: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[int] = ()) -> Html:
    """A table with these headers; nothing where it has no rows. Columns whose numbers are in `right` hold figures."""
    lines = [_row("td", row, right) for row in rows]
    if not lines:
        return Html()
    return element("table", element("thead", _row("th", head, right)), element("tbody", *lines))


def facts(facts: Mapping[str, object]) -> Html:
    """Labels and what they are of; those that are None are left out."""
    rows = [
        element("tr", element("td", label, kind="label"), element("td", fact))
        for label, fact in facts.items()
        if fact is not None
    ]
    return element("table", element("tbody", *rows)) if rows else Html()


def _row(tag: str, cells: Sequence[object], right: Sequence[int]) -> Html:
    return element(
        "tr", *(element(tag, cell, kind="number" if at in right else "") for at, cell in enumerate(cells))
    )
