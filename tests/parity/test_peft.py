"""Adapters in PEFT's layout: what peft wrote is read here and what is written here peft reads, outputs equal to 1e-5;
and a directory that is not whole, or of another base, is refused."""

import json
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.published import GPT2, T5, shaken
from textmill.base.errors import DamagedError, TextmillError
from textmill.data.batch import Batch
from textmill.interop.huggingface import directory as huggingface
from textmill.interop.huggingface.peft import directory as layout
from textmill.models import adapters
from textmill.models.build import build
from textmill.models.heads import attach
from textmill.nn.shared import shared
from textmill.specs.head import ClassifyHead
from textmill.specs.model import DecoderSpec, EncoderDecoderSpec, EncoderSpec
from textmill.specs.position import RotaryPositions
from textmill.specs.recipe import GenerationSpec
from textmill.specs.tuning import LoRATuning, PrefixTuning, PromptTuning

transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

SMALL = {"d_model": 32, "layers": 2, "heads": 4, "d_ff": 48, "context": 64, "dropout": 0.0}
SPECS = {
    "llama": DecoderSpec(**SMALL, kv_heads=2),
    "qwen2": DecoderSpec(**SMALL, bias="qkv", tied=False, norm_eps=1e-6),
    "gemma3": DecoderSpec(
        **SMALL,
        placement="sandwich",
        qk_norm=True,
        scaled_embedding=True,
        activation="geglu_tanh",
        kv_heads=2,
        position=RotaryPositions(theta=1e6),
        attention_scale=0.25,
    ),
    "gpt2": DecoderSpec(**SMALL, **GPT2),
    "bert": EncoderSpec(**SMALL),
    "t5": EncoderDecoderSpec(**SMALL, **T5, tied=False),
}
TARGETS = {  # of theirs, several of one fused matrix among them
    "gpt2": ["c_attn", "mlp.c_proj"],
    "bert": ["query", "value", "attention.output.dense"],
    "t5": ["q", "v", "wi", "lm_head"],
}
LLAMA = ["q_proj", "v_proj", "gate_proj", "down_proj"]
CLASSES = {"bert": "AutoModelForMaskedLM", "t5": "AutoModelForSeq2SeqLM"}


class Pair:
    """A base as both see it."""

    def __init__(self, name, folder, tokenizer):
        self.name, self.path = name, folder / name
        model = shaken(build(SPECS[name], tokenizer.vocabulary), 0.1)
        huggingface.write_directory(self.path, model, tokenizer, GenerationSpec(temperature=0.0), {})
        self.base = huggingface.read_directory(self.path).model
        generator = torch.Generator().manual_seed(5)
        self.x = torch.randint(5, 250, (2, 9), generator=generator)
        self.source = torch.randint(5, 250, (2, 7), generator=generator) if name == "t5" else None

    def theirs(self):
        """A fresh copy: peft changes what it is given."""
        cls = getattr(transformers, CLASSES.get(self.name, "AutoModelForCausalLM"))
        return cls.from_pretrained(self.path, local_files_only=True).eval()

    @torch.no_grad()
    def check(self, ours, theirs):
        mine = ours(Batch(self.x, self.x, source=self.source))
        if self.source is None:
            given = {"input_ids": self.x, "attention_mask": torch.ones_like(self.x)}
        else:
            given = {"input_ids": self.source, "attention_mask": torch.ones_like(self.source)}
            given |= {"decoder_input_ids": self.x}
        logits = theirs.eval()(**given).logits[:, -self.x.shape[1] :]
        torch.testing.assert_close(mine, logits, rtol=0, atol=1e-5)
        assert (mine - self.base(Batch(self.x, self.x, source=self.source))).abs().max() > 1e-3


@pytest.fixture(scope="module")
def pairs(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("bases")
    return {name: Pair(name, folder, tokenizer) for name in SPECS}


@pytest.fixture(params=SPECS)
def pair(request, pairs):
    return pairs[request.param]


@torch.no_grad()
def moved(parameters, by=0.05):
    for parameter in parameters:
        parameter.add_(torch.randn_like(parameter) * by)


def by_peft(pair, folder, **options):
    """(peft's model, where it was saved)."""
    task = {"bert": None, "t5": "SEQ_2_SEQ_LM"}.get(pair.name, "CAUSAL_LM")
    model = peft.get_peft_model(pair.theirs(), peft.LoraConfig(task_type=task, **options))
    moved(parameter for name, parameter in model.named_parameters() if "lora_" in name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_pretrained(folder)
    return model, folder


@pytest.mark.parametrize(
    "options",
    [{}, {"use_dora": True}, {"use_rslora": True, "r": 4, "lora_alpha": 7}],
    ids=["lora", "dora", "rslora"],
)
def test_what_peft_wrote_is_read(pair, options, tmp_path):
    theirs, path = by_peft(pair, tmp_path / "a", target_modules=TARGETS.get(pair.name, LLAMA), **options)
    pair.check(layout.read(path, pair.base), theirs)


def test_all_linear_of_peft_is_read(pair, tmp_path):
    theirs, path = by_peft(pair, tmp_path / "a", target_modules="all-linear")
    pair.check(layout.read(path, pair.base), theirs)


def test_embeddings_and_output_layers_of_peft_are_read(pairs, tmp_path):
    for name in ("llama", "qwen2", "gemma3"):
        theirs, path = by_peft(
            pairs[name], tmp_path / name, target_modules=["v_proj", "lm_head", "embed_tokens"]
        )
        pairs[name].check(layout.read(path, pairs[name].base), theirs)


def test_patterns_of_ranks_and_alphas_are_read(pairs, tmp_path):
    options = {"rank_pattern": {"layers.1.self_attn.q_proj": 5}, "alpha_pattern": {"v_proj": 3}}
    theirs, path = by_peft(pairs["llama"], tmp_path / "a", target_modules=LLAMA, **options)
    pairs["llama"].check(layout.read(path, pairs["llama"].base), theirs)


OURS = {
    "all": LoRATuning(),
    "some": LoRATuning(targets=("q_proj", "v", "down"), rank=3),
    "whole": LoRATuning(targets=("qkv",)),
    "ends": LoRATuning(targets=("lm_head", "q"), rslora=True),
    "dora": LoRATuning(dora=True),
    "dora, whole": LoRATuning(targets=("qkv",), dora=True),
}


def written(pair, tuning, folder):
    model = adapters.adapt(pair.base, tuning).eval()
    moved(adapters.tensors(model).values())
    layout.write(folder, model, tuning, layout.Base(str(pair.path), adapters.weights_id(pair.base)))
    return model


@pytest.mark.parametrize(
    ("name", "tuning"),
    [("llama", name) for name in OURS]
    + [("gpt2", name) for name in ("all", "dora", "whole")]  # its three are one matrix there, too
    + [(name, "some") for name in ("qwen2", "gemma3", "bert")]
    + [("t5", "all"), ("gemma3", "ends")],
)
def test_peft_reads_what_is_written(pairs, name, tuning, tmp_path):
    pair = pairs[name]
    model = written(pair, OURS[tuning], tmp_path / "a")
    pair.check(model, peft.PeftModel.from_pretrained(pair.theirs(), tmp_path / "a"))
    pair.check(
        layout.read(tmp_path / "a", pair.base), peft.PeftModel.from_pretrained(pair.theirs(), tmp_path / "a")
    )


def test_an_adapter_comes_back_to_the_bit(pairs, tmp_path):
    """Where both keep the same sections apart."""
    for name in ("llama", "gemma3", "bert", "t5"):
        model = written(pairs[name], LoRATuning(dora=True), tmp_path / name)
        again = adapters.tensors(layout.read(tmp_path / name, pairs[name].base))
        for key, tensor in adapters.tensors(model).items():
            assert torch.equal(tensor, again[key]), key


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2", "t5"])
@pytest.mark.parametrize("kind", ["PromptTuning", "PrefixTuning"])
def test_virtual_tokens_go_both_ways(pairs, name, kind, tmp_path):
    pair = pairs[name]
    if name == "t5" and kind == "PrefixTuning":
        return
    task = "SEQ_2_SEQ_LM" if name == "t5" else "CAUSAL_LM"
    theirs = peft.get_peft_model(
        pair.theirs(), getattr(peft, kind + "Config")(task_type=task, num_virtual_tokens=5)
    )
    theirs.save_pretrained(tmp_path / "theirs")
    pair.check(layout.read(tmp_path / "theirs", pair.base), theirs)
    tuning = PromptTuning(tokens=5) if kind == "PromptTuning" else PrefixTuning(tokens=5)
    model = written(pair, tuning, tmp_path / "ours")
    pair.check(model, peft.PeftModel.from_pretrained(pair.theirs(), tmp_path / "ours"))
    pair.check(layout.read(tmp_path / "ours", pair.base), model_of(pair, tmp_path / "ours"))


def model_of(pair, path):
    return peft.PeftModel.from_pretrained(pair.theirs(), path)


def test_a_head_is_kept_with_the_adapter(pairs, tmp_path):
    """peft's modules_to_save: the head that a classifier was given, and trained."""
    pair, head = pairs["bert"], ClassifyHead(labels=("a", "b", "c"))
    model = adapters.adapt(attach(shared(pair.base), head, seed=3), LoRATuning(targets=("q", "v"))).eval()
    moved(adapters.tensors(model).values())
    base = layout.Base(str(pair.path), adapters.weights_id(pair.base))
    layout.write(tmp_path / "a", model, LoRATuning(targets=("q", "v")), base)
    assert json.loads((tmp_path / "a" / layout.CONFIG).read_text())["modules_to_save"] == ["classifier"]
    body = transformers.AutoModelForSequenceClassification.from_pretrained(pair.path, num_labels=3)
    theirs = peft.PeftModel.from_pretrained(body, tmp_path / "a").eval()
    again = layout.read(tmp_path / "a", huggingface.read_directory(pair.path).model)
    with torch.no_grad():
        mine, logits = model(Batch(pair.x, pair.x)), theirs(input_ids=pair.x).logits
        torch.testing.assert_close(mine, logits, rtol=0, atol=1e-5)
        assert torch.equal(again(Batch(pair.x, pair.x)), mine)


# ---- what is refused


@pytest.fixture
def adapter(pairs, tmp_path):
    written(pairs["llama"], LoRATuning(targets=("q", "v")), tmp_path / "a")
    return tmp_path / "a"


def changed(path, change):
    table = json.loads(path.read_text())
    change(table)
    path.write_text(json.dumps(table))


def test_another_base_is_refused(pairs, adapter):
    with pytest.raises(TextmillError, match=r"was trained on other weights"):
        layout.read(adapter, pairs["gemma3"].base)


def test_a_base_that_changed_is_refused(pairs, adapter):
    base = huggingface.read_directory(pairs["llama"].path).model
    with torch.no_grad():
        base.norm.weight[0] += 1e-3
    with pytest.raises(TextmillError, match=r"its base is .*llama"):
        layout.read(adapter, base)


def test_a_missing_tensor_is_named(pairs, adapter):
    held = load_file(adapter / layout.WEIGHTS)
    for name in sorted(held)[:2]:
        save_file({key: tensor for key, tensor in held.items() if key != name}, adapter / layout.WEIGHTS)
        with pytest.raises(DamagedError, match=rf"holds no {name}"):
            layout.read(adapter, pairs["llama"].base)
    save_file(
        {key: tensor for key, tensor in held.items() if ".layers.1." not in key}, adapter / layout.WEIGHTS
    )
    with pytest.raises(DamagedError, match=r"holds no base_model.model.model.layers.1.self_attn.q_proj"):
        layout.read(adapter, pairs["llama"].base)


def test_a_tensor_too_many_is_named(pairs, adapter):
    held = load_file(adapter / layout.WEIGHTS)
    extra = "base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight"
    save_file(held | {extra: torch.zeros(8, 32)}, adapter / layout.WEIGHTS)
    with pytest.raises(DamagedError, match=rf"holds {extra}"):
        layout.read(adapter, pairs["llama"].base)


def test_a_wrong_shape_or_rank_is_named(pairs, adapter):
    held = load_file(adapter / layout.WEIGHTS)
    name = next(name for name in held if name.endswith("lora_A.weight"))
    save_file(held | {name: torch.zeros(8, 31)}, adapter / layout.WEIGHTS)
    with pytest.raises(DamagedError, match="has the shape"):
        layout.read(adapter, pairs["llama"].base)
    save_file(held | {name: torch.zeros(7, 32)}, adapter / layout.WEIGHTS)
    with pytest.raises(DamagedError, match="has the rank 7"):
        layout.read(adapter, pairs["llama"].base)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_found(pairs, adapter, share):
    data = (adapter / layout.WEIGHTS).read_bytes()
    (adapter / layout.WEIGHTS).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DamagedError, match="not a whole safetensors file"):
        layout.read(adapter, pairs["llama"].base)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("bias", "all"),
        ("lora_bias", True),
        ("init_lora_weights", "pissa"),
        ("layer_replication", [[0, 2], [1, 2]]),
    ],
)
def test_settings_that_change_the_result_are_refused(pairs, adapter, key, value):
    changed(adapter / layout.CONFIG, lambda table: table.update({key: value}))
    with pytest.raises(TextmillError, match=f"{key} = .* is not supported"):
        layout.read(adapter, pairs["llama"].base)


def test_another_kind_of_adapter_is_refused(pairs, adapter):
    changed(adapter / layout.CONFIG, lambda table: table.update(peft_type="IA3"))
    with pytest.raises(
        TextmillError, match="peft_type 'IA3' is not supported.*LORA, PROMPT_TUNING, PREFIX_TUNING"
    ):
        layout.read(adapter, pairs["llama"].base)


def test_recurrent_models_have_adapters_of_their_own_names(tmp_path, tokenizer):
    from textmill.specs.model import RecurrentSpec

    base = shaken(build(RecurrentSpec(d_model=32, layers=1, attention=True), tokenizer.vocabulary), 0.1)
    tuning = LoRATuning(targets=("q", "output", "lm_head"))
    model = adapters.adapt(base, tuning).eval()
    moved(adapters.tensors(model).values())
    layout.write(tmp_path / "a", model, tuning, layout.Base("base", adapters.weights_id(base)))
    x = torch.randint(5, 250, (2, 9))
    with torch.no_grad():
        assert torch.equal(layout.read(tmp_path / "a", base)(Batch(x, x)), model(Batch(x, x)))


def test_a_base_of_eight_bits_is_rounded_when_its_adapter_is_read(pairs, tmp_path):
    pair, tuning = pairs["llama"], LoRATuning(targets=("q",), base="int8")
    model = adapters.adapt(adapters.in_eight_bits(pair.base), tuning).eval()
    moved(adapters.tensors(model).values())
    layout.write(tmp_path / "a", model, tuning, layout.Base("base", adapters.weights_id(pair.base)))
    batch = Batch(pair.x, pair.x)
    with torch.no_grad():
        torch.testing.assert_close(
            layout.read(tmp_path / "a", pair.base)(batch), model(batch), rtol=0, atol=1e-4
        )
