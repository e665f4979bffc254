"""What generation_config.json says, in both directions."""

from __future__ import annotations

import dataclasses
import json

import pytest

from textmill.base.errors import DamagedError, RecipeError
from textmill.interop.huggingface import generation
from textmill.specs.generation import GenerationSpec

READS = {"is_encoder_decoder": True}


def read(tmp_path, model=READS, **config):
    (tmp_path / generation.NAME).write_text(json.dumps(config))
    return generation.read_generation(tmp_path, model)


def test_what_counts_the_start_of_a_target_is_counted_without_it(tmp_path):
    """As the summarisers of BART are published."""
    found = read(
        tmp_path, forced_bos_token_id=0, max_length=142, min_length=56, num_beams=4, length_penalty=2.0
    )
    assert (found.first, found.tokens, found.min_tokens) == (0, 141, 55)
    assert (found.beams, found.length_penalty) == (4, 2.0)


def test_what_counts_new_tokens_comes_first(tmp_path):
    found = read(tmp_path, max_length=142, max_new_tokens=30, min_length=9, min_new_tokens=2)
    assert (found.tokens, found.min_tokens) == (30, 2)


def test_a_decoder_counts_its_prompt_so_nothing_is_taken_from_it(tmp_path):
    usual = GenerationSpec()
    found = read(tmp_path, {}, max_length=142, min_length=56, forced_bos_token_id=0)
    assert (found.tokens, found.min_tokens, found.first) == (usual.tokens, usual.min_tokens, None)


@pytest.mark.parametrize(
    ("name", "value"), [("forced_bos_token_id", -3), ("max_length", 1), ("min_length", "x")]
)
def test_values_that_mean_nothing_are_refused(tmp_path, name, value):
    with pytest.raises((RecipeError, DamagedError)):
        read(tmp_path, **{name: value})


def test_the_first_token_is_written_and_read(tmp_path):
    spec = dataclasses.replace(GenerationSpec(), temperature=0.0, first=7, beams=2)
    written = generation.write_generation(spec, READS, (1,))
    assert written["forced_bos_token_id"] == 7
    assert read(tmp_path, **written).first == 7
