"""Every family, killed while it trains, goes on to the very bytes of a run that was not."""

from __future__ import annotations

import json
import random

import pytest

COMMON = """
name = "tiny"
seed = 7

[corpus]
sources = [{source}]
split = {{ validation = 0.15, test = 0.15 }}

[tokenizer]
vocabulary = 320
sentinels = 8

[model]
{model}

[objective]
{objective}

[training]
steps = 12
batch = 4
{micro}
sequence = 24
evaluate_every = 4
evaluate_tokens = 300
average = {{ decay = 0.9 }}
optimizer = {{ kind = "{optimizer}" }}
save = {{ every = 3, keep = 2 }}
"""
SMALL = "d_model = 16\nlayers = 1\ncontext = 32\ndropout = 0.1\n"
BLOCKS = SMALL + "heads = 2\nd_ff = 24\n"
PAIRS = 'kind = "pairs"\nsource = "text"\nbatch_tokens = 60\n'
# family -> (model, objective, optimiser)
FAMILIES = {
    "gpt": ('kind = "decoder"\n' + BLOCKS, 'kind = "causal"', "muon"),
    "bert": (
        'kind = "encoder"\n' + BLOCKS,
        'kind = "masked"\nwhole_words = true\nnext_sentence = true',
        "muon",
    ),
    "gru": ('kind = "recurrent"\n' + SMALL, 'kind = "causal"', "adamw"),
    "lstm-attention": (
        'kind = "recurrent"\ncell = "lstm"\nattention = true\nheads = 2\n' + SMALL,
        'kind = "causal"',
        "adamw",
    ),
    "infilling": ('kind = "encoder-decoder"\n' + BLOCKS, 'kind = "infilling"', "adamw"),
    "spans": ('kind = "encoder-decoder"\n' + BLOCKS, 'kind = "spans"', "muon"),
    "continue": ('kind = "encoder-decoder"\n' + BLOCKS, 'kind = "continue"', "adamw"),
    "translation": ('kind = "encoder-decoder"\n' + BLOCKS, PAIRS, "adamw"),
    "recurrent-translation": (
        'kind = "recurrent-encoder-decoder"\nattention = "additive"\n' + SMALL,
        PAIRS + 'forcing = { kind = "linear" }\n',
        "adamw",
    ),
    "classify": ('kind = "encoder"\n' + BLOCKS, 'kind = "classify"', "adamw"),
    "tag": ('kind = "recurrent"\n' + SMALL, 'kind = "tag"\ncrf = true', "adamw"),
}


def records(path):
    rng = random.Random(2)
    words = ["one", "two", "three", "four", "five", "six"]
    with path.open("w") as file:
        for _ in range(60):
            chosen = rng.choices(words, k=rng.randint(3, 8))
            row = {
                "text": " ".join(chosen),
                "target": " ".join(reversed(chosen)),
                "label": chosen[0],
                "tags": " ".join("N" if "o" in word else "O" for word in chosen),
            }
            file.write(json.dumps(row) + "\n")
    return path


FAST = ("gpt",)  # each objective is killed in objectives/test_completeness.py, too


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in FAMILIES]
)
def test_killed_and_resumed(family, tmp_path, texts, start_trials, resume):
    model, objective, optimizer = FAMILIES[family]
    supervised = any(kind in objective for kind in ("pairs", "classify", "tag"))
    source = f'{{ kind = "files", paths = ["{texts}"] }}'
    if supervised:
        path = records(tmp_path / "records.jsonl")
        source = f'{{ kind = "files", paths = ["{path}"], metadata_fields = ["label", "tags"] }}'
    # Batches of pairs differ in their rows, and are computed whole.
    micro = "" if "batch_tokens" in objective else "micro_batch = 2"
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(
        COMMON.format(source=source, model=model, objective=objective, optimizer=optimizer, micro=micro)
    )
    trials = start_trials(recipe)
    first = trials()
    assert first["ended"] == "done", first
    undisturbed = trials(digest=True)
    assert undisturbed["whole"]
    trials.forget_run()
    calls = trials()["calls"]
    for call in (calls // 3, 2 * calls // 3):
        trials.forget_run()
        end = trials(kill="call", at=call)
        assert end["ended"] == "killed", end
        resume(trials, undisturbed)
    trials.forget_run()
    trials(kill="time", after=first["seconds"] * 0.5)
    resume(trials, undisturbed)
