"""A small data file for each objective: what a person would bring who wants to train by it."""

from __future__ import annotations

import json
import random
from pathlib import Path

PLACES, VERBS = ("mill", "river", "bakery", "field", "barn", "bridge"), ("turns", "waits", "sings", "sleeps")
QUESTIONS = {"Where is it?": 0, "What does it do?": 1, "How many?": 2, "When?": 3}


def _rows(kind: str, number: int, draw: random.Random) -> list[dict]:
    """The records about one thing: a question is asked four times about each passage."""
    facts = [draw.choice(PLACES), draw.choice(VERBS), str(number), f"on day {draw.randrange(90)}"]
    text = f"the {facts[0]} {facts[1]} {facts[2]} times {facts[3]}"
    if kind == "pairs":
        return [{"source": text, "target": " ".join(reversed(text.split()))}]
    if kind == "classify":
        return [{"text": text, "label": facts[1]}]
    if kind == "regress":
        return [{"text": text, "label": number / 10}]
    if kind == "tag":
        return [{"text": text, "tags": " ".join("PLACE" if w in PLACES else "O" for w in text.split())}]
    if kind == "answer":
        return [
            {"passage": text, "question": question, "answer": facts[place]}
            for question, place in QUESTIONS.items()
        ]
    if kind == "chat":
        said = [("user", "Where is it?"), ("assistant", facts[0]), ("user", "And?"), ("assistant", text)]
        return [{"messages": [{"role": who, "content": content} for who, content in said]}]
    if kind == "prefer":
        return [{"prompt": "Where is it?", "chosen": text, "rejected": facts[0]}]
    if kind == "embed":
        return [{"query": f"{facts[0]} {facts[2]}", "passage": text}]
    if kind == "extract":
        return [
            {
                "source": f"{text.capitalize()}. It {facts[1]}. It is a {facts[0]}.",
                "target": f"It {facts[1]}.",
            }
        ]
    return [{"text": text + "\n" + " ".join(draw.choices([*PLACES, *VERBS], k=30))}]


def write(path: Path, kind: str, things: int = 80, seed: int = 1) -> int:
    """Write records for objectives of this kind as JSON lines; how many."""
    draw = random.Random(seed)
    rows = [row for number in range(things) for row in _rows(kind, number, draw)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return len(rows)
