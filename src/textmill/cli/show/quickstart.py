"""The end of a quickstart: scores, what the model says of texts it has not seen, and what comes next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from rich.markup import escape
from rich.text import Text

from textmill.base.console import duration
from textmill.base.language import padded, say
from textmill.cli.show import index as show_index
from textmill.cli.show.output import OUT as _OUT
from textmill.cli.show.scores import scores
from textmill.cli.show.stages import parity

_LABEL = 9  # columns of what stands before a text
_LINES = 2  # of a text of an example, at most


def quickstart(result: Mapping[str, Any]) -> None:
    """Table, examples or samples, proof, files, what next."""
    if "examples" in result:
        scores({key: value for key, value in result["scores"].items() if key != "examples"})
        _beaten(result["scores"])
        _examples(result["examples"])
        _proof(result["parity"])
    else:
        scores(result["scores"])
        _continued(result)
        _OUT.rule(style="dim")
        parity(result["parity"])
    lines = (
        ("model", result["model"]),
        ("recipe", result["recipe"]),
        ("loss curve", result["loss_curve"]),
        ("page", result["page"]),
        ("time", duration(result["seconds"])),
    )
    _OUT.print()
    for label, text in lines:
        if text is not None:
            _OUT.print(f"{padded(say(label), 11)} {escape(text)}", soft_wrap=True)
    _OUT.print("\nnext")
    for command, meaning in _next(result):
        _OUT.print(f"  {escape(command)}", soft_wrap=True)
        _OUT.print(Text(f"      {say(meaning)}", style="dim"), soft_wrap=True)


def _beaten(result: Mapping[str, Any]) -> None:
    """Says so where a baseline is as good."""
    own, *baselines = result["table"]
    sign = -1 if result["better"] == "lower" else 1
    best = max(baselines, key=lambda row: sign * row["value"], default=None)
    if best is not None and sign * own["value"] <= sign * best["value"]:
        name = escape(say(best["name"]))
        _OUT.print(
            f"\nno better than {name} yet: more minutes, more records or a start (--from) would help",
            style="yellow",
            soft_wrap=True,
        )


def _next(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Commands, and what each is for."""
    name, guessed = result["run"], result["guessed"] or {}
    if "examples" in result:
        yield (
            f"textmill predict {name} {_asked(result)}",
            "the same for texts of your own, or for a file of them",
        )
        if (model := guessed.get("start")) is not None:
            if not guessed["start_at_hand"]:
                yield f"textmill models get {model}", "fetch a model that has read much English"
            yield (
                f"textmill train {result['recipe']} --set name={name}-tuned --from {model}",
                "begin with that model: usually much better",
            )
    else:
        yield f"textmill generate {name} {_prompt(result)}", "continue a prompt of your own"
        yield f"textmill data where {name} --step 10", "the documents behind a training step"
    yield f"textmill report {name}", "one page of all of this, to open in a browser"
    yield f"textmill lineage {name}", "from the model back to the source files"
    if result["loss_curve"] is not None:
        yield (
            f"textmill train {result['recipe']} --set training.minutes=30 --fork longer",
            "train further, as a new run",
        )
    if "examples" not in result:
        yield "textmill quickstart --corpus YOUR_FOLDER", "the same on your own text"


def _asked(result: Mapping[str, Any]) -> str:
    """What is given to `predict`: a text, or a file where a record has several."""
    reads = [list(example["reads"].items()) for example in result["examples"]]
    if not reads or len(reads[0]) != 1:
        return "rows.jsonl"
    texts: list[str] = [text for pairs in reads for _, text in pairs]
    shortest = min(texts, key=len)
    return shlex.quote(" ".join(shortest.split())[:60])


def _continued(result: Mapping[str, Any]) -> None:
    """What a language model made of the beginnings of held-out documents, and how they went on."""
    for sample, traced in zip(result["scores"]["samples"], result["traces"], strict=True):
        _OUT.rule(style="dim")
        show_index.sample(sample["prompt"], traced)
        if truth := sample.get("truth"):
            _OUT.print(Text(say(f"the document continues: {' '.join(truth.split())}"), style="dim"))


def _prompt(result: Mapping[str, Any]) -> str:
    """A prompt as a shell reads it: that of the first sample, on one line."""
    samples = result["scores"]["samples"]
    return shlex.quote(samples[0]["prompt"].strip().partition("\n")[0] if samples else "Once upon a time")


def _proof(result: Mapping[str, Any]) -> None:
    """In one line what `verify` found."""
    if result.get("ok", True):
        _OUT.print("the same numbers in training, in use and after loading: proved", style="green")
    else:
        parity(result)


# --- examples -----------------------------------------------------------------------------------------------------
def _examples(examples: list[Mapping[str, Any]]) -> None:
    """Held-out records, what is said of them, and what is right."""
    if not examples:
        return
    _OUT.print("\nheld-out records, not among its training data\n")
    for example in examples:
        for role, text in example["reads"].items():
            _line(say(role), Text(_around(text, example["said"])), "dim")
        mark = {True: "✓", False: "✗", None: ""}[example["right"]]
        style = {True: "green", False: "red", None: ""}[example["right"]]
        _line(say("says"), Text(f"{_words(example['said'])}  {mark}".rstrip(), style=style), "bold")
        if example["gold"] is not None and not example["right"]:
            _line(say("right"), Text(_words(example["gold"])), "bold")
        _OUT.print()


def _line(label: str, text: Text, style: str) -> None:
    """A text of a few lines behind what it is."""
    width = max(20, _OUT.width - _LABEL)
    text.truncate(_LINES * width - 1, overflow="ellipsis")
    for number, part in enumerate(text.wrap(_OUT, width)):
        _OUT.print(Text.assemble((padded("" if number else label, _LABEL), style), part))


def _around(text: str, said: Mapping[str, Any]) -> str:
    """A text on one line; of a long one the part in which the answer stands."""
    start = said.get("start")
    if isinstance(start, int) and start > _OUT.width and text[start : said["end"]] == said["answer"]:
        text = "… " + text[max(0, start - _OUT.width // 2) :]
    return " ".join(text.split())


def _words(said: Any) -> str:
    """What is said, or right, in words."""
    if isinstance(said, str):
        return " ".join(said.split())
    if isinstance(said, (int, float)):
        return f"{said:g}"
    if isinstance(said, list):
        if said and isinstance(said[0], Mapping):
            return _spans(said)
        return " / ".join(map(_words, said[:3])) if said else say("it does not say")
    if "refused" in said:
        return say(said["refused"])
    if "spans" in said:
        return _spans(said["spans"])
    if "labels" in said:
        return ", ".join(said["labels"]) or say("none")
    if "label" in said:
        return f"{said['label']}  {said['p']:.2f}"
    if "answer" in said:
        return said["answer"] if said["answer"] is not None else say("it does not say")
    if "vector" in said:
        return ", ".join(f"{number:.2f}" for number in said["vector"][:8]) + " …"
    return _words(said.get("text", said.get("number", "")))


def _spans(spans: list[Mapping[str, Any]]) -> str:
    return ", ".join(f"{span['text']} ({span['label']})" for span in spans) or say("none")
