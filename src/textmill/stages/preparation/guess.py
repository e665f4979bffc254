"""What a person's data are for: the task, and which column is what, told from the names and the values of the columns.

A pure function of samples (text/sources/sample.py). Every guess says why, so that a person can see at once where it is
wrong, and whatever they say themselves (`--task`, `--columns`) is taken as said.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from textmill.base.errors import RecipeError
from textmill.stages.preparation.columns import Column, columns_of, is_header
from textmill.stages.preparation.finders import BEGINNINGS, FINDERS, ROLES, Found, sums_up
from textmill.text.document import Document
from textmill.text.marks import TAGS
from textmill.text.sources.formats import spans
from textmill.text.sources.formats.conll import joined
from textmill.text.sources.formats.forms import FORMS, looks_like
from textmill.text.sources.formats.stream import Fields
from textmill.text.sources.sample import NUMBERED, Sample


@dataclass(frozen=True)
class Guess:
    """What some files are for, and how their records are read.

    format, header: as a source of a recipe has them; `columns`: the column of each role, by name or number, none where
    the format says it; `texts`: the texts of the roles, as far as they were looked at; `labels`: the different labels.
    """

    task: str
    format: str | None
    header: bool
    columns: Mapping[str, str | int]
    why: Mapping[str, str]
    left: tuple[str | int, ...]
    rows: int
    whole: bool
    texts: Mapping[str, Column]
    labels: tuple[str, ...] = ()
    multiple: bool = False


def guess(
    samples: Sequence[Sample], task: str | None = None, columns: Mapping[str, str | int] | None = None
) -> Guess:
    """What a file holds, or several files line by line beside each other.

    task, columns: what a person said of it; the rest is guessed. Raises RecipeError where the file cannot be read, or
    lacks what the task reads, with the columns that are there.
    """
    columns = dict(columns or {})
    for sample in samples:
        if not sample.records and not any(map(str.strip, sample.lines)):
            raise RecipeError(
                f"holds nothing that can be read{f' ({sample.reason})' if sample.reason else ''}",
                where=sample.path,
            )
    if task is not None and task not in ROLES:
        raise RecipeError(f"{task!r} is no task", where="--task", advice=f"there is {', '.join(ROLES)}")
    if len(samples) > 1:
        return _parallel(samples, task, columns)
    [sample] = samples
    form = _form(sample.records)
    if form and not columns and (read := _documents(sample.records, form)):
        return _of_form(sample, form, task, read)
    if task == "chat":
        raise RecipeError(
            "holds no conversations",
            where=sample.path,
            advice='give JSON lines such as {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", '
            '"content": "…"}]}, or {"instruction": "…", "output": "…"}',
        )
    return _of_columns(sample, task, columns) if sample.records else _of_lines(sample, task, columns)


# --- records and lines that say themselves what they are ----------------------------------------------------------
def _form(records: Sequence[Any]) -> str:
    """The format that the records are in; empty where they are only columns."""
    for record in records[:20]:
        if isinstance(record, list) or (isinstance(record, dict) and _has_spans(record)):
            return "spans"
        if likely := looks_like(record):
            return likely
    return ""


def _has_spans(record: Mapping[str, Any]) -> bool:
    """Whether a record is a text with marked stretches of it."""
    try:
        [made] = spans.documents(record, "", Fields())
    except ValueError:
        return False
    return isinstance(made, Document) and any(
        record.get(name) for name in ("spans", "entities", "ents", "label", "labels")
    )


# Format -> (task, the roles of its texts, why).
_FORMS: Mapping[str, tuple[str, tuple[str, ...], str]] = {
    "squad": ("answer", ("passage", "question", "answer"), "questions about passages, as SQuAD has them"),
    "spans": ("tag", ("text",), "texts with marked stretches"),
    "chat": ("chat", ("text",), "conversations, or instructions with answers"),
    "preference": ("chat", ("text",), "answers that were chosen and rejected"),
    "conll": ("tag", ("text",), "a word and its tag a line"),
}
_ALSO = {"squad": ("embed",), "chat": ("generate",)}  # what else such data can be for


def _of_form(sample: Sample, form: str, task: str | None, documents: list[Document]) -> Guess:
    usual, roles, why = _FORMS[form]
    if task not in (None, usual, *_ALSO.get(form, ())):
        raise RecipeError(
            f"holds {why}, which is for {usual}",
            where=sample.path,
            advice=f"leave out --task, or name the columns: {_options(ROLES[task or usual])}",
        )
    texts = {role: Column(role, tuple(d.texts.get(role) for d in documents)) for role in roles}
    if roles == ("text",):
        texts = {"text": Column("text", tuple(document.text for document in documents))}
    rows = (
        len(documents) if sample.whole else round(sample.rows * len(documents) / max(1, len(sample.records)))
    )
    return Guess(
        task=task or usual,
        format=form,
        header=True,
        columns={},
        why={"task": "as you said" if task else why},
        left=(),
        rows=rows,
        whole=sample.whole,
        texts=texts,
        labels=_kinds(documents),
    )


def _documents(records: Sequence[Any], form: str) -> list[Document]:
    """What is read of records in a format."""
    fields = Fields(tuple((role, role) for role in _FORMS[form][1]), format=form, several=("answer",))
    found = [made for record in records for made in FORMS[form](record, "", fields)]
    return [made for made in found if isinstance(made, Document)]


def _kinds(documents: Sequence[Document]) -> tuple[str, ...]:
    """The kinds of spans that are marked."""
    tags = {tag for document in documents for tag in document.metadata.get(TAGS, "").split()}
    return tuple(sorted({tag.partition("-")[2] for tag in tags if "-" in tag}))


def _of_lines(sample: Sample, task: str | None, given: Mapping[str, str | int]) -> Guess:
    """What lines of text are: words with tags, a table whose name does not say so, or plain text."""
    if (sentences := _sentences(sample.lines)) and task in (None, "tag"):
        texts = [joined([row[0] for row in sentence])[0] for sentence in sentences]
        kinds = {row[-1].partition("-")[2] for sentence in sentences for row in sentence if "-" in row[-1]}
        return Guess(
            task="tag",
            format="conll",
            header=True,
            columns={},
            why={"task": "as you said" if task else _FORMS["conll"][2]},
            left=(),
            rows=round(sample.rows * len(sentences) / len(sample.lines)),
            whole=sample.whole,
            texts={"text": Column("text", tuple(texts))},
            labels=tuple(sorted(kinds)),
        )
    lines = [line for line in sample.lines if line.strip()]
    width = {line.count("\t") for line in lines}
    if len(width) == 1 and width != {0}:
        rows = tuple({f"{NUMBERED}{n}": cell for n, cell in enumerate(line.split("\t"), 1)} for line in lines)
        return replace(_of_columns(replace(sample, records=rows), task, given), format="table")
    if task not in (None, "generate"):
        raise RecipeError(
            "is plain text, without columns",
            where=sample.path,
            advice="give a table (CSV, TSV), JSON lines or Parquet; or two files that are aligned line by line: "
            "--data train.en --data train.de",
        )
    why = {"task": "as you said" if task else "plain text"}
    text = Column("text", tuple(lines))
    return Guess("generate", None, True, {}, why, (), sample.rows, sample.whole, {"text": text})


def is_tagged(sample: Sample) -> bool:
    """Whether a file has a word and its tags on each line."""
    return bool(_sentences(sample.lines))


def _sentences(lines: Sequence[str]) -> list[list[list[str]]]:
    """The sentences of a file of columns, word by word; none where it is no such file: the last of at least two columns
    has tags."""
    blocks = [
        list(block)
        for blank, block in itertools.groupby(lines, key=lambda line: not line.strip())
        if not blank
    ]
    sentences = [
        [
            row
            for line in block
            if not line.startswith(("# ", "-DOCSTART-"))
            and (row := line.split("\t") if "\t" in line else line.split())
        ]
        for block in blocks
    ]
    rows = [row for sentence in sentences for row in sentence]
    tagged = sum(len(row) > 1 and (row[-1] == "O" or row[-1].startswith(BEGINNINGS)) for row in rows)
    return [sentence for sentence in sentences if sentence] if rows and tagged > 0.98 * len(rows) else []


def _parallel(samples: Sequence[Sample], task: str | None, given: Mapping[str, str | int]) -> Guess:
    """Files whose lines belong together: translations, unless the second sums up the first."""
    places = ", ".join(Path(sample.path).name for sample in samples)
    if any(not sample.lines for sample in samples) or len({sample.rows for sample in samples}) > 1:
        raise RecipeError(
            "are neither files of one table nor aligned line by line",
            where=places,
            advice="aligned files have as many lines each; otherwise give one file of each split (train, dev, test)",
        )
    columns = [Column(number, sample.lines) for number, sample in enumerate(samples, 1)]
    known = {role: _named(columns, column, role, places) for role, column in given.items()}
    rest = [column for column in columns if column not in known.values()]
    source = known.get("source") or rest.pop(0)
    target = known.get("target") or rest.pop(0)
    usual = "summarize" if sums_up(target, source) else "translate"
    if task not in (None, "translate", "summarize", "embed"):
        raise RecipeError(f"aligned files are for translate or summarize, not {task}", where=places)
    roles = ROLES[task or usual]
    names = {
        role: f"the lines of {Path(samples[int(column.name) - 1].path).name}"
        for role, column in zip(roles, (source, target), strict=True)
    }
    return Guess(
        task=task or usual,
        format="parallel",
        header=True,
        columns=dict(zip(roles, (source.name, target.name), strict=True)),
        why={"task": "as you said" if task else "files aligned line by line", **names},
        left=tuple(column.name for column in columns if column not in (source, target)),
        rows=samples[0].rows,
        whole=all(sample.whole for sample in samples),
        texts=dict(zip(roles, (source, target), strict=True)),
    )


# --- records by their columns -------------------------------------------------------------------------------------
def _of_columns(sample: Sample, task: str | None, given: Mapping[str, str | int]) -> Guess:
    header, records = True, [record for record in sample.records if isinstance(record, dict)]
    if not records:
        raise RecipeError("holds no records with columns", where=sample.path)
    if sample.numbered:
        cells = [list(record.values()) for record in records]
        names: list[Any] = list(range(1, len(cells[0]) + 1))
        if header := is_header(cells):
            names, cells = (
                [str(cell).strip() or f"{NUMBERED}{n}" for n, cell in enumerate(cells[0], 1)],
                cells[1:],
            )
        found = [
            Column(name, tuple(row[at] if at < len(row) else None for row in cells))
            for at, name in enumerate(names)
        ]
    else:
        found = columns_of(records)
    known = {role: _named(found, column, role, sample.path) for role, column in given.items()}
    result = _found(found, task, known)
    if result is None:
        raise _lacking(found, task, sample.path)
    why = dict.fromkeys(given, "as you said") | dict(result.why)
    if task is not None:
        why["task"] = "as you said"
    label = result.columns.get("label")
    used = {column.name for column in result.columns.values()}
    return Guess(
        task=result.task,
        format=None,
        header=header,
        columns={role: column.name for role, column in result.columns.items()},
        why=why,
        left=tuple(column.name for column in found if column.name not in used),
        rows=sample.rows - (sample.numbered and header),
        whole=sample.whole,
        texts={role: column for role, column in result.columns.items() if role not in ("label", "tags")},
        labels=tuple(label.labels) if label is not None else (),
        multiple=label is not None and label.listed,
    )


def _named(columns: Sequence[Column], name: str | int, role: str, where: str) -> Column:
    """The column that a person named, by its name or number."""
    for number, column in enumerate(columns, 1):
        if name in (column.name, number) or str(name) == str(number) != str(column.name):
            return column
    raise RecipeError(
        f"has no column {str(name)!r}",
        where=where,
        advice=f"--columns {role}=COLUMN, one of {_listed(columns)}",
    )


def _options(roles: Sequence[str]) -> str:
    return "--columns " + ",".join(f"{role}=COLUMN" for role in roles)


def _listed(columns: Sequence[Column]) -> str:
    return ", ".join(str(column.name) for column in columns)


def _found(columns: Sequence[Column], task: str | None, given: Mapping[str, Column]) -> Found | None:
    """The first task that fits, or the one that was asked for."""
    if task is not None:
        return FINDERS[task](columns, given, True)
    for finder in FINDERS.values():
        found = finder(columns, given, False)
        if found is not None and set(given) <= set(found.columns):
            return found
    return None


def _lacking(columns: Sequence[Column], task: str | None, where: str) -> RecipeError:
    if task is None:
        return RecipeError(
            "fits no task: none of its columns is a text", where=where, advice=f"it has {_listed(columns)}"
        )
    roles = ROLES[task]
    return RecipeError(
        f"has no columns that look like {' and '.join(roles)}",
        where=where,
        advice=f"it has {_listed(columns)}; say which: {_options(roles)}",
    )
