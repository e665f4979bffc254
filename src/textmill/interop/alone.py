"""What somebody gets who has transformers and a model's directory, and nothing of Textmill: held against our own.

A process of its own (transformers_program.py) reads raw texts by AutoTokenizer, its own class, `generate`, `pipeline`
and the chat template, one at a time and in batches. Its ids, logits, answers and labels are to be ours:

    transformers            logits of ids that we hand over
    AutoTokenizer           ids of raw texts, some of them hostile, and of two texts in one row
    transformers from text  logits of raw texts, alone, in a batch, and of two texts in one row
    generate                the likeliest answer to raw texts, alone and in a batch; of a model that writes
    pipeline                what the card's pipeline says of raw texts
    chat template           ids of conversations, where the directory has a template

What a text spells never is a special token here; in transformers it is, unless it is told to split them. Such texts are
read with `split_special_tokens=True`, and are left out where a tokenizer's model knows its special tokens as pieces.

Shapes: T tokens, V vocabulary.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from textmill.base.confined import ChildEnded, ChildFailed
from textmill.data.batch import Batch
from textmill.data.codec import Codec
from textmill.decoding.decode import answers
from textmill.decoding.prompt import Prompt
from textmill.interop import conversations, forward_passes, hostile, transformers_process
from textmill.interop.check import Check, compare
from textmill.interop.forward_passes import batch_of_one
from textmill.interop.huggingface import texts as readings
from textmill.models.heads import Headed
from textmill.models.pretrained import Pretrained
from textmill.specs.head import ClassifyHead, TagHead
from textmill.specs.model import READ_AND_WRITE
from textmill.tokenization.chat.template import ChatTemplate
from textmill.tokenization.tokenizer import Tokenizer

_HOSTILE = 40  # texts of which ids are compared, besides those that are given
_ANSWER = 8  # tokens
_PAIRS = 2
_NEAR = 1e-3  # logits as near as this may come out in either order
# What transformers calls a model of each kind, and of each head in place of its output layer.
_AUTO = {
    "decoder": "AutoModelForCausalLM",
    "encoder": "AutoModelForMaskedLM",
    "encoder-decoder": "AutoModelForSeq2SeqLM",
    "classify": "AutoModelForSequenceClassification",
    "regress": "AutoModelForSequenceClassification",
    "tag": "AutoModelForTokenClassification",
    "answer": "AutoModelForQuestionAnswering",
}
_TASKS = {
    "encoder": "fill-mask",
    "classify": "text-classification",
    "regress": "text-classification",
    "tag": "token-classification",
}


def checks(
    directory: Path,
    pretrained: Pretrained,
    texts: Sequence[str],
    reference: list[Tensor],
    batches: Sequence[Batch],
    *,
    tokens: int,
    odd: int = _HOSTILE,
) -> list[Check]:
    """The checks above, of a directory whose model transformers has.

    texts: raw, of which at most `tokens` tokens are read; reference: logits of the batches made of them. odd: how many
    hostile texts are read beside them.
    """
    ours = _Ours(pretrained, texts, tokens, odd)
    try:
        heard, logits = transformers_process.ask(ours.request(directory, batches))
    except (ChildFailed, ChildEnded, OSError) as error:
        return [Check("transformers", "failed", why=f"cannot read the directory: {str(error)[:300]}")]
    if "lacking" in heard:
        return [Check("transformers", "skipped", why=f"needs more than itself: {heard['lacking'][:200]}")]
    given = compare("transformers", reference, lambda: _numbered(logits, "given"))
    if heard["textmill"]:
        given = dataclasses.replace(given, state="failed", why="its process has loaded Textmill")
    found = [given, _said("AutoTokenizer", ours.ids_differ(heard)), ours.logits_check(logits)]
    if ours.prompts:
        found.append(_said("generate", ours.answers_differ(heard["written"])))
    if ours.task is not None:
        found.append(_said("pipeline", ours.labels_differ(heard["labels"])))
    if ours.chats:
        found.append(_said("chat template", ours.chats_differ(heard["chats"])))
    return found


def _said(name: str, why: str) -> Check:
    return Check(name, "failed" if why else "ok", why=why)


def _numbered(logits: Mapping[str, Tensor], name: str) -> list[Tensor]:
    count = sum(key.startswith(f"{name}.") for key in logits)
    return [logits[f"{name}.{number}"] for number in range(count)]


@dataclass(frozen=True, eq=False)
class _Ours:
    """What Textmill makes of the same texts."""

    pretrained: Pretrained
    texts: Sequence[str]
    tokens: int
    odd: int

    @property
    def codec(self) -> Codec:
        return self.pretrained.codec

    @functools.cached_property
    def reading(self) -> readings.Reading:
        return readings.reading_of(self.pretrained.model, self.pretrained.tokenizer)

    @functools.cached_property
    def kind(self) -> str:
        """What is stood on the model: its own output layer, or a head."""
        model = self.pretrained.model
        return str(model.head.spec.kind if isinstance(model, Headed) else self.pretrained.spec.kind)

    @property
    def auto(self) -> str:
        """Transformers' name of the class that loads it."""
        return "AutoModel" if self.pretrained.model.bare else _AUTO[self.kind]

    def ids(self, text: str) -> list[int]:
        """A text as the model reads it."""
        return self.codec.source(text).ids.tolist()

    @functools.cached_property
    def spelt(self) -> tuple[str, ...]:
        """Special tokens a text might spell."""
        return tuple(name for name in self.pretrained.tokenizer.special if name)

    @functools.cached_property
    def raw(self) -> tuple[list[str], list[str]]:
        """Texts that spell no special token; and texts that do, which transformers can be told to split."""
        odd = hostile.texts(self.odd, special=self.spelt)
        plain, spelling = [], []
        for text in (*self.texts, *odd):
            (spelling if any(name in text for name in self.spelt) else plain).append(text)
        return plain, spelling if isinstance(self.pretrained.tokenizer, Tokenizer) else []

    def short(self, text: str, room: int) -> str:
        """The beginning of a text that has at most so many ids."""
        while (count := len(self.pretrained.tokenizer.encode(text))) > room:
            text = text[: max(1, len(text) * room // count - 1)] if len(text) > 1 else ""
        return text

    def fitted(self, room: int) -> list[str]:
        """The beginnings of texts, all of them with ids: what transformers makes of none it cannot read."""
        cut = (self.short(text, max(0, room)) for text in self.raw[0])
        return [text for text in dict.fromkeys(cut) if self.pretrained.tokenizer.encode(text).size]

    @property
    def room(self) -> int:
        """Ids of a text that a row has room for."""
        frame = max(1, len(self.reading.before) + len(self.reading.after))  # or the start of a target
        return min(self.tokens, self.pretrained.spec.context) - frame

    @functools.cached_property
    def read(self) -> list[str]:
        """Texts whose logits are compared."""
        return self.fitted(self.room)[: len(self.texts) + 4]

    @functools.cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """Two texts in one row."""
        between = self.reading.between
        if not between or self.pretrained.spec.kind in READ_AND_WRITE:
            return []
        cut = self.fitted((self.room - len(between)) // 2)
        return list(itertools.pairwise(cut))[:_PAIRS]

    @functools.cached_property
    def prompts(self) -> list[str]:
        """Texts that are gone on from, or answered."""
        if not self.pretrained.writes:
            return []
        room = self.room if self.pretrained.reads_source else self.room - _ANSWER
        return self.fitted(room)[:4]

    @property
    def task(self) -> str | None:
        """The pipeline that says something of texts, if there is one."""
        tokenizer = self.pretrained.tokenizer
        if (
            self.pretrained.model.bare
            or not self.labelled
            or (self.kind == "encoder" and tokenizer.mask is None)
        ):
            return None
        return _TASKS.get(self.kind)

    @functools.cached_property
    def labelled(self) -> list[str]:
        """Texts the pipeline is asked of."""
        return self.fitted(self.room - 2)[:6]

    @functools.cached_property
    def chats(self) -> list[list[dict[str, str]]]:
        """Conversations the template takes."""
        template = self._template
        return [] if template is None else conversations.taken(template, self.pretrained.tokenizer)

    @functools.cached_property
    def _template(self) -> ChatTemplate | None:
        source, tokenizer = self.pretrained.template, self.pretrained.tokenizer
        return None if source is None else ChatTemplate(source, tokenizer.names)

    def request(self, directory: Path, batches: Sequence[Batch]) -> dict[str, Any]:
        """What the process is asked."""
        plain, spelling = self.raw
        given = [
            {
                "ids": batch.inputs[0].tolist(),
                "source": None if batch.source is None else batch.source[0].tolist(),
            }
            for batch in batches
        ]
        return {
            "directory": str(directory.absolute()),
            "auto": self.auto,
            "kind": self.kind,
            "body": self.pretrained.model.bare,
            "given": given,
            "texts": plain,
            "split": spelling,
            "read": self.read,
            "pairs": self.pairs,
            "prompts": self.prompts,
            "length": _ANSWER,
            "task": self.task,
            "labelled": self.labelled if self.task else [],
            "chats": self.chats,
        }

    def ids_differ(self, heard: Mapping[str, Any]) -> str:
        """Where AutoTokenizer gives other ids; nothing where it never does."""
        plain, spelling = self.raw
        for how, texts in (("ids", plain), ("together", plain), ("split", spelling)):
            for text, ids in zip(texts, heard[how], strict=True):
                if ids != self.ids(text):
                    where = " in a batch" if how == "together" else ""
                    return f"{_short(text)} has other ids{where}"
        for pair, said in zip(self.pairs, heard["pairs"], strict=True):
            batch = self.pair(pair)
            segments = said["segments"] if self.reading.segments else None
            wanted = (
                batch.segments[0].tolist() if batch.segments is not None and self.reading.segments else None
            )
            if said["ids"] != batch.inputs[0].tolist() or segments != wanted:
                return f"two texts as a pair have other ids, the first {_short(pair[0])}"
        return ""

    def pair(self, pair: tuple[str, str]) -> Batch:
        """Two texts in one row, as an objective of two texts reads them."""
        row = self.codec.pair(*pair)
        return batch_of_one(row.ids, segments=row.segments if self.reading.segments else None)

    def logits_check(self, logits: Mapping[str, Tensor]) -> Check:
        """Logits of raw texts, however they are read."""
        model = self.pretrained.model
        rows = [self.row(text) for text in self.read]
        alone = forward_passes.alone(model, rows)
        expected = [*alone, *alone, *forward_passes.alone(model, [self.pair(pair) for pair in self.pairs])]
        said = [rows for name in ("alone", "together", "pair") for rows in _numbered(logits, name)]
        if not expected:
            return Check("transformers from text", "skipped", why="no text is short enough")
        if [rows.shape for rows in expected] != [rows.shape for rows in said]:
            return Check("transformers from text", "failed", why="a text has another number of tokens")
        return compare("transformers from text", expected, lambda: said)

    def row(self, text: str) -> Batch:
        """A text as the model reads it; where a source is read, also as the target so far."""
        if self.pretrained.spec.kind not in READ_AND_WRITE:
            return batch_of_one(self.codec.source(text).ids)
        target = self.codec.target(text).ids[:-1]
        return batch_of_one([self.codec.special.start, *target], source=self.codec.source(text).ids)

    def prompt(self, text: str) -> Prompt:
        if self.pretrained.reads_source:
            return Prompt([self.codec.special.start], source=self.codec.source(text).ids.tolist())
        return Prompt(self.ids(text))

    def answers_differ(self, heard: Mapping[str, Any]) -> str:
        """Where the likeliest answer is another one."""
        pretrained, tokenizer = self.pretrained, self.pretrained.tokenizer
        spec = dataclasses.replace(
            pretrained.generation,
            tokens=_ANSWER,
            min_tokens=min(_ANSWER, pretrained.generation.min_tokens),
            temperature=0.0,
            contrastive=None,
            mbr=None,
            stop=(),
            speculate="off",
        )
        model: Any = pretrained.model
        prompts = [self.prompt(text) for text in self.prompts]
        rows = answers(model, prompts, spec, ends=tokenizer.ends, decoder=tokenizer.stream)
        for number, (text, prompt, row) in enumerate(zip(self.prompts, prompts, rows, strict=True)):
            mine = _until(row[0].ids, tokenizer.ends)
            for how in ("alone", "together"):
                theirs = _until(heard[how][number], tokenizer.ends)
                if theirs != mine and not self._near(prompt, mine, theirs):
                    return f"{_short(text)} gets another answer{'' if how == 'alone' else ' in a batch'}"
            if heard["pipeline"] is not None and _until(heard["alone"][number], tokenizer.ends) == mine:
                whole, before = tokenizer.decode([*prompt.ids, *mine]), tokenizer.decode(prompt.ids)
                # How many signs stand for bytes that are no UTF-8 is each decoder's own.
                if "\ufffd" not in whole and heard["pipeline"][number] != whole[len(before) :]:
                    return f"{_short(text)} gets another answer by the pipeline"
        return ""

    def _near(self, prompt: Prompt, mine: Sequence[int], theirs: Sequence[int]) -> bool:
        """Whether two answers part where two tokens are as likely as each other, or where no token is written: rows
        that only pad a vocabulary are never drawn here."""
        ends = self.pretrained.tokenizer.ends[:1]
        pairs = zip((*mine, *ends), (*theirs, *ends), strict=False)
        place = next((place for place, (a, b) in enumerate(pairs) if a != b), None)
        if place is None or place >= min(len(mine), len(theirs)) + 1:
            return False
        source = None if prompt.source is None else np.array(prompt.source)
        row = batch_of_one([*prompt.ids, *mine[:place]], source=source)
        last = forward_passes.alone(self.pretrained.model, [row])[0][-1]
        a, b = ((*ids, *ends)[place] for ids in (mine, theirs))
        if b >= self.pretrained.tokenizer.vocabulary:
            return True
        return float((last[a] - last[b]).abs()) <= _NEAR

    def labels_differ(self, heard: list[Any]) -> str:
        """Where the pipeline says something else of a text."""
        differ = {"encoder": self._guesses, "tag": self._tags}.get(self.kind, self._labels)
        return differ(heard)

    def _guesses(self, heard: list[Any]) -> str:
        tokenizer = self.pretrained.tokenizer
        mask = self.codec.special.need_mask()
        name = next(name for name, number in tokenizer.special.items() if number == mask)
        blank = "" if tokenizer.trims(name)[0] else " "
        for text, token in zip(self.labelled, heard, strict=True):
            (inner,) = self.codec.encode([(text if blank else text.rstrip()) + blank])
            row = self.codec.special.around(np.append(inner.ids, mask))
            last = forward_passes.alone(self.pretrained.model, [batch_of_one(row)])[0][
                len(row) - 1 - len(self.reading.after)
            ]
            if float(last.max() - last[token]) > _NEAR:
                return f"another token is predicted after {_short(text)}"
        return ""

    def _rows_of(self, texts: Sequence[str]) -> list[Tensor]:
        return forward_passes.alone(self.pretrained.model, [self.row(text) for text in texts])

    def _tags(self, heard: list[Any]) -> str:
        spec = self.pretrained.model.head.spec  # type: ignore[union-attr]
        assert isinstance(spec, TagHead)
        for text, rows, said in zip(self.labelled, self._rows_of(self.labelled), heard, strict=True):
            for index, entity in said:
                if float(rows[index].max() - rows[index, spec.labels.index(entity)]) > _NEAR:
                    return f"token {index} of {_short(text)} gets another tag"
        return ""

    def _labels(self, heard: list[Any]) -> str:
        spec = self.pretrained.model.head.spec  # type: ignore[union-attr]
        rows = [row[0] for row in self._rows_of(self.labelled)]
        multiple = isinstance(spec, ClassifyHead) and spec.multiple
        for how, said in zip(("", " in a batch"), heard, strict=True):
            for text, row, scores in zip(self.labelled, rows, said, strict=True):
                if isinstance(spec, ClassifyHead):
                    mine = row.sigmoid() if multiple or len(row) == 1 else row.softmax(-1)
                    named = dict(zip(spec.labels, mine.tolist(), strict=True))
                else:
                    named = {f"LABEL_{number}": value for number, value in enumerate(row.tolist())}
                if named.keys() != scores.keys() or any(
                    abs(named[label] - scores[label]) > _NEAR * max(1.0, abs(named[label])) for label in named
                ):
                    return f"{_short(text)} gets other scores{how}"
        return ""

    def chats_differ(self, heard: list[list[int]]) -> str:
        """Where the template's conversations have other ids."""
        assert self._template is not None
        for talk, ids in zip(self.chats, heard, strict=True):
            if self._template.ids(self.pretrained.tokenizer, talk) != ids:
                return f"a conversation of {len(talk)} messages has other ids"
        return ""


def _until(ids: Sequence[int], ends: Sequence[int]) -> tuple[int, ...]:
    """Ids before the first that ends an answer."""
    stop = next((place for place, token in enumerate(ids) if token in ends), len(ids))
    return tuple(ids[:stop])


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
