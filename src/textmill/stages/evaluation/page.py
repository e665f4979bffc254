"""An evaluation as sections of a page, in the chosen language: for the page of a run, and for one of its own.

What people wrote (texts, labels, names of files) stands as it is; what we say of it is translated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textmill.base.language import fill, say
from textmill.base.page import Html, element, facts, html, page, section, table
from textmill.stages.evaluation import drawing

_DIGITS = 3


def whole(result: Mapping[str, Any]) -> str:
    """A page of an evaluation on its own."""
    title = fill("{} on {}", result["model"], say(result["on"]))
    return page(title, (summary(result), *sections(result)))


def summary(result: Mapping[str, Any]) -> Html:
    """How good it is in a few lines, and what was read."""
    headline = result["headline"]
    score = result["table"][0]
    shown = f"{score['value']:.{_DIGITS}f} {say(headline)}"
    left = {
        say("task"): say(result["task"]) if "task" in result else None,
        say("score"): shown,
        say("95 % interval"): interval(score) or None,
        say("how"): score.get("signature") or None,
        say("rows scored"): f"{result['documents']:,}",
        say("rows skipped"): _counts(result.get("skipped", {})),
        say("rows refused, counted as wrong"): _refused(result),
        say("labels that no training record has"): _counts(result.get("unseen_labels", {})),
    }
    return html(facts(left), _beside(result.get("beside")))


def sections(result: Mapping[str, Any]) -> list[Html]:
    """Scores beside baselines, what to do next, slices, calibration, confusion and the worst errors; what there is none
    of is left out."""
    return [
        section(say("Beside baselines"), _baselines(result)),
        section(say("What to do next"), _advice(result.get("next", ()))),
        section(say("All scores"), _all_scores(result)),
        section(say("Slices"), *_slices(result.get("slices", ()))),
        section(say("Calibration"), _calibration(result)),
        section(say("Confusion"), drawing.confusion(result.get("confusion", {}))),
        section(say("By label"), _by_label(result)),
        section(say("Worst errors"), *_errors(result)),
    ]


def interval(row: Mapping[str, Any]) -> str:
    """From low to high; empty where there is no interval."""
    low, high = row.get("low"), row.get("high")
    return f"{low:.{_DIGITS}f} – {high:.{_DIGITS}f}" if low is not None and high is not None else ""


def _counts(counts: Mapping[str, int]) -> str | None:
    return "; ".join(f"{say(name)} ({number:,})" for name, number in counts.items()) or None


def _refused(result: Mapping[str, Any]) -> str | None:
    if not result.get("refused"):
        return None
    return _counts(result.get("reasons", {})) or f"{result['refused']:,}"


def _beside(compared: Mapping[str, Any] | None) -> Html:
    if compared is None:
        return Html()
    rows = [
        (say("this model"), f"{compared['model']['value']:.{_DIGITS}f}", interval(compared["model"])),
        (
            compared["other"],
            f"{compared['other_score']['value']:.{_DIGITS}f}",
            interval(compared["other_score"]),
        ),
        (say("difference"), f"{compared['difference']:+.{_DIGITS}f}", interval(compared)),
    ]
    agreed = [
        (say(name), f"{score['value']:.{_DIGITS}f}", interval(score))
        for name, score in compared.get("agreement", {}).items()
    ]
    head = (say(compared["score"]), say("value"), say("95 % interval"))
    return section(
        say("Beside another"),
        element("p", element("b", say(compared["sentence"]))),
        table(head, rows, right=(1,)),
        table((say("how far both agree"), say("value"), say("95 % interval")), agreed, right=(1,)),
        element("p", compared["signature"], kind="dim"),
    )


def _baselines(result: Mapping[str, Any]) -> Html:
    rows = [{**row, "name": say(row["name"])} for row in result["table"]]
    if len(rows) < 2:
        return Html()
    note = "lower is better" if result.get("better") == "lower" else "higher is better"
    title = f"{say(result['headline'])} ({say(note)})"
    return html(element("p", title, kind="dim"), drawing.bars(rows, title))


def _advice(lines: Sequence[str]) -> Html:
    return element("ol", *(element("li", say(line)) for line in lines)) if lines else Html()


def _all_scores(result: Mapping[str, Any]) -> Html:
    beside = result.get("baselines", {})
    rows = []
    for name, score in result["details"].items():
        others = [f"{of[name]['value']:.{_DIGITS}f}" if name in of else "–" for of in beside.values()]
        rows.append((say(name), f"{score['value']:.{_DIGITS}f}", interval(score), *others))
    head = ("", say("this model"), say("95 % interval"), *map(say, beside))
    return table(head, rows, right=(1, *range(3, 3 + len(beside))))


def _slices(rows: Sequence[Mapping[str, Any]]) -> list[Html]:
    parts = []
    for by in dict.fromkeys(row["by"] for row in rows):
        some = [
            {**row, "name": f"{say(str(row['slice']))} ({row['n']:,})"} for row in rows if row["by"] == by
        ]
        parts += [element("h3", _kind(by)), drawing.bars(some, _kind(by), first=len(some))]
    if any(row["worse"] for row in rows):
        parts.append(element("p", say("in red: worse than the whole, beyond chance"), kind="dim"))
    return parts


def _kind(by: str) -> str:
    """What texts are parted by: one of our words, or a column's name."""
    ours = {
        "length": say("length"),
        "label": say("label"),
        "language": say("language"),
        "source": say("source"),
    }
    return ours.get(by) or (say("rare words") if by == "rare words" else by)


def _calibration(result: Mapping[str, Any]) -> Html:
    curve = drawing.reliability(result.get("calibration", {}).get("reliability", ()))
    if not curve:
        return Html()
    ece = result["details"].get("ECE")
    said = "" if ece is None else f"ECE {ece['value']:.{_DIGITS}f} ({interval(ece)})"
    return html(element("p", said, kind="dim"), curve)


def _by_label(result: Mapping[str, Any]) -> Html:
    rows = [
        (row["label"], *(_ratio(row[name]) for name in ("precision", "recall", "F1")), f"{count:,}")
        for row in (*result.get("by_label", ()), *result.get("by_type", ()))
        for count in [row.get("texts", row.get("entities", 0))]
    ]
    head = (say("label"), say("precision"), say("recall"), "F1", say("number"))
    return table(head, rows, right=(1, 2, 3, 4))


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.{_DIGITS}f}"


def _errors(result: Mapping[str, Any]) -> list[Html]:
    parts: list[Html] = []
    for number, error in enumerate(result.get("errors", ()), 1):
        shown = [
            element("tr", element("td", role, kind="label"), element("td", text))
            for role, text in error["texts"].items()
        ]
        shown.append(_line(say("right"), _said(error["right"])))
        shown.append(_line(say("predicted"), _said(error["said"])))
        for near in error.get("nearest", ()):
            right = "" if near["right"] is None else f" → {_said(near['right'])}"
            about = element("span", f"{near['source']}, {near['score']:g}", kind="dim")
            shown.append(
                _line(say("near it in training"), html(near["text"], element("b", right), " ", about))
            )
        parts.append(element("p", element("b", f"{number}. "), element("span", error["source"], kind="dim")))
        parts.append(element("table", element("tbody", *shown)))
    if parts and result.get("searched"):
        note = f"nearest of {result['searched']:,} training documents, by BM25 and its score"
        parts.append(element("p", say(note), kind="dim"))
    return parts


def _line(label: str, content: object) -> Html:
    return element("tr", element("td", label, kind="label"), element("td", content))


def _said(value: Any) -> str:
    """What is right, or was said, for a person."""
    if value is None:
        return say("it does not say")
    if isinstance(value, Mapping):
        if "refused" in value:
            return f"{say('refused')}: {say(value['refused'])}"
        if "spans" in value:
            return ", ".join(f"{span['text']} ({span['label']})" for span in value["spans"]) or "–"
        main = next(
            (value[key] for key in ("label", "labels", "text", "answer", "number") if key in value), value
        )
        sure = value.get("p")
        return _said(main) + (f" ({sure:.2f})" if isinstance(sure, float) else "")
    if isinstance(value, (list, tuple)):
        return " | ".join(map(_said, value)) or say("it does not say")
    return f"{value:g}" if isinstance(value, float) else str(value)
