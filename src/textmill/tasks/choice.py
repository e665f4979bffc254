"""Which of several texts a language model finds likelier: minimal pairs, multiple choice, the word a text ends with.

    sentence_good, sentence_bad             a minimal pair (Warstadt et al. 2020); the first is right
    query, choices, gold                    what goes on with a query; gold: the number of the right one, from 0, or it
    context_options, continuation, gold     what a continuation goes on from (Trinh & Le 2018)
    context, continuation                   what comes next, and nothing else to choose from (Paperno et al. 2016)

A query may be written in another form, `Question: {query}\\nAnswer:`; with several, each option's log-likelihoods are
averaged over them (and told apart in the report).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from textmill.metrics import choices
from textmill.metrics.choices import Option
from textmill.metrics.score import Bootstrap, Figures, Score, right_or_wrong
from textmill.models.pretrained import Pretrained
from textmill.tasks.likelihood import Likelihood, likelihoods
from textmill.tasks.prediction import Refused
from textmill.tasks.task import Baseline, Field, Options, Record, Task
from textmill.text.document import several

# The forms of a record: the texts that one has, and of which of them it may have several.
FORMS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "pair": (("sentence_good", "sentence_bad"), ()),
    "choices": (("query", "choices"), ("choices",)),
    "contexts": (("context_options", "continuation"), ("context_options",)),
    "continuation": (("context", "continuation"), ()),
}
_JOINED = " "  # between a context that does not end in white space and what goes on with it


@dataclass(frozen=True, slots=True)
class Question:
    """Contexts and continuations to be compared, and the options as a person sees them."""

    pairs: tuple[tuple[str, str], ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """The option that is chosen, by its number and its text, and what was found out of all. by_form: the options under
    each form of the query, where there are several."""

    index: int
    text: str
    options: tuple[Option, ...]
    by_form: tuple[tuple[Option, ...], ...] = ()

    def row(self) -> dict[str, Any]:
        """The choice, and how likely each option is."""
        plain = {
            "choice": self.index,
            "text": self.text,
            "log_likelihoods": [round(option.loglikelihood, 4) for option in self.options],
        }
        return plain | ({"greedy": self.options[0].greedy} if len(self.options) == 1 else {})


def question(record: Record, form: str | None = None) -> Question | Refused:
    """The question of a record. form: how a query, or a context, is written; None: as it stands."""
    if "sentence_good" in record and "sentence_bad" in record:
        texts = record["sentence_good"], record["sentence_bad"]
        return Question(tuple(("", text) for text in texts), texts)
    if "query" in record and "choices" in record:
        context = _formed(record["query"], form)
        texts = tuple(several(record, "choices"))
        return Question(tuple(_joined(context, text) for text in texts), texts)
    if "continuation" not in record:
        return Refused("has nothing to choose from")
    contexts = several(record, "context_options") or several(record, "context")
    if not contexts:
        return Refused("has nothing to choose from")
    text = record["continuation"]
    pairs = tuple(_joined(_formed(context, form), text) for context in contexts)
    return Question(pairs, (text,) if len(contexts) == 1 else tuple(contexts))


def _formed(query: str, form: str | None) -> str:
    return query if form is None else form.replace("{query}", query)


def _joined(context: str, continuation: str) -> tuple[str, str]:
    """A context without the space it may end in, which is the continuation's."""
    if not context:
        return "", continuation
    if context.endswith(_JOINED):
        return context.rstrip(_JOINED), _JOINED + continuation
    return context, continuation if context[-1].isspace() else _JOINED + continuation


def prepare(
    pretrained: Pretrained, records: Sequence[Record], options: Options
) -> list[tuple[Question, ...] | Refused]:
    """The questions, one for each form."""
    made: list[tuple[Question, ...] | Refused] = []
    for record in records:
        asked = [question(record, form) for form in options.forms or (None,)]
        refused = next((each for each in asked if isinstance(each, Refused)), None)
        made.append(refused or tuple(each for each in asked if isinstance(each, Question)))
    return made


def predict(
    pretrained: Pretrained, asked: Sequence[tuple[Question, ...]], options: Options
) -> list[Choice | Refused]:
    """The likeliest options."""
    every = [each for forms in asked for each in forms]
    scored = iter(_options(pretrained, every, alone=options.alone))
    made: list[Choice | Refused] = []
    for forms in asked:
        found = [next(scored) for _ in forms]
        refused = next((each for each in found if isinstance(each, Refused)), None)
        made.append(refused or _choice([each for each in found if not isinstance(each, Refused)]))
    return made


def _options(
    pretrained: Pretrained, questions: Sequence[Question], *, alone: bool
) -> list[tuple[Option, ...] | Refused]:
    """What the model makes of the options of each question."""
    single = any(len(each.pairs) == 1 for each in questions)
    pairs = list(dict.fromkeys(pair for each in questions for pair in each.pairs))
    found = dict(zip(pairs, likelihoods(pretrained, pairs, greedy=single), strict=True))
    by_itself: dict[str, Likelihood | str] = {}
    if alone:
        said = list(dict.fromkeys(pair[1] for each in questions for pair in each.pairs if pair[0]))
        made = likelihoods(pretrained, [("", text) for text in said])
        by_itself = dict(zip(said, made, strict=True))
    return [_of_question(each, [found[pair] for pair in each.pairs], by_itself) for each in questions]


def _of_question(
    question: Question, found: Sequence[Likelihood | str], by_itself: Mapping[str, Likelihood | str]
) -> tuple[Option, ...] | Refused:
    reason = next((each for each in found if isinstance(each, str)), None)
    if reason is not None:
        return Refused(reason)
    made = []
    for (_, continuation), text, likelihood in zip(question.pairs, question.texts, found, strict=True):
        assert isinstance(likelihood, Likelihood)
        own = continuation.removeprefix(_JOINED)
        alone = by_itself.get(continuation)
        made.append(
            Option(
                text=text,
                loglikelihood=likelihood.value,
                tokens=likelihood.tokens,
                characters=len(own),
                bytes=len(own.encode()),
                alone=alone.value if isinstance(alone, Likelihood) else None,
                greedy=likelihood.greedy,
            )
        )
    return tuple(made)


def _choice(forms: Sequence[tuple[Option, ...]]) -> Choice:
    """The likeliest, by the mean over forms."""
    options = tuple(_mean(same) for same in zip(*forms, strict=True))
    best = choices.chosen(options)
    return Choice(best, options[best].text, options, tuple(forms) if len(forms) > 1 else ())


def _mean(options: Sequence[Option]) -> Option:
    """An option under several forms, as one."""
    if len(options) == 1:
        return options[0]
    alone = [option.alone for option in options if option.alone is not None]
    return replace(
        options[0],
        loglikelihood=float(np.mean([option.loglikelihood for option in options])),
        alone=float(np.mean(alone)) if len(alone) == len(options) else None,
        greedy=all(option.greedy for option in options),
    )


def gold(record: Record) -> int | None:
    """The number of the right option, from 0: as `gold` says it, or the text of one; the first of a pair."""
    asked = question(record)
    if isinstance(asked, Refused):
        return None
    if "sentence_good" in record or len(asked.pairs) == 1:
        return 0
    said = record.get("gold", "").strip()
    if said.isdecimal() and int(said) < len(asked.texts):
        return int(said)
    return asked.texts.index(said) if said in asked.texts else None


def metrics(
    predictions: Sequence[Choice | Refused], records: Sequence[Record], bootstrap: Bootstrap
) -> dict[str, Score]:
    """Accuracy of the likeliest option, and of the likeliest for its length. A refused record counts as wrong."""
    options, right = _sides(predictions, records)
    return choices.choices(options, right, bootstrap)


def details(predictions: Sequence[Choice | Refused], records: Sequence[Record]) -> dict[str, Any]:
    """The questions whose best options are equally likely, by number from 0, and accuracies by form and by group."""
    options, right = _sides(predictions, records)
    more: dict[str, Any] = {"ties": [at for at, each in enumerate(options) if choices.tied(each)]}
    forms = max((len(said.by_form) for said in predictions if isinstance(said, Choice)), default=0)
    if forms:
        more["by_form"] = [
            float(
                np.mean([_right(said, wanted, form) for said, wanted in zip(predictions, right, strict=True)])
            )
            for form in range(forms)
        ]
    return more


def figures(predictions: Sequence[Choice | Refused], records: Sequence[Record]) -> Figures:
    """Whether each choice is right."""
    options, right = _sides(predictions, records)
    hits = [choices.right(each, wanted) for each, wanted in zip(options, right, strict=True)]
    return right_or_wrong("accuracy", hits)


def _right(said: Choice | Refused, wanted: int, form: int) -> bool:
    return isinstance(said, Choice) and choices.right(said.by_form[form], wanted)


_NOTHING = (Option("", 0.0, 0, 0, 0, greedy=False),)  # what a refused record is scored as: never right


def _sides(
    predictions: Sequence[Choice | Refused], records: Sequence[Record]
) -> tuple[list[tuple[Option, ...]], list[int]]:
    """Options and the number of the right one, of each record."""
    options = [said.options if isinstance(said, Choice) else _NOTHING for said in predictions]
    return options, [gold(record) or 0 for record in records]


def _baseline(name: str, worth: Callable[[str], float]) -> Baseline:
    """Always the option that is worth most by its text alone."""

    def predict(records: Sequence[Record]) -> list[Any]:
        made = []
        for record in records:
            asked = question(record)
            texts = ("",) if isinstance(asked, Refused) else asked.texts
            options = tuple(Option(text, worth(text), 1, 1, 1) for text in texts)
            best = choices.chosen(options)
            made.append(Choice(best, texts[best], options))
        return made

    return Baseline(name, predict)


def shortest(records: Sequence[Record]) -> Baseline:
    """The option of fewest characters."""
    return _baseline("the shortest option", lambda text: -float(len(text)))


def blind(records: Sequence[Record]) -> Baseline:
    """Any option, by draws that are the same every time."""
    draw = np.random.default_rng(0)
    return _baseline("a random option", lambda text: float(draw.random()))


CHOICE = Task(
    name="choice",
    forms=FORMS,
    summary="the likeliest of several texts",
    fields=(
        Field("query", "what the options go on from", needed=False),
        Field("choices", "the options", needed=False),
    ),
    objectives={},
    prepare=prepare,
    predict=predict,
    gold=gold,
    metrics=metrics,
    details=details,
    figures=figures,
    baselines={"shortest": shortest, "chance": blind},
    untrained=("shortest", "chance"),
    purpose="Saying which of several texts a language model finds likelier.",
)
