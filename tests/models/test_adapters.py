"""Adapters over every family: what can have one, that the base stays as it was, and that each way of using a model sees
them."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.models import VOCABULARY, batch_of, check_documents, check_lengths, check_steps, close, tokens
from helpers.published import shaken
from textmill.base.errors import DamagedError, RecipeError, TextmillError
from textmill.decoding.layout import prepare
from textmill.decoding.prefix_cache import PrefixCache
from textmill.interop.gguf.model import write_gguf
from textmill.interop.huggingface import directory as huggingface
from textmill.interop.load import load
from textmill.models import adapters
from textmill.models.build import build
from textmill.objectives.loss import causal
from textmill.specs.generation import GenerationSpec
from textmill.specs.head import ClassifyHead
from textmill.specs.model import (
    DecoderSpec,
    EncoderDecoderSpec,
    EncoderSpec,
    RecurrentEncoderDecoderSpec,
    RecurrentSpec,
)
from textmill.specs.position import LearnedPositions, T5Positions
from textmill.specs.tuning import LoRATuning, PrefixTuning, PromptTuning

SMALL = {"d_model": 32, "layers": 2, "heads": 4, "d_ff": 48, "context": 64}
SPECS = {
    "decoder": DecoderSpec(**SMALL, kv_heads=2),
    "decoder, untied": DecoderSpec(**SMALL, tied=False, position=LearnedPositions(), bias="all"),
    "decoder, capped": DecoderSpec(**SMALL, logit_softcap=5.0, scaled_embedding=True, qk_norm=True),
    "encoder": EncoderSpec(**SMALL, dropout=0.0),
    "encoder-decoder": EncoderDecoderSpec(**SMALL, dropout=0.0, decoder_layers=1),
    "encoder-decoder, t5": EncoderDecoderSpec(**SMALL, dropout=0.0, position=T5Positions(), tied=False),
    "recurrent": RecurrentSpec(d_model=32, hidden=48, layers=1, attention=True, heads=4, dropout=0.0),
    "recurrent-encoder-decoder": RecurrentEncoderDecoderSpec(d_model=32, hidden=48, layers=1, dropout=0.0),
}
EVERYWHERE = LoRATuning(rank=3, targets=("all-linear", "output", "embedding"))
READS = ("encoder-decoder", "recurrent-encoder-decoder")


def of(name, **changes):
    return shaken(build(dataclasses.replace(SPECS[name], **changes), VOCABULARY), 0.05)


def batch_for(model, rows=2, length=9):
    x = tokens(rows, length)
    return batch_of(x, source=tokens(rows, 7, seed=5) if model.spec.kind in READS else None)


def moved(model, by=0.05):
    """The adapter far from its beginning."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in adapters.tensors(model).values():
            tensor.add_(torch.randn(tensor.shape, generator=generator) * by)
    return model.eval()


@pytest.fixture(params=SPECS)
def base(request):
    return of(request.param)


@pytest.mark.parametrize("dora", [False, True])
def test_an_adapter_begins_as_its_base_to_the_bit_and_leaves_it_as_it_was(base, dora):
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    batch = batch_for(base)
    with torch.no_grad():
        plain = base(batch)
        model = adapters.adapt(base, LoRATuning(rank=3, dora=dora))
        if base.spec.kind.startswith("recurrent"):  # PyTorch's kernels for frozen cells are others
            close(model(batch), plain)
        else:
            assert torch.equal(model(batch), plain)
        assert not torch.equal(moved(model)(batch), plain)
        assert torch.equal(base(batch), plain)
    assert base.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.state_dict().items())
    assert all(parameter.requires_grad for parameter in base.parameters())


def test_every_addition_is_reached_by_the_loss(base):
    """One at the output layer, too, which the loss multiplies itself where nothing stands there."""
    model = moved(adapters.adapt(base, EVERYWHERE))
    batch = batch_for(base)
    for chunk in (None, 4):
        model.zero_grad()
        model.train()
        nats, count = causal(model, batch, chunk=chunk)
        nats.backward()
        assert count == batch.targets.numel()
        expected = torch.nn.functional.cross_entropy(
            model.eval()(batch).flatten(0, 1), batch.targets.flatten(), reduction="sum"
        )
        torch.testing.assert_close(nats, expected, rtol=1e-5, atol=1e-4)
        unread = ("pooler", "sentences")  # no token's logits depend on them
        for name, tensor in adapters.tensors(model).items():
            assert tensor.grad is not None or any(part in name for part in unread), name
        assert all(parameter.grad is None for parameter in model.parameters() if not parameter.requires_grad)


def test_decoding_sees_what_training_saw(base):
    if base.spec.kind == "encoder":
        return
    model, batch = moved(adapters.adapt(base, EVERYWHERE)), batch_for(base)
    check_steps(model, batch, 4, (1, 2, 1, 1))


@pytest.mark.parametrize("kind", ["fp32", "int8"])
def test_layouts_for_decoding_do_not_pass_an_adapter_by(kind):
    """Many rows have matrices of another layout, few bits other matrices; the tied output layer as well."""
    for name, tuning in (
        ("decoder", EVERYWHERE),
        ("decoder, untied", EVERYWHERE),
        ("encoder-decoder", EVERYWHERE),
        ("decoder", LoRATuning(dora=True)),
    ):
        model = moved(adapters.adapt(of(name), tuning))
        batch = batch_for(model)
        with torch.no_grad():
            laid = prepare(model, kind, rows=32)
            close(laid(batch), model(batch), 1e-4 if kind == "fp32" else 0.1)
            gap = (laid(batch) - model(batch)).abs().mean()
            moved_by = (of(name)(batch) - model(batch)).abs().mean()
            assert gap < moved_by / 10


def test_merging_gives_the_same_logits(base):
    for tuning in (EVERYWHERE, LoRATuning(rank=2, dora=True, rslora=True)):
        model, batch = moved(adapters.adapt(base, tuning)), batch_for(base)
        with torch.no_grad():
            whole = adapters.merged(model)
            close(whole(batch), model(batch), 2e-4)
        assert not list(adapters.additions_of(whole))
        fresh = build(whole.spec, VOCABULARY)
        assert fresh.state_dict().keys() == whole.state_dict().keys()


def test_a_tied_model_is_untied_only_where_its_two_uses_differ():
    base = of("decoder")
    assert adapters.merged(moved(adapters.adapt(base, LoRATuning(targets=("q",))))).spec.tied
    assert not adapters.merged(moved(adapters.adapt(base, LoRATuning(targets=("lm_head",))))).spec.tied


def test_the_same_seed_gives_the_same_adapter():
    base = of("decoder")
    one, two, other = (adapters.adapt(base, LoRATuning(), seed=seed) for seed in (1, 1, 2))
    for name, tensor in adapters.tensors(one).items():
        assert torch.equal(tensor, adapters.tensors(two)[name])
    assert any(
        not torch.equal(tensor, adapters.tensors(other)[name])
        for name, tensor in adapters.tensors(one).items()
    )


def test_several_adapters_stand_on_one_base():
    base, batch = of("decoder"), None
    batch = batch_for(base)
    models = [moved(adapters.adapt(base, LoRATuning(rank=rank)), by) for rank, by in ((2, 0.1), (3, 0.3))]
    storage = base.embedding.weight.data_ptr()
    assert all(model.embedding.weight.data_ptr() == storage for model in models)
    with torch.no_grad():
        answers = [model(batch) for model in (base, *models)]
    assert not torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[1], answers[2])


# ---- targets


@pytest.mark.parametrize(
    ("targets", "names"),
    [
        (("q",), ["blocks.0.attention.q", "blocks.1.attention.q"]),
        (("q_proj", "v_proj"), [f"blocks.{i}.attention.{s}" for i in (0, 1) for s in "qv"]),
        (("blocks.1.*",), [f"blocks.1.{s}" for s in ("attention.q", "attention.k", "attention.v",
         "attention.output", "feedforward.gate", "feedforward.up", "feedforward.down")]),
        (("blocks.0.attention.*",), [f"blocks.0.attention.{s}" for s in ("q", "k", "v", "output")]),
        (("attention",), [f"blocks.{i}.attention.{s}" for i in (0, 1) for s in ("q", "k", "v", "output")]),
        (("blocks.0-1.attention.v",), ["blocks.0.attention.v", "blocks.1.attention.v"]),
        (("qkv",), ["blocks.0.attention.qkv", "blocks.1.attention.qkv"]),
        (("output",), ["output"]),
        (("attention.output",), ["blocks.0.attention.output", "blocks.1.attention.output"]),
        (("embed_tokens",), ["embedding"]),
    ],
)  # fmt: skip
def test_targets_name_layers(targets, names):
    assert sorted(site.name for site in adapters.chosen(of("decoder"), targets)) == sorted(names)


def test_all_linear_is_every_linear_layer_but_the_output():
    names = {site.name.rpartition(".")[2] for site in adapters.chosen(of("decoder, untied"), ("all-linear",))}
    assert names == {"q", "k", "v", "output", "gate", "up", "down"}
    assert "output" not in {site.name for site in adapters.chosen(of("decoder, untied"), ("all-linear",))}


def test_a_target_that_names_nothing_says_what_there_is():
    with pytest.raises(RecipeError, match="'c_attn' names no layer of this model.*there is q, k, v"):
        adapters.adapt(of("decoder"), LoRATuning(targets=("c_attn",)))


def test_a_layer_gets_one_addition():
    with pytest.raises(RecipeError, match="one too many"):
        adapters.adapt(of("decoder"), LoRATuning(targets=("q", "qkv")))


@settings(max_examples=30, deadline=None)
@given(
    st.sets(
        st.sampled_from(["q", "k", "v", "gate", "up", "down", "o_proj", "output", "embedding"]), min_size=1
    )
)
def test_any_set_of_targets_can_be_trained_and_merged(targets):
    base = of("decoder")
    model, batch = (
        moved(adapters.adapt(base, LoRATuning(rank=2, targets=tuple(sorted(targets))))),
        batch_for(base),
    )
    with torch.no_grad():
        close(adapters.merged(model)(batch), model(batch), 2e-4)
    model.train()
    causal(model, batch)[0].backward()
    assert all(tensor.grad is not None for tensor in adapters.tensors(model).values())


# ---- heads


def test_a_head_is_trained_beside_the_adapter():
    head = ClassifyHead(labels=("a", "b", "c"))
    base = shaken(build(SPECS["encoder"], VOCABULARY, head=head))
    model = adapters.adapt(base, LoRATuning(rank=2))
    trained = adapters.tensors(model)
    assert {name for name in trained if name.startswith("head.")} == {"head.weight", "head.bias"}
    assert all(".additions." in name for name in trained if name.startswith("body."))
    model(batch_for(base)).sum().backward()
    assert model.head.weight.grad is not None
    with torch.no_grad():
        close(adapters.merged(moved(model))(batch_for(base)), model(batch_for(base)), 2e-4)


# ---- 8 bits


@pytest.mark.parametrize("name", [name for name in SPECS if not name.startswith("recurrent-")])
def test_a_base_of_eight_bits_is_what_its_rounded_matrices_give(name):
    base = of(name)
    packed, rounded, batch = adapters.in_eight_bits(base), adapters.rounded(base), batch_for(base)
    with torch.no_grad():
        close(packed(batch), rounded(batch), 1e-4)
        assert not torch.equal(rounded(batch), base(batch))
    model = moved(adapters.adapt(packed, LoRATuning(rank=2)))
    after = adapters.load(adapters.adapt(rounded, LoRATuning(rank=2)), adapters.tensors(model)).eval()
    with torch.no_grad():
        close(after(batch), model(batch), 1e-4)
    model.train()
    causal(model, batch)[0].backward()
    assert all(tensor.grad is not None for key, tensor in adapters.tensors(model).items() if "pooler" not in key
               and "sentences" not in key)  # fmt: skip


@pytest.mark.parametrize("name", ["decoder", "decoder, untied", "encoder", "encoder-decoder"])
def test_packed_while_it_is_read_a_base_is_what_packing_the_whole_gives(name, tmp_path, tokenizer):
    """A directory and, where there is such an architecture, a .gguf file: the same bits, and no float32 matrix left."""
    base = shaken(build(SPECS[name], tokenizer.vocabulary), 0.05).eval()
    huggingface.write_directory(tmp_path / "model", base, tokenizer, GenerationSpec(), {})
    places = [tmp_path / "model"]
    if name == "decoder":
        write_gguf(tmp_path / "model.gguf", load(places[0]))
        places.append(tmp_path / "model.gguf")
    for place in places:
        whole = adapters.in_eight_bits(load(place).model)
        read = load(place, form=adapters.in_eight_bits).model
        wanted, held = whole.state_dict(), read.state_dict()
        assert held.keys() == wanted.keys()
        assert all(torch.equal(held[key], wanted[key]) for key in wanted)
        matrices = {
            key: tensor.dtype for key, tensor in held.items() if tensor.dim() > 1 and "blocks." in key
        }
        assert set(matrices.values()) == {torch.int8}, matrices
        batch = batch_for(read)
        with torch.no_grad():
            assert torch.equal(read(batch), whole(batch))
        described, loaded = load(place, None), load(place)
        assert (described.spec, described.tokenizer.id) == (loaded.spec, loaded.tokenizer.id)
        assert all(tensor.is_meta for tensor in described.model.state_dict().values())


def test_eight_bits_take_a_quarter_of_the_memory():
    base = build(DecoderSpec(d_model=256, layers=2, heads=4, d_ff=512), 1000)
    before = sum(tensor.nbytes for tensor in base.state_dict().values())
    packed = adapters.in_eight_bits(base)
    after = sum({tensor.data_ptr(): tensor.nbytes for tensor in packed.state_dict().values()}.values())
    assert after < 0.27 * before


# ---- loading


def test_loading_is_strict():
    base = of("decoder")
    model = adapters.adapt(base, LoRATuning(rank=2))
    held = dict(adapters.tensors(model))
    name = next(iter(held))
    with pytest.raises(DamagedError, match=f"holds no {name}"):
        adapters.load(model, {key: tensor for key, tensor in held.items() if key != name})
    with pytest.raises(DamagedError, match="holds extra, which the model does not have"):
        adapters.load(model, held | {"extra": torch.zeros(1)})
    with pytest.raises(DamagedError, match=f"{name} has the shape"):
        adapters.load(model, held | {name: held[name][:1]})


def test_the_id_of_a_base_is_that_of_its_weights():
    base = of("decoder")
    found = adapters.weights_id(base)
    assert adapters.weights_id(of("decoder")) != found  # other random weights
    assert adapters.weights_id(base) == found
    with torch.no_grad():
        base.norm.weight[3] += 1e-6
    assert adapters.weights_id(base) != found


# ---- virtual tokens


@pytest.mark.parametrize("tuning", [PromptTuning(tokens=4), PrefixTuning(tokens=4)], ids=["prompt", "prefix"])
@pytest.mark.parametrize("name", ["decoder", "decoder, untied", "decoder, capped"])
def test_virtual_tokens_stand_before_every_text_however_it_is_read(name, tuning):
    """At once, step by step, padded on either side, packed."""
    model = moved(adapters.adapt(of(name), tuning))
    check_steps(model, batch_for(model), 4, (1, 2, 1, 1))
    check_lengths(model)
    check_documents(model)
    batch = batch_for(model)
    with torch.no_grad():
        assert not torch.equal(model(batch), of(name)(batch))


def test_a_soft_prompt_that_is_tokens_is_those_tokens():
    """Lester et al. 2021: vectors that begin as those of a text give what the text before gives."""
    base = of("decoder")
    ids = tokens(3, seed=8)
    model = adapters.adapt(base, PromptTuning(tokens=3), prompt=ids)
    x = tokens(2, 9)
    with torch.no_grad():
        close(model(batch_of(x)), base(batch_of(torch.cat((ids.expand(2, -1), x), 1)))[:, 3:])


def test_a_prefix_that_is_tokens_is_those_tokens():
    """Li & Liang 2021: keys and values that are those of a text give what the text before gives."""
    base = of("decoder")
    ids, x = tokens(3, seed=8), tokens(2, 9)
    with torch.no_grad():
        _, state = base.begin(batch_of(ids[None]), 3)
        model = adapters.adapt(base, PrefixTuning(tokens=3))
        for block, layer in zip(model.body.blocks, state.layers, strict=True):
            block.attention.prefix.keys.copy_(layer.keys[0])
            block.attention.prefix.values.copy_(layer.values[0])
        close(model(batch_of(x)), base(batch_of(torch.cat((ids.expand(2, -1), x), 1)))[:, 3:])


def test_a_source_has_a_soft_prompt_before_it():
    model = moved(adapters.adapt(of("encoder-decoder, t5"), PromptTuning(tokens=4)))
    batch = batch_for(model)
    check_steps(model, batch, 4, (1, 2, 1, 1))
    padded = dataclasses.replace(
        batch,
        source=torch.nn.functional.pad(batch.source, (0, 3)),
        source_mask=torch.nn.functional.pad(torch.ones_like(batch.source, dtype=torch.bool), (0, 3)),
    )
    with torch.no_grad():
        close(model(padded), model(batch))


@pytest.mark.parametrize("tuning", [PromptTuning(tokens=4), PrefixTuning(tokens=4)], ids=["prompt", "prefix"])
def test_only_virtual_tokens_are_trained(tuning):
    model, batch = adapters.adapt(of("decoder"), tuning), batch_for(of("decoder"))
    model.train()
    causal(model, batch, chunk=4)[0].backward()
    assert adapters.tensors(model)
    assert all(tensor.grad.abs().sum() > 0 for tensor in adapters.tensors(model).values())


def test_a_conversation_goes_on_behind_virtual_tokens():
    model = moved(adapters.adapt(of("decoder"), PromptTuning(tokens=4)))
    cache, x = PrefixCache(model), tokens(1, 12)
    with torch.no_grad():
        cache.begin(batch_of(x[:, :6]), 12)
        last, _ = cache.begin(batch_of(x), 12)  # six of them are not read again
        close(last, model(batch_of(x))[:, -1])


def test_virtual_tokens_are_refused_where_they_cannot_be():
    with pytest.raises(RecipeError, match="for models that write"):
        adapters.adapt(of("encoder"), PromptTuning())
    with pytest.raises(RecipeError, match="takes no prefix"):
        adapters.adapt(of("encoder-decoder"), PrefixTuning())
    with pytest.raises(RecipeError, match="leave no room"):
        adapters.adapt(of("decoder"), PromptTuning(tokens=63))
    with pytest.raises(TextmillError, match="cannot be merged"):
        adapters.merged(adapters.adapt(of("decoder"), PromptTuning(tokens=3)))


def test_batch_norms_have_no_frozen_base():
    with pytest.raises(RecipeError, match="batch norms"):
        adapters.adapt(of("decoder", norm="batchnorm"), LoRATuning())
