"""Generation from a real, tiny decoder: against plain recomputation, and whatever the batch."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.base.errors import NonFiniteError, RecipeError
from textmill.data.batch import IGNORE, Batch
from textmill.decoding.decode import answers as search
from textmill.decoding.generate import Piece, generate
from textmill.decoding.sampling import draw, seeded, strategies
from textmill.models.build import build
from textmill.specs.model import DecoderSpec
from textmill.specs.position import AlibiPositions, LearnedPositions
from textmill.specs.recipe import GenerationSpec

VOCABULARY, END, CONTEXT = 90, 0, 48
SPEC = DecoderSpec(d_model=32, layers=2, heads=4, kv_heads=2, d_ff=64, context=CONTEXT, tied=False)
GREEDY = GenerationSpec(tokens=12, temperature=0)
SAMPLED = GenerationSpec(
    tokens=12,
    temperature=1.3,
    top_k=60,
    top_p=0.97,
    min_p=0.001,
    repetition_penalty=1.1,
    frequency_penalty=0.1,
    seed=3,
)


def made(spec: DecoderSpec = SPEC):
    """A model whose logits differ enough to have a will of its own."""
    model = build(spec, VOCABULARY, seed=4)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(3)
    return model


@pytest.fixture(scope="module")
def model():
    return made()


def answers(pieces) -> dict[tuple[int, int], list[Piece]]:
    found: dict[tuple[int, int], list[Piece]] = {}
    for piece in pieces:
        found.setdefault((piece.row, piece.sample), []).append(piece)
    return found


def tokens(pieces) -> dict[tuple[int, int], list[tuple[int, str | None]]]:
    return {key: [(one.id, one.finish) for one in row] for key, row in answers(pieces).items()}


def plainly(model, prompt: list[int], spec: GenerationSpec, sample: int = 0) -> list[int]:
    """The same without a cache, a batch or a state: the whole sequence read anew for every token."""
    from textmill.decoding.sampling import History

    ids, chain = list(prompt) or [END], strategies(spec)
    history = History.of([ids])
    generator = seeded(spec.seed, sample, ids)
    written = []
    model.eval()
    while len(written) < spec.tokens and len(ids) <= CONTEXT:
        inputs = torch.tensor([ids])
        with torch.inference_mode():
            logits = model(Batch(inputs, torch.full_like(inputs, IGNORE)))[:, -1]
        for strategy in chain:
            logits = strategy(logits, history)
        token = draw(logits, [generator] if spec.temperature else None)
        history = history.add(token)
        ids.append(int(token))
        written.append(int(token))
        if written[-1] == END:
            break
    return written


@pytest.mark.parametrize("spec", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_cached_generation_equals_reading_everything_anew(model, spec):
    prompts = [[5, 6, 7], [], [40] * 20, [9]]
    found = tokens(generate(model, prompts, spec, ends=END, samples=2))
    for row, prompt in enumerate(prompts):
        for sample in range(2):
            assert [token for token, _ in found[row, sample]] == plainly(model, prompt, spec, sample)


@pytest.mark.long
@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, VOCABULARY - 1), max_size=30), min_size=2, max_size=6),
    st.sampled_from([GREEDY, SAMPLED, dataclasses.replace(SAMPLED, typical_p=0.9, seed=11)]),
    st.sampled_from([None, LearnedPositions(), AlibiPositions()]),
    st.integers(1, 7),
)
def test_a_row_is_the_same_alone_and_in_any_batch(prompts, spec, position, rows):
    model = MODELS.get(position) or MODELS.setdefault(
        position, made(SPEC if position is None else dataclasses.replace(SPEC, position=position))
    )
    together = tokens(generate(model, prompts, spec, ends=END, samples=2))
    turned = tokens(generate(model, prompts[::-1], spec, ends=END, samples=2, rows=rows))
    for row, prompt in enumerate(prompts):
        alone = tokens(generate(model, [prompt], spec, ends=END, samples=2))
        for sample in range(2):
            assert together[row, sample] == alone[0, sample] == turned[len(prompts) - 1 - row, sample]


MODELS: dict = {}


def test_more_samples_leave_the_first_as_they_were(model):
    few = tokens(generate(model, [[1, 2]], SAMPLED, ends=END, samples=2))
    many = tokens(generate(model, [[1, 2]], SAMPLED, ends=END, samples=5, rows=3))
    assert {key: many[key] for key in few} == few
    assert len({tuple(row) for row in many.values()}) > 1


def test_seeds_change_samples_and_not_greedy_answers(model):
    prompt = [[3, 4, 5]]
    other = dataclasses.replace(SAMPLED, seed=4)
    assert tokens(generate(model, prompt, SAMPLED, ends=END)) != tokens(
        generate(model, prompt, other, ends=END)
    )
    greedy = dataclasses.replace(GREEDY, seed=4)
    assert tokens(generate(model, prompt, GREEDY, ends=END)) == tokens(
        generate(model, prompt, greedy, ends=END)
    )


def test_the_logprob_is_the_models_own(model):
    pieces = answers(generate(model, [[5, 6]], SAMPLED, ends=END))[0, 0]
    ids = [5, 6, *(piece.id for piece in pieces)]
    inputs = torch.tensor([ids])
    with torch.inference_mode():
        logs = model.eval()(Batch(inputs, torch.full_like(inputs, IGNORE)))[0].log_softmax(-1)
    for place, piece in enumerate(pieces):
        assert piece.logprob == pytest.approx(float(logs[place + 1, piece.id]), abs=1e-4)


def test_every_row_finishes_once_and_says_why(model):
    found = answers(generate(model, [[i] for i in range(1, 30)], SAMPLED, ends=END))
    for row in found.values():
        assert [piece.finish for piece in row[:-1]] == [None] * (len(row) - 1)
        assert row[-1].finish == ("end" if row[-1].id == END else "length")
        assert row[-1].finish == "end" or len(row) == SAMPLED.tokens


@pytest.mark.parametrize("position", [SPEC.position, LearnedPositions()], ids=lambda one: one.kind)
def test_the_context_is_the_limit_and_a_long_prompt_keeps_its_end(position):
    model = made(dataclasses.replace(SPEC, position=position))
    full, long = [7] * CONTEXT, list(range(1, 60)) + [8] * 20
    spec = GenerationSpec(tokens=100, temperature=0)
    found = answers(generate(model, [full, long, [1, 2]], spec, ends=-1))
    assert len(found[0, 0]) == 1
    assert found[0, 0][0].cut == 0
    assert found[0, 0][0].finish == "length"
    kept = CONTEXT // 2
    assert {piece.cut for piece in found[1, 0]} == {len(long) - kept}
    assert len(found[1, 0]) == CONTEXT - kept + 1
    assert len(found[2, 0]) == CONTEXT - 2 + 1
    same = answers(generate(model, [long[-kept:]], spec, ends=-1))
    assert [piece.id for piece in same[0, 0]] == [piece.id for piece in found[1, 0]]
    short = answers(generate(model, [long], dataclasses.replace(spec, tokens=5), ends=-1))
    assert short[0, 0][0].cut == len(long) - (CONTEXT - 4)
    assert len(short[0, 0]) == 5


def test_a_caller_who_hears_enough_stops_a_row(model):
    heard = []

    def enough(row: int, sample: int, token: int) -> bool:
        heard.append((row, token))
        return row == 1 and len([one for one in heard if one[0] == 1]) == 3

    found = answers(generate(model, [[5], [6]], GREEDY, ends=-1, heard=enough))
    assert len(found[1, 0]) == 3
    assert found[1, 0][-1].finish == "stop"
    assert len(found[0, 0]) == GREEDY.tokens
    assert found[0, 0][-1].finish == "length"


def test_the_cache_is_allocated_once(model, monkeypatch):
    from textmill.models import stack

    calls = []
    allocate = stack.allocate
    monkeypatch.setattr(stack, "allocate", lambda *a, **k: calls.append(a) or allocate(*a, **k))
    list(generate(model, [[5, 6], [7]], GREEDY, ends=-1))
    assert len(calls) == 1


def test_a_model_in_training_answers_without_dropout_and_is_left_in_training():
    model = made(dataclasses.replace(SPEC, dropout=0.5)).train()
    pieces = generate(model, [[1]], GREEDY, ends=-1)
    next(pieces)
    assert all(module.training for module in model.modules())
    assert not torch.is_inference_mode_enabled()
    pieces.close()
    assert tokens(generate(model, [[1]], GREEDY, ends=-1)) == tokens(generate(model, [[1]], GREEDY, ends=-1))


def test_damaged_weights_are_said_to_be():
    model = made()
    with torch.no_grad():
        model.output.weight[3] = float("nan")
    for spec in (GREEDY, SAMPLED):
        with pytest.raises(NonFiniteError, match="not finite"):
            list(generate(model, [[1]], spec, ends=END))


def test_no_prompts_no_pieces(model):
    assert list(generate(model, [], GREEDY, ends=END)) == []


@pytest.mark.parametrize("way", [{"temperature": 0}, {"beams": 3}, {"contrastive": 0.6, "top_k": 4}, {}])
def test_an_answer_begins_with_the_first_and_goes_on_from_it(model, way):
    spec = GenerationSpec(tokens=6, forced_first_token=77, **way)
    ((found,),) = search(model, [[5, 6, 7]], spec, ends=())
    assert found.ids[0] == 77
    rest = dataclasses.replace(spec, tokens=5, forced_first_token=None)
    if way.get("temperature") == 0:
        ((after,),) = search(model, [[5, 6, 7, 77]], rest, ends=())
        assert found.ids[1:] == after.ids


def test_ids_the_vocabulary_lacks(model):
    with pytest.raises(RecipeError, match="has 90 ids, and no 90"):
        list(generate(model, [[5]], GenerationSpec(forced_first_token=90), ends=()))
    assert (
        len(list(generate(model, [[5]], dataclasses.replace(GREEDY, suppressed_tokens=(90,)), ends=()))) == 12
    )
