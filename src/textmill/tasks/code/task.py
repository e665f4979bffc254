"""Functions that a model writes, and whether they pass tests: HumanEval's and MBPP's forms.

    prompt, entry_point, test       a function begun, and a test that defines `check` (Chen et al. 2021)
    text, test_list                 a task in words, and asserts (Austin et al. 2021)

A model completes the prompt as it stands. One that holds conversations is told to write the function, and goes on from
the fence of a block of code, as EvalPlus has it (Liu et al. 2023): what it says is code, and ends with the block.
Every sample is judged where it can do no harm (judged.py), and pass@k is what remains.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np

from textmill.base.console import tracked
from textmill.base.errors import TextmillError
from textmill.decoding.decode import answers
from textmill.decoding.prompt import Prompt, of_text
from textmill.decoding.stop_strings import whole
from textmill.decoding.stream import drawable
from textmill.metrics.pass_at_k import chance, pass_at
from textmill.metrics.score import Bootstrap, Figures, Score, share
from textmill.models.model import Generator
from textmill.models.pretrained import Pretrained
from textmill.objectives.causal import CAUSAL
from textmill.specs.generation import GenerationSpec
from textmill.tasks.code.judged import Problem, Sandbox, Verdict, humaneval, judged, mbpp
from textmill.tasks.prediction import Refused
from textmill.tasks.task import Field, Options, Record, Task
from textmill.text.document import several

_TOKENS = 384  # of an answer, where nobody says
_ROWS = 32  # answers written at once
_DRAWN = {"temperature": 0.8, "top_p": 0.95}  # several samples of one problem (Chen et al. 2021, section 3.3)
_KS = (1, 10, 100)
_FENCE = ("```python\n", "\n```")  # before and behind the code of an answer in words
# Where the function has been left: of HumanEval as in Chen et al. 2021; of MBPP, which begins with one, less; of an
# answer in words, which may have others before it, what would only use it (as EvalPlus has it).
STOPS = {
    "prompt": ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\n@", "\n```"),
    "text": ('\n"""', "\nassert ", "\nif ", "\nprint(", "\n```"),
    "told": (_FENCE[1], "\nassert ", "\nif __name__", "\nprint(", "\ndef main("),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A problem, what its prompt is to the model, and where a completion of it ends; told: it is asked in words."""

    problem: Problem
    prompt: Prompt
    stops: tuple[str, ...]
    told: bool


@dataclass(frozen=True, slots=True)
class Code:
    """What was written of a problem, and the verdicts on it."""

    samples: tuple[str, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def right(self) -> int:
        """How many pass."""
        return sum(verdict.passed for verdict in self.verdicts)

    def row(self) -> dict[str, Any]:
        """The first sample and its verdict, and how many of how many pass."""
        first = self.verdicts[0]
        plain: dict[str, Any] = {"code": self.samples[0], "outcome": first.outcome}
        return plain | {"detail": first.detail, "passed": self.right, "samples": len(self.samples)}


def problem_of(record: Record) -> Problem:
    """The problem of a record. Raises TextmillError where a field is missing."""
    if "test_list" in record:
        return mbpp({**record, "test_list": several(record, "test_list")})
    return humaneval(record)


def prepare(pretrained: Pretrained, records: Sequence[Record], options: Options) -> list[Asked | Refused]:
    """The problems as the model reads them; one that leaves no room for an answer is refused."""
    if not pretrained.writes or pretrained.reads_source:
        raise TextmillError(
            f"a model of kind {pretrained.spec.kind!r} does not continue text, so it writes no code"
        )
    told = pretrained.template is not None if options.instruct is None else options.instruct
    asked: list[Asked | Refused] = []
    for record in records:
        try:
            problem = problem_of(record)
        except TextmillError as error:
            asked.append(Refused("is no problem", error.what))
            continue
        if told:
            words = f"Write the Python function `{problem.entry}`. Answer with code only, in one block.\n\n"
            message = {"role": "user", "content": words + problem.prompt.rstrip().join(_FENCE)}
            before = pretrained.codec.chat([message], answer=True).ids.tolist()
            prompt = Prompt([*before, *pretrained.tokenizer.encode_next(_FENCE[0]).tolist()])
        else:
            prompt = of_text(pretrained.tokenizer, problem.prompt)
        if len(prompt.ids) >= pretrained.spec.context:
            reason = "the prompt leaves no room for an answer"
            asked.append(
                Refused(reason, f"{len(prompt.ids):,} tokens, and it reads {pretrained.spec.context:,}")
            )
            continue
        stops = STOPS["told" if told else "text" if "test_list" in record else "prompt"]
        asked.append(Asked(problem, prompt, stops, told))
    return asked


def predict(pretrained: Pretrained, asked: Sequence[Asked], options: Options) -> list[Any]:
    """Samples of each problem, all written before any is judged.

    Raises TextmillError where code cannot be confined, unless `options.unsandboxed`.
    """
    spec = options.generation or replace(pretrained.generation, tokens=_TOKENS)
    if options.samples == 1:
        spec = replace(spec, temperature=0.0)
    elif not spec.temperature:
        spec = replace(spec, **_DRAWN)
    written = _written(pretrained, asked, spec, options.samples)
    sandbox = Sandbox(required=not options.unsandboxed)
    found: list[Any] = []
    for one, samples in tracked(list(zip(asked, written, strict=True)), "judging", unit="problems"):
        known: dict[str, Verdict] = {}  # a model says the same more than once
        for source in samples:
            if source not in known:
                known[source] = judged(one.problem, source, sandbox)
        found.append(Code(tuple(samples), tuple(known[source] for source in samples)))
    return found


def _written(
    pretrained: Pretrained, asked: Sequence[Asked], spec: GenerationSpec, samples: int
) -> list[list[str]]:
    """Python that should define the function of each problem, as often as samples are asked for.

    Answers that end alike are written side by side, those to prompts of like length together.
    """
    model, tokenizer, context = pretrained.model, pretrained.tokenizer, pretrained.spec.context
    assert isinstance(model, Generator)
    found: list[list[str]] = [[] for _ in asked]
    for some in tracked(_batches(asked, max(1, _ROWS // samples)), "writing", unit="batches"):
        first = asked[some[0]]
        how = drawable(replace(spec, stop=first.stops), model, tokenizer)
        ends = pretrained.chat.ends(tokenizer) if first.told and pretrained.chat else tokenizer.ends
        prompts = [asked[number].prompt for number in some]
        drawn = answers(
            model, prompts, how, ends=ends, samples=samples, decoder=tokenizer.stream, context=context
        )
        for number, row in zip(some, drawn, strict=True):
            one = asked[number]
            texts = [whole(tokenizer.stream(), each.ids, how.stop, one.prompt.ids) for each in row]
            found[number] = [source_of(one.problem, text, told=one.told) for text in texts]
    return found


def _batches(asked: Sequence[Asked], most: int) -> list[list[int]]:
    """Numbers of problems that are written together: what ends their answers is the same."""

    def alike(number: int) -> tuple[bool, tuple[str, ...]]:
        return asked[number].told, asked[number].stops

    order = sorted(range(len(asked)), key=lambda number: (alike(number), len(asked[number].prompt.ids)))
    groups = [list(numbers) for _, numbers in groupby(order, alike)]
    return [group[start : start + most] for group in groups for start in range(0, len(group), most)]


def source_of(problem: Problem, text: str, *, told: bool) -> str:
    """The Python that an answer makes: a completion behind its prompt; a block of code behind what the prompt defines
    and imports, where it defines the function itself."""
    if told and re.search(rf"^def {re.escape(problem.entry)}\b", text, re.MULTILINE):
        return f"{problem.before}\n{text}"
    return problem.prompt + text


def gold(record: Record) -> str | None:
    """The tests."""
    return record.get("test") or record.get("test_list")


def metrics(predictions: Sequence[Any], records: Sequence[Record], bootstrap: Bootstrap) -> dict[str, Score]:
    """pass@k for each k that there are samples enough for. A problem that was refused is never solved."""
    samples = max((len(said.samples) for said in predictions if isinstance(said, Code)), default=1)
    right = [said.right if isinstance(said, Code) else 0 for said in predictions]
    return {f"pass@{k}": pass_at([samples] * len(right), right, k, bootstrap) for k in _KS if k <= samples}


def figures(predictions: Sequence[Any], records: Sequence[Record]) -> Figures:
    """pass@1 of each problem."""
    made = [
        chance(len(said.samples), said.right, 1) if isinstance(said, Code) else 0.0 for said in predictions
    ]
    columns = np.column_stack([made, np.ones(len(made))]).reshape(-1, 2)
    return Figures("pass@1", columns, share(0, 1))


def details(predictions: Sequence[Any], records: Sequence[Record]) -> dict[str, Any]:
    """How samples ended."""
    ends = Counter(
        verdict.outcome for said in predictions if isinstance(said, Code) for verdict in said.verdicts
    )
    return {"outcomes": dict(ends.most_common())}


CODE = Task(
    name="code",
    summary="Python functions that pass tests",
    fields=(
        Field("prompt", "a function begun: its name and what it does", needed=False),
        Field("text", "what a function is to do, in words", needed=False),
    ),
    objectives=dict.fromkeys(CAUSAL.spec.families, CAUSAL.kind),
    forms={
        "humaneval": (("prompt", "test", "entry_point"), ()),
        "mbpp": (("text", "test_list"), ("test_list",)),
    },
    prepare=prepare,
    predict=predict,
    gold=gold,
    metrics=metrics,
    figures=figures,
    details=details,
    purpose="Writing short Python functions.",
)
