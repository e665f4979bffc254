"""Models of others, written anew: transformers reads of ours what it reads of theirs, and what we read ourselves."""

from __future__ import annotations

import io
import json

import pytest
import torch

from textmill.interop import alone, hostile, parity
from textmill.interop.huggingface import directory

transformers = pytest.importorskip("transformers")
sentencepiece = pytest.importorskip("sentencepiece")
tokenizers = pytest.importorskip("tokenizers")

TEXTS = [
    "the mill stood where the two streams met",
    "磨坊在两条小溪交汇的地方 x",
    "naïve café 12 345, don't!",
]
LEARNT_FROM = [*TEXTS, "a small model says small things"] * 30
SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
BART = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "max_position_embeddings": 64}
BART |= {f"{side}_attention_heads": 4 for side in ("encoder", "decoder")}
BART |= {f"{side}_ffn_dim": 48 for side in ("encoder", "decoder")}
TURNS = (
    "{% for m in messages %}<s>{{ m.role }}\n{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)


def trained(**more) -> bytes:
    """A SentencePiece model, learnt here."""
    model = io.BytesIO()
    usual = {"vocab_size": 300, "minloglevel": 2, "hard_vocab_limit": False, "character_coverage": 1.0}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LEARNT_FROM), model_writer=model, **usual | more
    )
    return model.getvalue()


def wordpiece(place):
    """BERT's: [CLS] and [SEP] around, lower case."""
    words = sorted({letter for text in TEXTS for letter in text.lower() if not letter.isspace()})
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *words,
        *(f"##{word}" for word in words),
        "the",
        "mill",
    ]
    (place / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    transformers.BertTokenizerFast(str(place / "vocab.txt")).save_pretrained(place)
    return len(words)


def byte_level(place, *, around=True, **said):
    """RoBERTa's and BART's, or without anything around a text that of GPT-2."""
    models, processors = tokenizers.models, tokenizers.processors
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    names = ["<s>", "<pad>", "</s>", "<unk>", tokenizers.AddedToken("<mask>", lstrip=True, special=True)]
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        LEARNT_FROM,
        tokenizers.trainers.BpeTrainer(
            vocab_size=320, special_tokens=names, initial_alphabet=alphabet, show_progress=False
        ),
    )
    if around:
        made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    made.save(str(place / "tokenizer.json"))
    named = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    named |= {"cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"} if around else {}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **named, **said}
    (place / "tokenizer_config.json").write_text(json.dumps(config))
    return made.get_vocab_size()


def sentences(place, name, **said):
    """SentencePiece, as it comes: `name` is the file's."""
    t5 = name == "spiece.model"
    kind = {"model_type": "unigram", "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1} if t5 else LLAMA
    (place / name).write_bytes(trained(**kind))
    count = sentencepiece.SentencePieceProcessor(model_file=str(place / name)).vocab_size()
    (place / "tokenizer_config.json").write_text(json.dumps(said))
    return count + (100 if t5 else 0)


LLAMA = {
    "model_type": "bpe",
    "byte_fallback": True,
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
    "vocab_size": 500,
}


def marian(place):
    """Two models that cut sources and targets otherwise, and one table of ids."""
    pieces: set[str] = set()
    for name, more in (("source.spm", {}), ("target.spm", {"vocab_size": 220, "model_type": "bpe"})):
        data = trained(**more)
        (place / name).write_bytes(data)
        made = sentencepiece.SentencePieceProcessor(model_proto=data)
        pieces |= {made.id_to_piece(number) for number in range(made.vocab_size())}
    names = ["</s>", "<unk>", *sorted(pieces - {"<s>", "</s>", "<unk>"}), "<pad>"]
    (place / "vocab.json").write_text(json.dumps({name: number for number, name in enumerate(names)}))
    config = {"source_lang": "en", "target_lang": "de", "model_max_length": 48}
    (place / "tokenizer_config.json").write_text(json.dumps(config))
    return len(names)


IDS = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
MADE = {
    "bert": (wordpiece, "BertForMaskedLM", "BertConfig", SMALL),
    "bert-classify": (wordpiece, "BertForSequenceClassification", "BertConfig", SMALL | {"num_labels": 3}),
    "bert-answer": (wordpiece, "BertForQuestionAnswering", "BertConfig", SMALL),
    "bert-body": (wordpiece, "BertModel", "BertConfig", SMALL),
    "distilbert-tag": (
        wordpiece,
        "DistilBertForTokenClassification",
        "DistilBertConfig",
        {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 64},
    ),
    "roberta": (
        byte_level,
        "RobertaForMaskedLM",
        "RobertaConfig",
        SMALL | IDS | {"max_position_embeddings": 66, "type_vocab_size": 1},
    ),
    "roberta-answer": (
        byte_level,
        "RobertaForQuestionAnswering",
        "RobertaConfig",
        SMALL | IDS | {"max_position_embeddings": 66, "type_vocab_size": 1},
    ),
    "gpt2": (
        lambda place: byte_level(place, around=False, model_max_length=60),
        "GPT2LMHeadModel",
        "GPT2Config",
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "bos_token_id": 0, "eos_token_id": 2},
    ),
    "gpt2-classify": (
        lambda place: byte_level(place, around=False),
        "GPT2ForSequenceClassification",
        "GPT2Config",
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "num_labels": 3} | IDS,
    ),
    "bert-nothing-around": (
        lambda place: byte_level(place, around=False),
        "BertForSequenceClassification",
        "BertConfig",
        SMALL | {"num_labels": 3},
    ),
    "llama-chat": (
        lambda place: byte_level(place, around=False, chat_template=TURNS, padding_side="left"),
        "LlamaForCausalLM",
        "LlamaConfig",
        SMALL | IDS,
    ),
    "llama-spm": (
        lambda place: sentences(place, "tokenizer.model", tokenizer_class="LlamaTokenizer", add_bos_token=True),
        "LlamaForCausalLM",
        "LlamaConfig",
        SMALL | {"bos_token_id": 1, "eos_token_id": 2},
    ),
    "bart": (byte_level, "BartForConditionalGeneration", "BartConfig", BART | IDS | {"decoder_start_token_id": 2}),
    "t5": (
        lambda place: sentences(place, "spiece.model", tokenizer_class="T5Tokenizer", model_max_length=50),
        "T5ForConditionalGeneration",
        "T5Config",
        {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0},
    ),
    "marian": (marian, "MarianMTModel", "MarianConfig", BART | {"scale_embedding": True, "eos_token_id": 0}),
}  # fmt: skip


@pytest.fixture(scope="module", params=MADE)
def pair(request, tmp_path_factory):
    """(name, a directory of others, ours of it)."""
    write, cls, config, shape = MADE[request.param]
    theirs, ours = (tmp_path_factory.mktemp(request.param) / name for name in ("theirs", "ours"))
    theirs.mkdir()
    size = write(theirs)
    more = {"pad_token_id": size - 1, "decoder_start_token_id": size - 1} if request.param == "marian" else {}
    torch.manual_seed(0)
    model = getattr(transformers, cls)(getattr(transformers, config)(vocab_size=size, **shape, **more)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight) * 0.15)
    model.save_pretrained(theirs)
    directory.write(ours, directory.read_directory(theirs))
    return request.param, theirs, ours


@torch.no_grad()
def test_what_is_written_anew_says_everything(pair):
    _, _, ours = pair
    report = parity.verify(ours, TEXTS, tokens=32)
    assert not [check for check in report.checks if check.state == "failed"]
    assert {check.name for check in report.checks} >= {"AutoTokenizer", "transformers from text"}


def test_transformers_reads_of_ours_what_it_reads_of_theirs(pair):
    name, theirs, ours = pair
    before, after = (transformers.AutoTokenizer.from_pretrained(place) for place in (theirs, ours))
    # Of a SentencePiece file alone transformers makes a tokenizer that squeezes spaces, which SentencePiece does not.
    odd = hostile.texts(30, seed=5) if name != "llama-spm" else []
    for text in [*TEXTS, *odd]:
        assert after(text)["input_ids"] == before(text)["input_ids"]
    if not name.startswith(("gpt2", "llama")):  # which read one text at a time
        assert after(*TEXTS[:2])["input_ids"] == before(*TEXTS[:2])["input_ids"]
    if before.model_max_length < 1e6:
        assert after.model_max_length == before.model_max_length
    if name.startswith(("gpt2", "llama-chat")):
        assert after.padding_side == before.padding_side
    for role in ("eos_token", "pad_token", "mask_token", "unk_token"):
        if getattr(before, role) is not None:
            assert getattr(after, role) == getattr(before, role)
    if before.mask_token is not None:
        masked = f"the {before.mask_token} stood"
        assert after(masked)["input_ids"] == before(masked)["input_ids"]
    if before.chat_template is not None:
        talk = [{"role": "user", "content": "the mill"}]
        asked = {"add_generation_prompt": True, "return_dict": True}
        ids = [one.apply_chat_template(talk, **asked)["input_ids"] for one in (before, after)]
        assert ids[0] == ids[1]
    configs = [transformers.AutoConfig.from_pretrained(place) for place in (theirs, ours)]
    for key in ("bos_token_id", "decoder_start_token_id"):
        if (number := getattr(configs[0], key, None)) is not None:
            assert getattr(configs[1], key) == number


@pytest.mark.slow
@torch.no_grad()
def test_a_thousand_hostile_texts(pair):
    _, _, ours = pair
    pretrained = directory.read_directory(ours)
    batches = parity.forward_passes.batches_of(pretrained, TEXTS, 32)
    reference = parity.forward_passes.alone(pretrained.model, batches)
    texts = hostile.texts(1000, special=list(pretrained.tokenizer.special), seed=2)
    checks = alone.checks(ours, pretrained, texts, reference, batches, tokens=32)
    assert not [check for check in checks if check.state == "failed"]
