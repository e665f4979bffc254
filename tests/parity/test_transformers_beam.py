"""Beam search against transformers' own on the same weights: the same n best, their scores to 1e-4."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
import torch

from helpers.published import BART, GPT2, MARIAN, T5
from textmill.decoding import beam
from textmill.decoding.prompt import Prompt
from textmill.interop.huggingface import directory as huggingface
from textmill.models.build import build
from textmill.specs.model import DecoderSpec, EncoderDecoderSpec
from textmill.specs.recipe import GenerationSpec

transformers = pytest.importorskip("transformers")

SMALL = {"d_model": 32, "layers": 2, "heads": 4, "d_ff": 48, "context": 96}
SPECS = {"llama": DecoderSpec(**SMALL, kv_heads=2), "gpt2": DecoderSpec(**SMALL, **GPT2)}
TRANSLATORS = {
    "marian": EncoderDecoderSpec(**SMALL, **MARIAN, dropout=0.0),
    "bart": EncoderDecoderSpec(**SMALL, **BART, dropout=0.0),
    "t5": EncoderDecoderSpec(**SMALL, **T5, dropout=0.0, logit_scale=32**-0.5),
}
CASES = {
    "plain": {"beams": 4},
    "five": {"beams": 5, "early_stopping": "yes"},
    "long": {"beams": 3, "length_penalty": 1.8, "tokens": 30},
    "short": {"beams": 3, "length_penalty": -0.7},
    "none": {"beams": 4, "length_penalty": 0.0, "early_stopping": "never"},
    "never": {"beams": 4, "length_penalty": 0.8, "early_stopping": "never"},
    "no-repeat": {"beams": 4, "no_repeat_ngram": 2, "early_stopping": "yes"},
    "no-repeat-3": {"beams": 3, "no_repeat_ngram": 3, "repetition_penalty": 1.3},
    "least": {"beams": 4, "min_tokens": 7, "length_penalty": 0.6},
    "first": {
        "beams": 4,
        "forced_first_token": 41,
        "length_penalty": 2.0,
        "no_repeat_ngram": 3,
        "min_tokens": 3,
    },
    "forbidden": {"beams": 4, "suppressed_tokens": (3, 90), "no_repeat_ngram": 1},
}
EARLY = {"yes": True, "no": False, "never": "never"}


def both(spec, directory, tokenizer, family):
    """One random model with a will of its own, ours and theirs."""
    torch.manual_seed(3)
    ours = build(spec, tokenizer.vocabulary).eval()
    for parameter in ours.parameters():
        parameter.data.add_(torch.randn_like(parameter) * (0.3 if parameter.ndim == 2 else 0.0))
    huggingface.write_directory(directory, ours, tokenizer, GenerationSpec(temperature=0.0), {})
    return ours, family.from_pretrained(directory, dtype=torch.float32, local_files_only=True).eval()


@pytest.fixture(scope="module", params=SPECS)
def pair(request, tmp_path_factory, tokenizer):
    directory = tmp_path_factory.mktemp("beam") / request.param
    return both(SPECS[request.param], directory, tokenizer, transformers.AutoModelForCausalLM)


@pytest.fixture(scope="module", params=TRANSLATORS)
def translators(request, tmp_path_factory, tokenizer):
    directory = tmp_path_factory.mktemp("beam") / request.param
    return both(TRANSLATORS[request.param], directory, tokenizer, transformers.AutoModelForSeq2SeqLM)


def reference(theirs, prompts: list[list[int]], spec: GenerationSpec, ends, pad: int):
    """[[(ids, score)]] of transformers, without the padding after an answer."""
    width = max(map(len, prompts))
    ids = torch.tensor([[pad] * (width - len(one)) + one for one in prompts])
    real = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in prompts])
    return _theirs(theirs, {"input_ids": ids, "attention_mask": real}, width, spec, ends, pad)


def _theirs(theirs, given: dict, width: int, spec: GenerationSpec, ends, pad: int):
    out = theirs.generate(
        **given,
        do_sample=False,
        num_beams=spec.beams,
        num_return_sequences=spec.beams,
        max_new_tokens=spec.tokens,
        length_penalty=spec.length_penalty,
        early_stopping=EARLY[spec.early_stopping],
        no_repeat_ngram_size=spec.no_repeat_ngram,
        repetition_penalty=spec.repetition_penalty,
        min_new_tokens=spec.min_tokens or None,
        bad_words_ids=[[one] for one in spec.suppressed_tokens] or None,
        forced_bos_token_id=spec.forced_first_token,
        eos_token_id=list(ends),
        pad_token_id=pad,
        output_scores=True,
        return_dict_in_generate=True,
    )
    found = []
    for row, score in zip(out.sequences[:, width:].tolist(), out.sequences_scores.tolist(), strict=True):
        stop = next((place + 1 for place, one in enumerate(row) if one in ends), len(row))
        found.append((tuple(row[:stop]), score))
    return [found[start : start + spec.beams] for start in range(0, len(found), spec.beams)]


def likely(model, prompts: list[list[int]], number: int) -> tuple[int, ...]:
    """The tokens the model writes most after these prompts, so that answers do end in them."""
    free = beam.search(model, prompts, GenerationSpec(tokens=12, beams=4), ends=())
    written = Counter(token for answers in free for one in answers for token in one.ids[2:])
    return tuple(token for token, _ in written.most_common(number))


@pytest.mark.parametrize("case", [case for case in CASES if case != "first"])  # theirs needs a start alone
@pytest.mark.parametrize("number", [1, 4])
def test_the_same_answers_and_scores(pair, case, number, tokenizer):
    ours, theirs = pair
    spec = dataclasses.replace(GenerationSpec(tokens=12, temperature=0), **CASES[case])
    generator = torch.Generator().manual_seed(len(case))
    prompts = torch.randint(30, 200, (6, 9), generator=generator).tolist()
    ends = likely(ours, prompts, number)
    found = beam.search(ours, prompts, spec, ends=ends)
    for answers, theirs_best in zip(
        found, reference(theirs, prompts, spec, ends, tokenizer.pad), strict=True
    ):
        assert [one.ids for one in answers] == [ids for ids, _ in theirs_best]
        scores = torch.tensor([one.score for one in answers])
        torch.testing.assert_close(
            scores, torch.tensor([score for _, score in theirs_best]), rtol=0, atol=1e-4
        )
    finishes = {one.finish for answers in found for one in answers}
    assert "end" in finishes or case == "long"  # or little would be compared


def test_prompts_of_different_lengths(pair, tokenizer):
    """transformers counts the length of an answer from the end of the longest prompt, and so do we."""
    ours, theirs = pair
    spec = GenerationSpec(tokens=10, temperature=0, beams=3, length_penalty=0.9)
    generator = torch.Generator().manual_seed(1)
    prompts = [torch.randint(30, 200, (size,), generator=generator).tolist() for size in (3, 9, 5, 1)]
    ends = likely(ours, prompts, 2)
    found = beam.search(ours, prompts, spec, ends=ends)
    for answers, best in zip(found, reference(theirs, prompts, spec, ends, tokenizer.pad), strict=True):
        assert [one.ids for one in answers] == [ids for ids, _ in best]
        assert [one.score for one in answers] == pytest.approx([score for _, score in best], abs=1e-4)


@pytest.mark.parametrize("case", ["plain", "five", "never", "no-repeat", "least", "first"])
def test_translations_of_sources_of_different_lengths(translators, case, tokenizer):
    ours, theirs = translators
    spec = dataclasses.replace(GenerationSpec(tokens=12, temperature=0), **CASES[case])
    generator = torch.Generator().manual_seed(7)
    sources = [torch.randint(30, 200, (size,), generator=generator).tolist() for size in (4, 11, 7, 11, 2)]
    start = theirs.config.decoder_start_token_id
    prompts = [Prompt([start], source=one) for one in sources]
    free = beam.search(ours, prompts, GenerationSpec(tokens=12, beams=4), ends=())
    written = Counter(token for answers in free for one in answers for token in one.ids[2:])
    ends = tuple(token for token, _ in written.most_common(2))
    width = max(map(len, sources))
    given = {
        "input_ids": torch.tensor([one + [tokenizer.pad] * (width - len(one)) for one in sources]),
        "attention_mask": torch.tensor([[1] * len(one) + [0] * (width - len(one)) for one in sources]),
        "decoder_input_ids": torch.full((len(sources), 1), start),
    }
    found = beam.search(ours, prompts, spec, ends=ends)
    for answers, best in zip(found, _theirs(theirs, given, 1, spec, ends, tokenizer.pad), strict=True):
        assert [one.ids for one in answers] == [ids for ids, _ in best]
        assert [one.score for one in answers] == pytest.approx([score for _, score in best], abs=1e-4)
    assert any(one.finish == "end" for answers in found for one in answers)
