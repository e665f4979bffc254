"""One way to ask: which search a spec means, what it gives, and the ranking of draws against loops by hand."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.base.errors import RecipeError, TextmillError
from textmill.decoding import beam, rerank
from textmill.decoding.decode import answers, searches
from textmill.decoding.generate import generate
from textmill.decoding.prompt import Fitted, Prompt, batch_of, fitted, of_text
from textmill.decoding.stream import generate_text
from textmill.specs.model import WHOLE, EncoderDecoderSpec, longest_source
from textmill.specs.position import T5Positions
from textmill.specs.recipe import GenerationSpec

END = 256
BEAMS = GenerationSpec(tokens=6, beams=3)
DRAWS = GenerationSpec(tokens=6, temperature=1.0, top_p=None, seed=5)


class Letters:
    """Ids into letters, one each."""

    def push(self, token: int) -> str:
        return "" if token == END else chr(token)

    def finish(self) -> str:
        return ""


class Reader:
    """A tokenizer of one id a letter."""

    vocabulary, end, ends, prefix, suffix = END + 1, END, (END,), (35,), (END,)
    special, start, pad, mask, separator = {}, END, END, None, None
    between, sentinels = (), ()

    def token_bytes(self, token):
        return chr(token).encode()

    stream = Letters

    def encode_many(self, texts):
        import numpy as np

        return [np.array([ord(one) for one in text], dtype=np.uint32) for text in texts]


@pytest.fixture
def model(toy):
    class Words(toy):
        """Letters a … e only, and the end."""

        def after(self, text):
            logits = super().after(text) * 2
            logits[:97] = logits[102:END] = -60.0
            return logits

    return Words(END + 1, 4, scale=1.0)


def token_f1(answer: str, other: str) -> float:
    """Overlap of letters, as questions are scored."""
    common = sum((Counter(answer) & Counter(other)).values())
    return 2 * common / (len(answer) + len(other)) if common else 0.0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("abc", max_size=4), min_size=1, max_size=8))
def test_expected_utility_is_the_mean_over_the_other_draws(draws):
    for place, found in enumerate(rerank.expected(draws, token_f1)):
        others = draws[:place] + draws[place + 1 :]
        want = sum(token_f1(draws[place], one) for one in others) / max(len(others), 1)
        assert found == pytest.approx(want)


def test_utilities_are_those_of_sacrebleu():
    sacrebleu = pytest.importorskip("sacrebleu")
    pair = "the mill grinds the grain", "the mill grinds grain slowly"
    assert rerank.utility("chrf")(*pair) == pytest.approx(sacrebleu.sentence_chrf(pair[0], [pair[1]]).score)
    assert rerank.utility("bleu")(*pair) == pytest.approx(sacrebleu.sentence_bleu(pair[0], [pair[1]]).score)
    assert rerank.utility("chrf")("", "a") == 0.0
    hanzi = "磨坊把麦子磨成面粉", "磨坊把麦子磨成了面粉"
    assert rerank.utility("bleu", hanzi)(*hanzi) == pytest.approx(
        sacrebleu.sentence_bleu(hanzi[0], [hanzi[1]], tokenize="zh").score
    )


def test_the_draw_most_like_the_others_comes_first(model):
    pytest.importorskip("sacrebleu")
    spec = dataclasses.replace(DRAWS, mbr="chrf", candidates=12)
    prompts = [[97], [98, 99]]
    found = answers(model, prompts, spec, ends=END, samples=3, decoder=Letters)
    for prompt, best in zip(prompts, found, strict=True):
        texts: dict[int, str] = dict.fromkeys(range(12), "")
        for piece in generate(model, [prompt], DRAWS, ends=END, samples=12):
            texts[piece.sample] += Letters().push(piece.id)
        scores = rerank.expected(list(texts.values()), rerank.utility("chrf"))
        assert [one.score for one in best] == pytest.approx(sorted(scores, reverse=True)[:3])
        top = max(range(12), key=lambda place: scores[place])
        assert "".join(map(Letters().push, best[0].ids)) == texts[top]


def test_the_spec_says_how(model):
    prompts = [[97], [98]]
    assert answers(model, prompts, BEAMS, ends=END, samples=2) == [
        row[:2] for row in beam.search(model, prompts, BEAMS, ends=END)
    ]
    drawn = answers(model, prompts, DRAWS, ends=END, samples=2)
    written: dict[tuple[int, int], list[int]] = {}
    for piece in generate(model, prompts, DRAWS, ends=END, samples=2):
        written.setdefault((piece.row, piece.sample), []).append(piece.id)
    assert {
        (row, place): list(one.ids) for row, best in enumerate(drawn) for place, one in enumerate(best)
    } == (written)
    assert [searches(one) for one in (BEAMS, DRAWS, dataclasses.replace(DRAWS, mbr="bleu"))] == [
        True,
        False,
        True,
    ]


@pytest.mark.parametrize("spec", [BEAMS, dataclasses.replace(DRAWS, seed=8)], ids=["beams", "draws"])
def test_stop_strings_end_answers(model, spec):
    prompts = [[97], [98], [99, 100]]
    free = answers(model, prompts, spec, ends=END, samples=2, decoder=Letters)
    texts = ["".join(map(Letters().push, one.ids)) for row in free for one in row]
    stop = Counter(text[1:3] for text in texts if len(text) > 2).most_common(1)[0][0]
    ended = answers(
        model, prompts, dataclasses.replace(spec, stop=(stop,)), ends=END, samples=2, decoder=Letters
    )
    found = [one for row in ended for one in row]
    assert any(one.finish == "stop" for one in found)
    for text, one in zip(texts, found, strict=True):
        cut = "".join(map(Letters().push, one.ids))
        assert cut == (text[: text.index(stop) + 2] if stop in text else text)
        assert (one.finish == "stop") == (stop in text)


def test_text_of_searches(model):
    spec = dataclasses.replace(BEAMS, min_tokens=2)
    pieces = list(generate_text(model, Reader(), ["ab", "c"], spec, samples=2))
    assert [(one.row, one.sample) for one in pieces] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    found = beam.search(model, [[35, 97, 98], [35, 99]], spec, ends=END, samples=2)
    for piece, one in zip(pieces, [one for row in found for one in row], strict=True):
        assert piece.text == "".join(map(Letters().push, one.ids))
        assert (piece.score, piece.logprob, piece.finish) == (one.score, one.logprob, one.finish)
        assert piece.tokens == len(one.ids)
    stop = pieces[0].text[1]
    cut = next(generate_text(model, Reader(), ["ab"], dataclasses.replace(spec, stop=(stop,))))
    assert (cut.text, cut.finish) == (pieces[0].text.split(stop)[0], "stop")


def test_a_text_is_gone_on_from_or_read_as_a_source():
    assert of_text(Reader(), "ab") == Prompt([35, 97, 98], lead=1)
    assert of_text(Reader(), "ab", start=7) == Prompt([7], source=[35, 97, 98, END], tail=1)
    assert of_text(Reader(), "a", start=(7, 8)).ids == [7, 8]


def test_prompts_become_a_batch():
    kept = fitted([Prompt([1], [5, 6, 7]), Prompt([1, 2], [8])], tokens=3, context=16, ends=())
    batch = batch_of(kept)
    assert batch.inputs.tolist() == [[0, 1], [1, 2]]
    assert batch.mask.tolist() == [[False, True], [True, True]]
    assert batch.source.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch.source_mask.tolist() == [[True] * 3, [True, False, False]]
    whole = batch_of(kept[:1])
    assert whole.mask is None
    assert whole.source_mask is None


def test_a_long_source_loses_its_end():
    (one,) = fitted([Prompt([1], range(20))], tokens=3, context=8, ends=())
    assert one == Fitted([1], list(range(8)), 12, 3, 8)
    (two,) = fitted([Prompt(range(30), range(4))], tokens=3, context=8, ends=())
    assert (two.ids, two.source, two.cut) == (list(range(24, 30)), [0, 1, 2, 3], 24)


@pytest.mark.parametrize("length", [9, 20, 300])
@pytest.mark.parametrize("tokens", [1, 3, 100])
def test_what_a_model_expects_around_a_text_stays_when_the_text_is_cut(length, tokens):
    (one,) = fitted([Prompt(range(length), lead=2)], tokens=tokens, context=8, ends=())
    kept = min(len(one.ids), max(8 - tokens + 1, 4))
    assert one.ids == [0, 1, *range(length - kept + 2, length)]
    assert one.cut == length - len(one.ids)
    (two,) = fitted([Prompt([1], range(length), tail=2)], tokens=tokens, context=8, ends=())
    assert two.source == [0, 1, 2, 3, 4, 5, length - 2, length - 1]
    (three,) = fitted([Prompt([1], range(length), tail=2)], tokens=tokens, context=8, ends=(), sources=WHOLE)
    assert (three.source, three.cut) == (list(range(length)), 0)


def test_only_what_tells_tokens_apart_by_their_distance_has_no_longest_source():
    assert longest_source(EncoderDecoderSpec(context=9, position=T5Positions())) == WHOLE
    assert longest_source(EncoderDecoderSpec(context=9)) == 9


def test_what_cannot_be_done_is_said(model):
    with pytest.raises(TextmillError, match="mbr needs text"):
        answers(model, [[97]], dataclasses.replace(DRAWS, mbr="chrf"), ends=END)
    with pytest.raises(TextmillError, match="stop strings need text"):
        answers(model, [[97]], dataclasses.replace(BEAMS, stop=("a",)), ends=END)
    with pytest.raises(RecipeError, match="one answer"):
        spec = GenerationSpec(contrastive=0.5, top_k=3)
        answers(model, [[97]], spec, ends=END, samples=2)
