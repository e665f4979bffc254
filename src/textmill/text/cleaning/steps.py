"""Cleaning, step by step. A step takes items and gives one back for each, so nothing is ever lost on the way.

Every text step is idempotent: cleaning what is clean changes nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from textmill.base.errors import TextmillError
from textmill.specs.cleaning import (
    BoilerplateStep,
    C4Step,
    ChineseStep,
    ClassifierStep,
    CleaningStep,
    ContainmentStep,
    ContaminationStep,
    ExactDuplicatesStep,
    FineWebStep,
    FtfyStep,
    GopherStep,
    LanguageStep,
    LeakageStep,
    LengthStep,
    NearDuplicatesStep,
    PersonalDataStep,
    RepairStep,
    SegmentStep,
    StopWordsStep,
    SubstringsStep,
    UnicodeStep,
    WhitespaceStep,
)
from textmill.text.cleaning import boilerplate, chinese
from textmill.text.cleaning.contamination.contamination import contamination
from textmill.text.cleaning.duplicates.containment import Containment
from textmill.text.cleaning.duplicates.exact import ExactDuplicates
from textmill.text.cleaning.duplicates.leakage import Leakage
from textmill.text.cleaning.duplicates.near import NearDuplicates
from textmill.text.cleaning.duplicates.substrings import Substrings
from textmill.text.cleaning.ftfy_repair import ftfy_step
from textmill.text.cleaning.language import language
from textmill.text.cleaning.normalise import normalise, whitespace
from textmill.text.cleaning.privacy.step import personal_data
from textmill.text.cleaning.quality import c4, classifier, fineweb, gopher
from textmill.text.cleaning.repair import repair
from textmill.text.cleaning.segmentation import segment
from textmill.text.cleaning.stop_words import stop_words
from textmill.text.document import Document, Item, Rejected, Step, reject, rewritten
from textmill.text.step import CorpusStep, Sketched, carry_out


def apply(items: Iterable[Item], steps: tuple[CleaningStep, ...]) -> Iterator[Item]:
    """Run the steps in their order over a stream; what is skipped passes on untouched.

    Before a corpus step the whole stream is gathered in memory: for more text than that there is `text.corpus.build`.
    Raises TextmillError when a step lost or invented an item (read = kept + skipped).
    """
    stream: Iterator[Item] = iter(items)
    for spec in steps:
        corpus_step = CORPUS_STEPS.get(type(spec))
        stream = (
            _whole(corpus_step(spec), stream) if corpus_step else conserved(STEPS[type(spec)](spec), stream)
        )
    yield from stream


def conserved(step: Step, items: Iterable[Item]) -> Iterator[Item]:
    """What a document step makes of a stream. Raises TextmillError when it is not one for one."""
    taken = made = 0

    def counted() -> Iterator[Item]:
        nonlocal taken
        for item in items:
            taken += 1
            yield item

    for item in step(counted()):
        made += 1
        yield item
    if made != taken:
        raise TextmillError(
            f"{taken} documents went in and {made} came out", where="cleaning", advice="report this bug"
        )


def _whole(step: CorpusStep, items: Iterable[Item]) -> Iterator[Item]:
    """What a corpus step makes of a stream, in memory."""
    gathered = list(items)
    documents = [item for item in gathered if isinstance(item, Document)]
    sketched = [
        Sketched(number, document.id, document.characters, sketch)
        for number, (document, sketch) in enumerate(zip(documents, step.sketch(documents), strict=True))
    ]
    with tempfile.TemporaryDirectory() as scratch:
        verdicts = dict(step.decide(lambda: sketched, Path(scratch)))
    number = 0
    for item in gathered:
        if isinstance(item, Document):
            verdict = verdicts.get(number)
            number += 1
            yield item if verdict is None else carry_out(item, verdict, step.name)
        else:
            yield item


def _each(spec: CleaningStep, change: Callable[[str], str]) -> Step:
    """A step that changes every text of every document."""

    def step(items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            if isinstance(item, Document):
                texts = {role: change(text) for role, text in item.texts.items()}
                yield item if texts == item.texts else rewritten(item, texts, spec.kind)
            else:
                yield item

    return step


# --- length -------------------------------------------------------------------------------------------------------
def _length(least: int, most: int | None) -> Step:
    def step(items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            size = item.characters if isinstance(item, Document) else 0
            if isinstance(item, Rejected):
                yield item
            elif size < least:
                yield reject(item, "length", f"is shorter than {least} characters", f"{size}")
            elif most is not None and size > most:
                yield reject(item, "length", f"is longer than {most} characters", f"{size}")
            else:
                yield item

    return step


# What each step of a recipe does: spec -> step. A new step is one module and one line here.
STEPS: dict[type, Callable[[Any], Step]] = {
    RepairStep: lambda spec: _each(spec, repair),
    UnicodeStep: lambda spec: _each(spec, partial(normalise, form=spec.form)),
    WhitespaceStep: lambda spec: _each(spec, partial(whitespace, blank_lines=spec.blank_lines)),
    LengthStep: lambda spec: _length(spec.least, spec.most),
    FtfyStep: lambda spec: _each(spec, ftfy_step()),
    ChineseStep: chinese.step,
    BoilerplateStep: boilerplate.step,
    LanguageStep: language,
    PersonalDataStep: personal_data,
    SegmentStep: segment,
    StopWordsStep: lambda spec: _each(spec, stop_words(spec)),
    ContaminationStep: contamination,
    GopherStep: gopher.step,
    C4Step: c4.step,
    FineWebStep: fineweb.step,
    ClassifierStep: classifier.step,
}
# Steps that must know every document: spec -> step.
CORPUS_STEPS: dict[type, Callable[[Any], CorpusStep]] = {
    ExactDuplicatesStep: ExactDuplicates,
    NearDuplicatesStep: NearDuplicates,
    LeakageStep: Leakage,
    ContainmentStep: Containment,
    SubstringsStep: Substrings,
}
# Files that a step reads, relative to the working folder: they decide the corpus too.
STEP_FILES: dict[type, Callable[[Any], tuple[str, ...]]] = {
    ClassifierStep: classifier.files,
    ContaminationStep: lambda spec: spec.files,
}
