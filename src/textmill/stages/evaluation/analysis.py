"""Where a model does well and where it fails: slices, the worst errors beside what it was trained on, what to do next.

Everything follows from the headline text by text (`Task.figures`), so it serves every task alike.

Shapes: D texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice, pairwise
from typing import Any

import numpy as np

from textmill.base.console import tracked
from textmill.metrics.score import LOWER, Bootstrap, Figures, Score
from textmill.tasks.prediction import Label
from textmill.tasks.task import Record, Task
from textmill.text import scripts
from textmill.text.bm25 import BM25
from textmill.text.document import Document, kind_of
from textmill.text.words import hashes

Training = Callable[[], Iterable[tuple[Document, Record]]]
ERRORS = 20
_NEAREST = 3  # training documents shown beside an error
_FEWEST = 5  # texts of a slice that is worth a line
_SLICES = 12  # of one kind
_TEXT_BYTES = 64 << 20  # of training text that is searched, at most
_EXCERPT = 600  # characters
_RARE = ("all words known", "up to 10 % of words unknown", "over 10 % of words unknown")


def further(
    task: Task,
    predictions: Sequence[Any],
    records: Sequence[Record],
    documents: Sequence[Document],
    training: Training | None,
) -> dict[str, Any]:
    """`slices` and `errors` of what was predicted of records, and how many training documents were searched for those
    nearest to an error. training: documents and records of the training part; None: they are not here."""
    if task.figures is None or not records:
        return {}
    figures = task.figures(predictions, records)
    near = None if training is None else Nearest(training(), task)
    single = any(isinstance(said, Label) for said in predictions)
    labels = [str(task.gold(record)) for record in records] if single else None
    known = None if near is None else near.words
    return {
        "slices": slices(figures, records, documents, labels=labels, known=known),
        "errors": errors(task, figures, predictions, records, documents, near),
        "searched": 0 if near is None else near.searched,
    }


def baselines(
    task: Task, family: str, records: Sequence[Record], training: Training | None, bootstrap: Bootstrap
) -> dict[str, dict[str, Score]]:
    """What a model should beat, on the same records: a linear model is not told to beat itself. family: its spec's
    kind; training: what they learn from; None: only those that learn nothing are scored."""
    if not task.baselines:
        return {}
    pairs = [] if training is None else training()
    learnt = [record for _, record in pairs if task.gold(record) is not None]
    made = {}
    plain = () if training is None else task.plain
    serve = {name for name in task.baselines if learnt or name in (*plain, *task.untrained)} - {family}
    fits = {name: fit for name, fit in task.baselines.items() if name in serve}
    for name in tracked(list(fits), "scoring baselines", len(fits)):
        texts = (record for _, record in training()) if training is not None and name in plain else None
        baseline = fits[name](learnt if texts is None else texts)
        made[baseline.name] = task.metrics(baseline.predict(records), records, bootstrap)
    return made


def slices(
    figures: Figures,
    records: Sequence[Record],
    documents: Sequence[Document],
    *,
    labels: Sequence[str] | None = None,
    known: set[int] | None = None,
    resamples: int = 200,
) -> list[dict[str, Any]]:
    """The headline of parts of the texts: by length, source, label, language, any short column, and rare words.

    labels: the right one of each text, where there is one; known: hashes of the words of the training texts. A slice
    with an interval that lies all on the bad side of the whole is marked `worse`.
    """
    whole = figures.score(Bootstrap(1)).value
    made = []
    for by, names in _groups(records, documents, labels, known).items():
        held = Counter(names)
        kept = [name for name, number in held.most_common(_SLICES) if number >= _FEWEST]
        if len(held) < 2:
            continue
        for name in (
            kept
            if by not in ("length", "rare words")
            else [name for name in dict.fromkeys(sorted(names)) if name in kept]
        ):
            chosen = np.array([each == name for each in names])
            row = _slice(figures.of(chosen), resamples)
            if row is None:
                continue
            worst = (
                (row["low"] or -np.inf) > whole
                if figures.better == LOWER
                else (row["high"] or np.inf) < whole
            )
            made.append({"by": by, "slice": name.partition("\0")[2] or name, **row, "worse": bool(worst)})
    return made


def _slice(figures: Figures, resamples: int) -> dict[str, Any] | None:
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(figures.value(figures.columns.sum(0)[None])[0])
    if not np.isfinite(value):
        return None  # no entity, say, is there or was said
    score = figures.score(Bootstrap(resamples))
    return {"n": len(figures), "value": score.value, "low": score.low, "high": score.high}


def _groups(
    records: Sequence[Record],
    documents: Sequence[Document],
    labels: Sequence[str] | None,
    known: set[int] | None,
) -> dict[str, list[str]]:
    """Of each kind of slice the one that each text is in; what stands before a zero byte orders them."""
    texts = [document.text for document in documents]
    groups = {"length": _by_length([len(text) for text in texts])}
    if labels is not None:
        groups["label"] = list(labels)
    groups["language"] = [_language(text) for text in texts]
    groups["source"] = [_file(document.source) for document in documents]
    if known is not None:
        groups["rare words"] = _by_rarity(texts, known)
    for name in sorted({name for document in documents for name in document.metadata}):
        values = [document.metadata.get(name, "") for document in documents]
        if not name.startswith("@") and values != labels and 2 <= len(set(values)) <= _SLICES:
            groups[name] = values
    return groups


def _by_length(lengths: Sequence[int]) -> list[str]:
    """Quarters of the texts, by their characters."""
    edges = sorted({int(edge) for edge in np.quantile(lengths, (0.25, 0.5, 0.75), method="lower")})
    names = []
    for length in lengths:
        above = next((edge for edge in edges if length <= edge), None)
        below = max((edge for edge in edges if edge < length), default=0)
        name = f"up to {above} characters"
        if above is None:
            name = f"over {below} characters"
        names.append(f"{above or 1 << 40:020d}\0{name}")
    return names


def _by_rarity(texts: Sequence[str], known: set[int]) -> list[str]:
    words = hashes(texts)
    unknown = np.array([int(word) not in known for word in words.hash], dtype=np.float64)
    total = np.concatenate([[0.0], np.cumsum(unknown)])
    missed = total[words.offsets[1:]] - total[words.offsets[:-1]]
    share = missed / np.maximum(np.diff(words.offsets), 1)
    places = np.where(missed == 0, 0, np.where(share <= 0.1, 1, 2)).tolist()
    return [f"{place}\0{_RARE[place]}" for place in places]


def _language(text: str) -> str:
    """The script most of a text is in, by the language that says most where there is one."""
    counts = scripts.count(text)
    if not counts:
        return "none"
    if scripts.is_chinese(text) and 3 * counts["hanzi"] > counts.total():
        return "Chinese"
    return counts.most_common(1)[0][0]


def _file(source: str) -> str:
    return source.rsplit(":", 1)[0] if ":" in source else source


def errors(
    task: Task,
    figures: Figures,
    predictions: Sequence[Any],
    records: Sequence[Record],
    documents: Sequence[Document],
    near: Nearest | None,
    most: int = ERRORS,
) -> list[dict[str, Any]]:
    """The worst texts first: those scored worst, and of these what the model was surest of; each with the training
    documents nearest to it. A text without a score of its own is none."""
    each = figures.each
    perfect = 0.0 if figures.better == LOWER else np.nanmax(each, initial=0.0)
    badness = each if figures.better == LOWER else -each
    sure = np.array([said.p if isinstance(said, Label) else 0.0 for said in predictions])
    order = [
        at for at in np.lexsort((-sure, -badness)).tolist() if np.isfinite(each[at]) and each[at] != perfect
    ]
    made = []
    for at in order[:most]:
        said, document = predictions[at], documents[at]
        row: dict[str, Any] = {
            "source": document.source,
            "texts": {
                role: _short(text) for role, text in document.texts.items() if kind_of(role) not in _ANSWERS
            },
            "right": _plain(task.gold(records[at])),
            "said": {name: value for name, value in said.row().items() if name != "others"},
            "score": float(each[at]),
        }
        if near is not None:
            row["nearest"] = near.to(document.text)
        made.append(row)
    return made


_ANSWERS = ("target", "answer")


def _plain(gold: Any) -> Any:
    return (
        [_short(each) if isinstance(each, str) else each for each in gold]
        if isinstance(gold, tuple)
        else gold
    )


def _short(text: str) -> str:
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}…"


class Nearest:
    """The training documents that share most rare words with a text (BM25)."""

    def __init__(self, documents: Iterable[tuple[Document, Record]], task: Task) -> None:
        """documents: of the training part, as many as 64 MiB of text hold; `searched` says how many that were."""
        self._kept: list[tuple[str, str, Any]] = []
        texts, size = [], 0
        for document, record in documents:
            text = document.text
            size += len(text)
            if size > _TEXT_BYTES:
                break
            texts.append(text)
            self._kept.append((document.id, document.source, task.gold(record)))
        self._texts = texts
        self.searched = len(texts)
        self._index = BM25(texts)

    def to(self, text: str) -> list[dict[str, Any]]:
        """The nearest: id, source, an excerpt, what is right of it, and how many words both share."""
        mine, made = set(hashes([text]).hash.tolist()), []
        for number, score in self._index.best(text, _NEAREST):
            identity, source, right = self._kept[number]
            shared = len(mine & set(hashes([self._texts[number]]).hash.tolist()))
            made.append(
                {
                    "document": identity,
                    "source": source,
                    "text": _short(self._texts[number]),
                    "right": _plain(right),
                    "score": round(score, 2),
                    "shared_words": shared,
                }
            )
        return made

    @property
    def words(self) -> set[int]:
        """Hashes of all words of these texts."""
        found: set[int] = set()
        for start in range(0, len(self._texts), 4096):
            found |= set(hashes(self._texts[start : start + 4096]).hash.tolist())
        return found


def trained_on(documents: Sequence[Document], training: Training) -> int:
    """How many of these stand in the training part word for word, case and marks aside: such rows flatter a model."""

    def spelt(several: Sequence[Document]) -> list[bytes]:
        words = hashes([document.whole for document in several])
        return [words.hash[start:end].tobytes() for start, end in pairwise(words.offsets.tolist())]

    wanted = Counter(spelt(documents))
    found: set[bytes] = set()
    pieces = (document for document, _ in training())
    while some := list(islice(pieces, 4096)):
        found.update(said for said in spelt(some) if said in wanted)
    return sum(wanted[said] for said in found)


def advice(result: Mapping[str, Any]) -> list[str]:
    """What to do next, in plain sentences, as the figures say."""
    lines = []
    headline, better = result["headline"], result["better"]
    value = result["details"][headline]
    beaten = [
        row["name"]
        for row in result["table"][1:]
        if (row["value"] >= value["value"] if better != LOWER else row["value"] <= value["value"])
    ]
    if beaten:
        lines.append(
            f"a baseline is as good or better: {', '.join(beaten)}. Train longer, on more data, or use that"
        )
    elif result["table"][1:]:
        near = [row["name"] for row in result["table"][1:] if _near(row, value, result)]
        if near:
            lines.append(
                f"the intervals of the model and of {', '.join(near)} overlap: score more rows before you rely on it"
            )
    if seen := result.get("trained_on", 0):
        lines.append(
            f"{seen:,} rows stand in the training split, which flatters the model: score rows it has not seen"
        )
    if refused := result.get("refused", 0):
        lines.append(f"{refused} rows were refused and count as wrong: see why, and shorten or repair them")
    worse = [row for row in result.get("slices", ()) if row["worse"]]
    if worse:
        worst = (min if better != LOWER else max)(worse, key=lambda row: row["value"])
        lines.append(f"it is weakest where {worst['by']} is {worst['slice']}: add training data of that kind")
    if (ece := result["details"].get("ECE")) and ece["value"] > 0.1:
        lines.append(
            "its probabilities are not to be trusted as they stand: fit a temperature on validation data"
        )
    if value["low"] is not None and result["documents"] < 200:
        lines.append(
            f"{result['documents']} rows are few: the interval is wide, and more rows would narrow it"
        )
    if result.get("errors"):
        lines.append("read the worst errors: where what counts as right is wrong, repair it and score again")
    return lines


def _near(row: Mapping[str, Any], value: Mapping[str, Any], result: Mapping[str, Any]) -> bool:
    """Whether chance may be what tells a baseline from the model: by their difference on the same documents, where that
    is known, or else by their intervals."""
    if (paired := result.get("paired", {}).get(row["name"])) is None:
        return _overlap(row, value)
    difference = result["details"][paired]
    return difference["low"] is not None and difference["low"] <= 0 <= difference["high"]


def _overlap(row: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    if row["low"] is None or value["low"] is None:
        return False
    return row["low"] <= value["high"] and value["low"] <= row["high"]
