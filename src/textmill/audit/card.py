"""The model card: README.md of a published model, in the form Hugging Face reads (YAML, then Markdown).

It is filled from plain data only, so that whoever publishes says what is true and nothing is looked up here. A
section whose data is not given is left out whole, never left empty.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from textmill.base.files import write_text
from textmill.base.language import bracketed, chosen, fill, say, speaking
from textmill.objectives.causal import CAUSAL
from textmill.objectives.objective import Objective

_KEYS = (
    "name",
    "objective",
    "summary",
    "transformers",
    "model",
    "training",
    "evaluation",
    "samples",
    "generation",
    "parity",
)
_KEYS += ("lineage", "use", "limits")
_TAG = re.compile(r"(\{\{.*?\}\}|\{%.*?%\})")
NAMES = {"en": "README.md", "zh": "README.zh.md"}  # a card for each language, whoever publishes
_FRONT = ("license", "language", "library_name", "pipeline_tag", "tags", "model-index")


def write_card(directory: Path | str, info: Mapping[str, Any]) -> None:
    """Write the card of `info` (see `render`) into `directory`, in each language, whole or not at all."""
    for language, name in NAMES.items():
        with speaking(language):
            write_text(Path(directory) / name, render(info))


def render(info: Mapping[str, Any]) -> str:
    """The card as Markdown. Keys of `info`; all but `name` may be left out:

    name            the model's name
    objective       the Objective it was trained by; a language model's when left out
    summary         one or two sentences
    license         SPDX name of the licence the owner gives the model
    language        language codes, as a list
    transformers    True when transformers can load the directory
    model           facts about the architecture: {label: value}
    data            {"documents": n, "bytes": n, "tokens": n, "sources": [text or {"place", "documents", "bytes"}],
                    "splits": {split: documents}, "skipped": {reason: n}}
    training        facts: {label: value} (steps, tokens, batch, rates, hardware, time, versions)
    evaluation      {"on": what was scored, "table": [{"name", and a Score's plain fields}], "perplexity": x or None,
                    "headline": the name of the score in the table, "better": "lower" or "higher", "more": a table of
                    the other scores}; bits per byte when there is no headline
    samples         [{"prompt", "text"}]
    generation      the defaults text is generated with: {label: value}
    parity          {"ok": bool, "checks": [a Check's plain fields]} of interop/parity.py
    lineage         {artifact: id}
    use             what it is meant for, in sentences; a plain account of a small model when left out
    limits          more limits than those every such model has, as a list
    """
    return (
        re.sub(r"\n{3,}", "\n\n", _template(chosen()).render(front=_front(info), **_prepared(info))).strip()
        + "\n"
    )


def _prepared(info: Mapping[str, Any]) -> dict[str, Any]:
    objective = _objective(info)
    known = {key: info.get(key) for key in _KEYS}
    known |= {"objective": objective, "purpose": objective.purpose, "language": chosen()}
    evaluation: dict[str, Any] = {
        "headline": "bits per byte",
        "better": "lower",
        **(info.get("evaluation") or {}),
    }
    known["evaluation"] = evaluation
    rows, more = ([_row(row) for row in evaluation.get(key, ())] for key in ("table", "more"))
    data = dict(info.get("data") or {})
    data["sources"] = [
        source if isinstance(source, Mapping) else {"place": source} for source in data.get("sources") or ()
    ]
    return {**known, "rows": rows, "more": more, "data": data if info.get("data") else None}


def _objective(info: Mapping[str, Any]) -> Objective:
    return info.get("objective") or CAUSAL


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    low, high = row.get("low"), row.get("high")
    interval = "–" if low is None or high is None else fill("{} to {}", f"{low:.3f}", f"{high:.3f}")
    return {**row, "shown": f"{row['value']:.3f}", "interval": interval}


def _front(info: Mapping[str, Any]) -> str:
    """The YAML head. A JSON value is a YAML value, so nothing in a name can break out of it."""
    values = {
        "license": info.get("license"),
        "language": info.get("language"),
        "library_name": "transformers" if info.get("transformers") else "textmill",
        "pipeline_tag": _objective(info).purpose.pipeline,
        "tags": ["textmill", *info.get("tags", ())],
        "model-index": _index(info),
    }
    return "\n".join(f"{key}: {json.dumps(values[key], ensure_ascii=False)}" for key in _FRONT if values[key])


def _index(info: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    evaluation = info.get("evaluation") or {}
    table = evaluation.get("table")
    if not table or not math.isfinite(table[0]["value"]):
        return None
    on = str(evaluation.get("on", "held-out text"))
    headline, meant = evaluation.get("headline", "bits per byte"), _objective(info).purpose
    metric = {
        "type": headline.lower().replace(" ", "_").replace("-", "_"),
        "name": headline,
        "value": round(table[0]["value"], 6),
    }
    task = {"type": meant.pipeline, "name": meant.task}
    result = {"task": task, "dataset": {"type": "private", "name": on}, "metrics": [metric]}
    return [{"name": str(info["name"]), "results": [result]}]


def cell(value: Any) -> str:
    """A value inside a table or a line: no line ends, bars, tags, links or headings of its own."""
    if isinstance(value, bool):
        return say("yes" if value else "no")
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{cell(key)} {cell(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(cell, value))
    text = " ".join(str(value).split())
    return re.sub(r"([\\|`*_<>\[\]#])", r"\\\1", text)


def size(number: float) -> str:
    """Bytes in words: 12.3 MB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def fenced(text: str) -> str:
    """Text as a code block, with a fence longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def said(value: Any) -> Any:
    """Words of ours in the chosen language: a text, or what the figures of a mapping are called."""
    if isinstance(value, Mapping):
        return {say(str(key)): item for key, item in value.items()}
    return say(value) if isinstance(value, str) else value


def lines() -> Iterator[tuple[str, list[str]]]:
    """The lines of the card's template: what is written there, with a hole for each tag of Jinja, and the tags. Code is
    the same in every language, so a line of it is a single tag."""
    code = False
    for line in Path(__file__).with_name("card.md.jinja").read_text(encoding="utf-8").splitlines():
        fence = line.startswith("```")
        code = code != fence
        pieces = ["", line, ""] if code or fence else _TAG.split(line)
        yield "{}".join(pieces[::2]), pieces[1::2]


@cache
def _template(language: str) -> Any:
    """The template in a language, which is the one chosen now."""
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, autoescape=False)
    environment.filters.update(cell=cell, size=size, fenced=fenced, said=said, bracketed=bracketed)
    return environment.from_string("\n".join(fill(text, *tags) for text, tags in lines()))
