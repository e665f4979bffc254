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
    assert (found.forced_first_token, found.tokens, found.min_tokens) == (0, 141, 55)
    assert (found.beams, found.length_penalty) == (4, 2.0)


def test_what_counts_new_tokens_comes_first(tmp_path):
    found = read(tmp_path, max_length=142, max_new_tokens=30, min_length=9, min_new_tokens=2)
    assert (found.tokens, found.min_tokens) == (30, 2)


def test_a_decoder_counts_its_prompt_so_nothing_is_taken_from_it(tmp_path):
    usual = GenerationSpec()
    found = read(tmp_path, {}, max_length=142, min_length=56, forced_bos_token_id=0)
    assert (found.tokens, found.min_tokens, found.forced_first_token) == (
        usual.tokens,
        usual.min_tokens,
        None,
    )


@pytest.mark.parametrize(
    ("name", "value"), [("forced_bos_token_id", -3), ("max_length", 1), ("min_length", "x")]
)
def test_values_that_mean_nothing_are_refused(tmp_path, name, value):
    with pytest.raises((RecipeError, DamagedError)):
        read(tmp_path, **{name: value})


def test_the_first_token_is_written_and_read(tmp_path):
    spec = dataclasses.replace(GenerationSpec(), temperature=0.0, forced_first_token=7, beams=2)
    written = generation.write_generation(spec, READS, (1,))
    assert written["forced_bos_token_id"] == 7
    assert read(tmp_path, **written).forced_first_token == 7


@pytest.mark.parametrize("draws", [True, False])
def test_what_a_file_leaves_out_is_what_the_format_says(tmp_path, draws):
    found = read(tmp_path, {}, do_sample=draws)
    assert found == dataclasses.replace(
        GenerationSpec(), temperature=1.0 if draws else 0.0, top_k=50, top_p=1.0
    )
    assert read(tmp_path, {}, do_sample=True, top_k=0).top_k is None
    assert read(tmp_path, {}, do_sample=True, temperature=None, top_k=None, top_p=None).top_k == 50


def test_a_directory_without_the_file_is_read_as_older_ones_say(tmp_path):
    found = generation.read_generation(tmp_path, {"do_sample": True, "top_p": 0.8, "suppress_tokens": [3]})
    assert (found.temperature, found.top_k, found.top_p, found.suppressed_tokens) == (1.0, 50, 0.8, (3,))


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (
            {"diversity_penalty": 1.0, "num_beam_groups": 2},
            {"diversity_penalty = 1.0", "num_beam_groups = 2"},
        ),
        ({"diversity_penalty": 0.0, "num_beam_groups": 1, "encoder_repetition_penalty": 1.0}, set()),
        ({"guidance_scale": 1.5, "top_h": 0.4}, {"guidance_scale = 1.5", "top_h = 0.4"}),
        ({"sequence_bias": [[[1], 2.0]]}, {"sequence_bias = [[[1], 2.0]]"}),
        ({"do_sample": True, "num_beams": 4}, {"do_sample = True"}),
        ({"do_sample": True, "penalty_alpha": 0.6}, {"penalty_alpha = 0.6"}),
        ({"penalty_alpha": 0.6, "top_k": 4}, set()),
        ({"min_length": 9, "max_length": 99}, {"min_length = 9", "max_length = 99"}),
        ({"max_length": 20, "max_new_tokens": 9}, set()),
        ({"max_length": 512}, set()),
        ({"forced_bos_token_id": 4}, {"forced_bos_token_id = 4"}),
        ({"alignment_heads": [[1, 2]]}, {"alignment_heads = [[1, 2]]"}),
        ({"transformers_version": "5.0", "use_cache": True, "_from_model_config": True}, set()),
    ],
)
def test_what_is_not_followed_is_named(tmp_path, config, names):
    read(tmp_path, {}, **config)
    assert set(generation.unfollowed(tmp_path, {"max_position_embeddings": 512})) == names


def test_a_target_follows_what_only_it_can(tmp_path):
    read(tmp_path, max_length=99, min_length=3, forced_bos_token_id=1)
    assert generation.unfollowed(tmp_path, READS) == ()


def test_every_setting_that_transformers_knows_is_followed_named_or_of_no_matter(tmp_path):
    """So that a setting which a later transformers has does not vanish."""
    transformers = pytest.importorskip("transformers")
    known = {*generation._READ, *generation._TARGETS, *generation._SEARCHES}
    known |= {*generation._NO_MATTER, *generation._OTHERS}
    assert {name for name in vars(transformers.GenerationConfig()) if not name.startswith("_")} <= known


def test_all_that_can_be_said_is_written_and_read_again(tmp_path):
    spec = GenerationSpec(
        tokens=17,
        temperature=0.7,
        top_k=9,
        top_p=0.8,
        min_p=0.01,
        typical_p=0.9,
        epsilon_cutoff=0.01,
        eta_cutoff=0.02,
        repetition_penalty=1.1,
        no_repeat_ngram=3,
        no_repeat_source_ngram=4,
        min_tokens=2,
        decay=1.5,
        decay_after=4,
        forced_first_token=5,
        forced_last_tokens=(6, 7),
        suppressed_tokens=(1, 8),
        suppressed_first_tokens=(9,),
        suppressed_sequences=((1, 2), (3, 4, 5)),
    )
    assert read(tmp_path, **generation.write_generation(spec, READS, (1,))) == spec
    assert generation.unsaid(spec, READS) == ()


def test_what_the_format_cannot_say_is_named():
    spec = GenerationSpec(presence_penalty=0.5, stop=("\n\n",), forced_first_token=3)
    assert generation.unsaid(spec, {}) == (
        "presence_penalty = 0.5",
        "stop = ['\\n\\n']",
        "forced_first_token = 3",
    )
    assert generation.unsaid(spec, READS)[-1] == "stop = ['\\n\\n']"
    assert generation.unsaid(GenerationSpec(mbr="chrf"), READS) == ("mbr = chrf",)


def test_stop_strings_are_read_one_or_several(tmp_path):
    assert read(tmp_path, stop_strings="###").stop == ("###",)
    assert read(tmp_path, stop_strings=["a", "b"]).stop == ("a", "b")


@pytest.mark.parametrize(
    "config",
    [
        {"bad_words_ids": [[]]},
        {"bad_words_ids": 3},
        {"bad_words_ids": [3]},
        {"suppress_tokens": [-1]},
        {"exponential_decay_length_penalty": 3},
        {"exponential_decay_length_penalty": [3]},
        {"forced_eos_token_id": "x"},
        {"begin_suppress_tokens": ["x"]},
        {"stop_strings": [3]},
        {"epsilon_cutoff": 2.0},
        {"top_k": -1},
        {"temperature": "hot"},
    ],
)
def test_settings_that_mean_nothing_are_refused_by_name(tmp_path, config):
    with pytest.raises((RecipeError, DamagedError)):
        read(tmp_path, {}, do_sample=True, **config)
