"""The data card: a corpus report as a page a person can read, whole in one file, with nothing fetched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

from textmill.base.console import amount, counted
from textmill.base.language import bracketed, chosen, fill, say
from textmill.text.cleaning.privacy.step import excerpt
from textmill.text.corpus.tally import HELD

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2733; --dim: #667; --line: #d5dae1; --bar: #3b7dd8; --paper: #fff }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ee; --dim: #98a2b3; --line: #38414e; --bar: #6ea8ff; --paper: #14181e }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.7rem; margin-bottom: 0 } h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem }
p.dim, td.dim, small { color: var(--dim) }
table { border-collapse: collapse; width: 100% }
th { text-align: left; font-weight: 600; color: var(--dim) }
th, td { padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
td.text { overflow-wrap: break-word }
svg { width: 100%; height: auto } svg rect { fill: var(--bar) } svg text { fill: var(--ink); font-size: 12px }
blockquote { margin: .15rem 0; padding-left: .6rem; border-left: 3px solid var(--line); overflow-wrap: anywhere }
"""
_ROWS = 20  # shown of a long table
_LONGEST_PLACE, _LONGEST_LABEL = 500, 100  # characters


def page(report: Mapping[str, Any], fit: Mapping[str, Any] | None = None) -> str:
    """The report of `text.corpus.corpus.write` as one HTML page. All that came from documents is escaped.

    fit: how its records fit their objective, where it is of records (`stages.preparation.fit`)."""
    ran = frozenset(report["steps"])
    sections = [
        _counts(report),
        _section("Splits", _sums(report["splits"], "split")),
        _section("Texts", _sums(report["texts"], "role") if len(report["texts"]) > 1 else ""),
        _section("Skipped", _reasons(report["reasons"]), "Nothing was skipped."),
        *(_records(fit) if fit else ()),
        _section("Spelling variants of labels", _variants(report["labels"]["variants"])),
        _section("Contradicting labels", _contradictions(report["labels"]["contradictions"])),
        _section("Leakage between named splits", _leaks(report["leaks"])),
        _section("Removed from kept documents", _removed(report["removed"])),
        _section("Lengths", _lengths(report["lengths"], report["longest"])),
        _section(
            "Languages",
            _sums(report["languages"], "language"),
            _nothing("language" in ran, "No step identified languages."),
        ),
        _section(
            "Personal data",
            _personal(report["personal"], report["personal_action"]),
            _nothing("personal-data" in ran, "No step searched for any, so none was removed."),
        ),
        _section(
            "Duplicates", _duplicates(report), _nothing(bool(ran & _DUPLICATES), "No step searched for any.")
        ),
        _section(
            "Contamination",
            _sums(report["contaminated"], "set"),
            _nothing("contamination" in ran, "No step searched for any."),
        ),
        _section("Licences", _sums(report["licences"], "licence"), "The sources name none."),
        _section("File extensions", _sums(report["extensions"], "file extension")),
    ]
    return (
        f'<!doctype html>\n<html lang="{chosen()}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{say('Data card')}</title><style>{_STYLE}</style></head>\n<body><h1>{say('Data card')}</h1>\n"
        + "\n".join(section for section in sections if section)
        + "\n</body></html>\n"
    )


def _records(fit: Mapping[str, Any]) -> Iterator[str]:
    """How records fit their objective: what was skipped, the balance of labels, what splits share."""
    rows = [
        (escape(name), f"{row['read']:,}", f"{row['records']:,}", f"{row['read'] - row['records']:,}")
        for name, row in fit["splits"].items()
    ]
    yield _section("Records", _table(("split", "read", "used", "skipped"), rows))
    reasons = [
        (
            escape(name),
            escape(reason) + "".join(_sample({"source": place}) for place in row["places"]),
            f"{row['records']:,}",
        )
        for name, split in fit["splits"].items()
        for reason, row in split["skipped"].items()
    ]
    yield _section(
        "Records that do not fit the objective",
        _table(("split", "reason, and source", "records"), reasons) if reasons else "",
        "None.",
    )
    yield _section("Labels", _balance(fit["labels"], list(fit["splits"])))
    unknown = [
        (escape(excerpt(label, _LONGEST_LABEL)), escape(name), f"{row['records']:,}")
        for label, splits in fit["unknown"].items()
        for name, row in splits.items()
    ]
    yield _section(
        "Labels that training lacks", _table(("label", "split", "records"), unknown) if unknown else ""
    )
    shared = [
        (escape(name), f"{row['records']:,}", f"{row['same']:,}", f"{row['touched']:,}")
        for name, row in fit["leakage"].items()
    ]
    head = ("split", "records", "also training texts", "with a run of 13 tokens of one")
    yield _section("Leakage between splits", _table(head, shared) if shared else "", "No split is held out.")


def _balance(labels: Mapping[str, Mapping[str, int]], splits: list[str]) -> str:
    """How many records, or words, have each label, the commonest of training first."""
    if not labels:
        return ""
    total = max(1, sum(counts["train"] for counts in labels.values()))
    ordered = sorted(labels.items(), key=lambda pair: (-pair[1]["train"], pair[0]))
    rows = [
        (
            escape(excerpt(label, _LONGEST_LABEL)),
            *(f"{counts[split]:,}" for split in splits),
            _bar(counts["train"] / total),
        )
        for label, counts in ordered[:_ROWS]
    ]
    more = f"<p class=dim>and {len(ordered) - _ROWS} more</p>" if len(ordered) > _ROWS else ""
    return _table(("label", *splits, "share of training"), rows) + more


def _variants(variants: Iterable[Iterable[str]]) -> str:
    rows = [
        (", ".join(f"<q>{escape(excerpt(label, _LONGEST_LABEL))}</q>" for label in some),)
        for some in variants
    ]
    return _table(("labels that differ only in spelling",), rows) if rows else ""


def _contradictions(found: Mapping[str, Any]) -> str:
    if not found["records"]:
        return ""
    places = "".join(_sample({"source": place}) for place in found["places"])
    said = say(f"{found['records']:,} have the text of an earlier record but another label:")
    return f"<p>{said}{places}</p>"


def _leaks(found: Mapping[str, Any]) -> str:
    rows = [(escape(name), f"{count:,}") for name, count in found["documents"].items()]
    places = "".join(
        _sample({"source": row["source"], "detail": f"id {row['repeats']}"}) for row in found["samples"]
    )
    return _table(("near-duplicates", "documents"), rows) + f"<p>{places}</p>" if rows else ""


def _counts(report: Mapping[str, Any]) -> str:
    read, kept, skipped = (report[key] for key in ("read", "kept", "skipped"))
    counts = say(
        f"{read['documents']:,} read = {kept['documents']:,} kept + {skipped['documents']:,} skipped."
    )
    if "bytes" in read:
        counts += say(f" {_bytes(read['bytes'])} in, {_bytes(kept['bytes'])} out.")
    return f"<p>{counts}</p>"


_DUPLICATES = frozenset(("exact-duplicates", "near-duplicates", "substrings"))


def _nothing(looked: bool, otherwise: str) -> str:
    """Why there is nothing to show: that nobody looked and that nothing was found are two facts, and one is true."""
    return "Searched for, and none was found." if looked else otherwise


def _section(title: str, body: str, without: str = "") -> str:
    if not body and not without:
        return ""
    return f"<h2>{say(title)}</h2>\n{body or f'<p class=dim>{say(without)}</p>'}"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Cells are HTML; those that begin with a digit stand to the right."""
    titles = [say(title) for title in head]
    body = [list(row) for row in rows]
    right = [bool(body) and all(row[i][:1].isdigit() for row in body) for i in range(len(titles))]

    def line(tag: str, cells: list[str]) -> str:
        kinds = (" class=number" if aligned else " class=text" for aligned in right)
        return "".join(f"<{tag}{kind}>{cell}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))

    lines = [f"<tr>{line('td', row)}</tr>" for row in body]
    return f"<table><thead><tr>{line('th', titles)}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _sums(sums: Mapping[str, Mapping[str, int]], heading: str) -> str:
    """Documents and bytes by name, with a bar for the share of bytes; the parts in their order, others most first."""
    if not sums:
        return ""
    total = max(1, sum(row["bytes"] for row in sums.values()))
    ordered = list(sums.items())
    if heading != "split":
        ordered.sort(key=lambda pair: (-pair[1]["bytes"], pair[0]))
    rows = [
        (escape(name), f"{row['documents']:,}", _bytes(row["bytes"]), _bar(row["bytes"] / total))
        for name, row in ordered[:_ROWS]
    ]
    more = f"<p class=dim>{say(f'and {len(ordered) - _ROWS} more')}</p>" if len(ordered) > _ROWS else ""
    return _table((heading, "documents", "bytes", "share"), rows) + more


def _bar(share: float) -> str:
    return (
        f'<svg viewBox="0 0 200 14" style="width:12rem" role="img" aria-label="{share:.1%}">'
        f'<rect width="{150 * share:.1f}" height="14" rx="2"></rect>'
        f'<text x="{150 * share + 5:.1f}" y="11">{share:.1%}</text></svg>'
    )


def _reasons(reasons: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        (
            escape(row["step"]),
            escape(say(row["reason"])) + "".join(_sample(sample) for sample in row["samples"]),
            f"{row['documents']:,}",
            _bytes(row["bytes"]),
        )
        for row in sorted(reasons, key=lambda row: -row["documents"])
    ]
    return _table(("step", "reason, and source", "documents", "bytes"), rows) if rows else ""


def _sample(sample: Mapping[str, str]) -> str:
    """Where, and the beginning of it. A report quotes no personal data, but a place may hold some: a file's name."""
    detail = bracketed(escape(say(sample.get("detail", ""))))
    quoted = (
        f"<blockquote><small>{escape(sample['excerpt'])}</small></blockquote>" if "excerpt" in sample else ""
    )
    return f"<br><small>{escape(excerpt(sample['source'], _LONGEST_PLACE))}{detail}</small>{quoted}"


def _lengths(rows: list[Mapping[str, int]], longest: int) -> str:
    """A histogram: a bar for each power of two of characters."""
    if not rows:
        return ""
    counts = {row["from"]: row["documents"] for row in rows}
    low, high = rows[0]["from"].bit_length(), rows[-1]["from"].bit_length()
    starts = [1 << digits >> 1 for digits in range(low, high + 1)]
    most, width = max(counts.values()), 720 / len(starts)
    bars = []
    for at, start in enumerate(starts):
        count = counts.get(start, 0)
        height = 120 * count / most
        x = at * width
        title = f"{start:,} characters and more: {counted(count, 'document')}"
        bars.append(
            f'<rect x="{x + 1:.1f}" y="{140 - height:.1f}" width="{width - 2:.1f}" height="{height:.1f}">'
            f"<title>{say(title)}</title></rect>"
            f'<text x="{x + width / 2:.1f}" y="155" text-anchor="middle">{_short(start)}</text>'
        )
        if count:
            label = f'<text x="{x + width / 2:.1f}" y="{134 - height:.1f}" text-anchor="middle">{_short(count)}</text>'
            bars.append(label)
    described = say("documents by length: each bar begins at that number of characters")
    template = "{}; the longest has {}, for which a process holds about {} of memory"
    told = fill(template, described, f"{longest:,}", amount(HELD * longest, "B"))
    chart = f'<svg viewBox="0 0 720 160" role="img" aria-label="{described}">{"".join(bars)}</svg>'
    return f"{chart}<p class=dim>{told}</p>"


_ACTIONS = {
    "redact": "Each was replaced by its kind, such as [EMAIL].",
    "pseudonymise": "Each was replaced by a made-up value.",
    "report": "They were only counted, and are still in the texts.",
}


def _personal(sums: Mapping[str, Mapping[str, int]], action: str | None) -> str:
    rows = [(escape(say(kind)), f"{row['found']:,}", f"{row['documents']:,}") for kind, row in sums.items()]
    said = f"<p class=dim>{say(_ACTIONS[action])}</p>" if action in _ACTIONS else ""
    return _table(("kind", "found", "documents"), rows) + said if rows else ""


_UNITS = {"language": "paragraphs", "substrings": "passages"}  # other steps take out lines


def _removed(sums: Mapping[str, Mapping[str, int]]) -> str:
    rows = [
        (escape(step), f"{row['removed']:,} {say(_UNITS.get(step, 'lines'))}", f"{row['documents']:,}")
        for step, row in sums.items()
    ]
    return _table(("step", "removed", "documents"), rows) if rows else ""


def _duplicates(report: Mapping[str, Any]) -> str:
    rows = [
        (escape(say(row["reason"])), f"{row['documents']:,}", _bytes(row["bytes"]))
        for row in report["reasons"]
        if row["step"] in _DUPLICATES
    ]
    clusters = report["clusters"]
    if clusters["documents"]:
        rows.append(
            (
                say(
                    f"kept, each in one split (near-duplicates, pieces of texts): {clusters['clusters']:,} clusters"
                ),
                f"{clusters['documents']:,}",
                "0 B",
            )
        )
    return _table(("duplicates", "documents", "bytes"), rows) if rows else ""


def _short(number: int) -> str:
    for size, mark in ((1 << 30, "G"), (1 << 20, "M"), (1 << 10, "k")):
        if number >= size:
            return f"{number / size:.3g}{mark}"
    return str(number)


def _bytes(number: int) -> str:
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number} B"
