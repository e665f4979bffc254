from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from textmill.base.errors import DamagedError, TextmillError
from textmill.tokenization import sentencepiece_model
from textmill.tokenization.json_read import Settings
from textmill.tokenization.load import PretrainedTokenizer, load, of
from textmill.tokenization.marian import MarianTokenizer

sentencepiece = pytest.importorskip("sentencepiece")

LEARNT_FROM = [
    *Path(__file__).read_text("utf-8").splitlines(),
    *["The quick brown fox jumps over the lazy dog; don't worry, he's fine!"] * 20,
    *["语言模型读很多文字，学会猜下一个词。训练一个分词器，先数一数哪些字常在一起。"] * 20,
    *["Straße naïve café 3.14 été 100 %"] * 20,
]
# How models people use were trained: T5, Llama 2, Gemma, and a BPE model that also squeezes spaces.
MODELS = {
    "unigram": {"model_type": "unigram"},
    "unigram bytes": {"model_type": "unigram", "byte_fallback": True, "normalization_rule_name": "identity"},
    "llama": {
        **{"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity"},
        **{"remove_extra_whitespaces": False, "allow_whitespace_only_pieces": True, "split_digits": True},
    },
    "gemma": {
        **{"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity"},
        **{
            "remove_extra_whitespaces": False,
            "allow_whitespace_only_pieces": True,
            "add_dummy_prefix": False,
        },
        "user_defined_symbols": ["▁▁", "▁▁▁", "<tag>"],
    },
    "bpe": {"model_type": "bpe", "normalization_rule_name": "nmt_nfkc"},
}
EXACT = ("unigram bytes", "llama", "gemma")  # no table of replacements
PLAIN = st.text(
    st.sampled_from(
        "abcdefthe THE,.!?'0123456789\"-–—“”…éßï语言模型学会的一中国。，！？１２ＡＢ\t\n\u3000\u00a0%"
    ),
    max_size=50,
)
BLANKS = (" ", "  ", "   ", "\n", "\t", "▁", "▁x", "\u200b")
WORDS = (
    *("the", "fox", "中文", "😀", "👩\u200d👩\u200d👧", "é", "1", "12", "don't", "!!!"),
    *("<s>", "</s>", "<unk>", "<0x41>", "<tag>"),
)
ODD = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40),
    st.lists(
        st.sampled_from((*BLANKS, *WORDS)),
        max_size=12,
    ).map("".join),
)


def trained(size: int = 450, **options: object) -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LEARNT_FROM),
        model_writer=model,
        vocab_size=size + (256 if options.get("byte_fallback") else 0),
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    return model.getvalue()


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return {name: trained(**options) for name, options in MODELS.items()}


@pytest.fixture(scope="module")
def theirs(files):
    return {name: sentencepiece.SentencePieceProcessor(model_proto=data) for name, data in files.items()}


@pytest.fixture(scope="module")
def ours(files) -> dict[str, PretrainedTokenizer]:
    said = Settings(tokens={"eos_token": "</s>"})
    return {
        name: of(sentencepiece_model.read(data, name).document(), name, said) for name, data in files.items()
    }


def check(ours, theirs, name: str, text: str) -> None:
    """The same ids, or of unigrams others that are as likely: among those the order of sums in float32 chooses."""
    model, ids, wanted = theirs[name], ours[name].encode(text).tolist(), theirs[name].encode(text)
    if "unigram" in name and ids != wanted:
        ways = [("".join(map(model.id_to_piece, way)), way.count(model.unk_id())) for way in (ids, wanted)]
        assert ways[0] == ways[1]
        scores = [math.fsum(map(model.get_score, way)) for way in (ids, wanted)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-4)
    else:
        assert ids == wanted
    if theirs[name].unk_id() not in ids:
        decoded = ours[name].decode(ids)
        if "\ufffd" not in decoded:
            assert decoded == theirs[name].decode(ids)


@pytest.mark.parametrize("name", MODELS)
@settings(deadline=None, max_examples=200)
@given(text=PLAIN)
@example(text="0" * 9)  # a zero and four pairs of zeros, in any order
def test_ordinary_text(ours, theirs, name, text):
    """English and Chinese, full-width forms, spaces of many kinds."""
    check(ours, theirs, name, text)


@pytest.mark.parametrize("name", EXACT)
@settings(deadline=None, max_examples=300)
@given(text=ODD)
def test_any_text(ours, theirs, name, text):
    assume(name != "llama" or "<tag>" not in text)
    check(ours, theirs, name, text)


@pytest.mark.parametrize("name", MODELS)
def test_long_text(ours, theirs, name):
    check(ours, theirs, name, "\n".join(LEARNT_FROM))


def test_what_a_model_says(files):
    found = sentencepiece_model.read(files["llama"], "here")
    assert (found.unk, found.bos, found.eos, found.pad) == (0, 1, 2, -1)
    assert (found.kind, found.add_prefix, found.squeeze, found.charsmap) == (
        sentencepiece_model.BPE,
        True,
        False,
        b"",
    )
    assert sentencepiece_model.read(files["unigram"], "here").charsmap


def test_kinds_that_are_refused():
    for options in ({"model_type": "word"}, {"model_type": "char"}, {"treat_whitespace_as_suffix": True}):
        with pytest.raises(TextmillError, match="here: "):
            sentencepiece_model.read(trained(200, **options), "here")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x0a",
        b"\x0a\xff\xff\xff\xff\x7f",
        b"\xff" * 20,
        b"\x08\x01",
        b"\x0b",
        b"\x0a\x02\x0a\x00",
        b"{}",
    ],
)
def test_files_that_are_none(data):
    with pytest.raises(DamagedError, match="here"):
        sentencepiece_model.read(data, "here")


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_damage_is_said_or_harmless(files, data):
    whole = bytearray(files["unigram bytes"][:4000] + files["unigram bytes"][-200:])
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    for damaged in (bytes(whole), bytes(whole[:cut])):
        try:
            document = sentencepiece_model.read(damaged, "here").document()
            of(document, "here", Settings(tokens={"eos_token": "</s>"})).encode("The fox")
        except TextmillError:
            pass


def test_t5_directory(files, tmp_path):
    """spiece.model alone: sentinels follow the pieces, the last one first, and a text ends in </s>."""
    (tmp_path / "spiece.model").write_bytes(files["unigram"])
    (tmp_path / "config.json").write_text('{"model_type": "t5", "decoder_start_token_id": 0}')
    found = load(tmp_path)
    size = sentencepiece.SentencePieceProcessor(model_proto=files["unigram"]).vocab_size()
    assert found.vocabulary == size + 100
    assert found.sentinels[:2] == (size + 99, size + 98)
    assert (found.prefix, found.suffix, found.end, found.start) == ((), (2,), 2, 0)
    assert not set(found.encode("a <extra_id_0> </s> b").tolist()) & {size + 99, 2}


def test_llama_directory(files, tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(files["llama"])
    found = load(tmp_path)
    assert (found.prefix, found.suffix, found.end) == ((1,), (), 2)
    assert found.names["bos_token"] == "<s>"
    (tmp_path / "tokenizer_config.json").write_text('{"add_bos_token": false, "add_eos_token": true}')
    found = load(tmp_path)
    assert (found.prefix, found.suffix) == ((), (2,))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "XLMRobertaTokenizer"}')
    with pytest.raises(TextmillError, match="numbers its pieces differently"):
        load(tmp_path)


@pytest.fixture(scope="module")
def marian(files, tmp_path_factory) -> Path:
    """A directory in Marian's layout, whose ids are those of neither model."""
    directory = tmp_path_factory.mktemp("marian")
    source, target = files["unigram"], trained(300, model_type="unigram", character_coverage=1.0)
    pieces = {
        ">>de<<",
        *(
            one.id_to_piece(number)
            for one in (sentencepiece.SentencePieceProcessor(model_proto=data) for data in (source, target))
            for number in range(one.vocab_size())
        ),
    } - {"<s>", "</s>", "<unk>", "😀"}
    kept = sorted(pieces)[::-1]
    names = ["</s>", "<unk>", *kept[: len(kept) * 9 // 10], "😀", "<pad>"]
    (directory / "source.spm").write_bytes(source)
    (directory / "target.spm").write_bytes(target)
    (directory / "vocab.json").write_text(json.dumps({name: number for number, name in enumerate(names)}))
    (directory / "tokenizer_config.json").write_text('{"source_lang": "en", "target_lang": "de"}')
    return directory


def test_marian_beside_transformers(marian):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.MarianTokenizer.from_pretrained(str(marian))
    ours = load(marian)
    assert isinstance(ours, MarianTokenizer)
    assert (ours.end, ours.pad, ours.vocabulary) == (theirs.eos_token_id, theirs.pad_token_id, len(theirs))
    texts = [
        "The quick brown fox.",
        "语言模型 Straße",
        " two  blanks ",
        "x😀y",
        "",
        ">>de<< The fox",
        ">>fr<< The fox",
        *(text for text in LEARNT_FROM[:60] if "<" not in text),  # there, `</s>` in a text is the end
    ]
    for text in texts:
        ids = [*ours.prefix, *ours.encode(text).tolist(), *ours.suffix]
        assert ids == theirs(text)["input_ids"]
        target = [*ours.encode_target(text).tolist(), *ours.suffix]
        if not text.startswith(">>"):
            assert target == theirs(text_target=text)["input_ids"]
        assert ours.decode(target).strip() == theirs.decode(target, skip_special_tokens=True)
        stream = ours.stream()
        assert "".join([stream.push(token) for token in target]) + stream.finish() == ours.decode(target)
    special = set(ours.special.values()) - {ours.special["<unk>"]}
    for text in ("</s>", "a <pad> b", "x </s>>>de<<", "</s>😀"):
        assert not set(ours.encode(text).tolist()) & special
        assert not set(ours.encode_target(text).tolist()) & special


def test_marian_saved_and_damaged(marian, tmp_path):
    ours = load(marian)
    ours.save(tmp_path)
    assert load(tmp_path).id == ours.id
    for vocabulary in (
        "[]",
        "{}",
        '{"a": "b"}',
        '{"a": -1}',
        '{"</s>": 0}',
        '{"</s>": 10000000000, "<pad>": 1, "<unk>": 2}',
    ):
        (tmp_path / "vocab.json").write_text(vocabulary)
        with pytest.raises(DamagedError, match=r"vocab\.json"):
            load(tmp_path)


BERT = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "the",
    "fox",
    "##es",
    "The",
    "is",
    "n",
    "##'",
    "'",
    "t",
    "中",
    "e",
    "é",
    "##e",
]


@pytest.mark.parametrize("lower", [True, False])
def test_a_vocab_txt_reads_as_in_transformers(lower, tmp_path):
    transformers = pytest.importorskip("transformers")
    (tmp_path / "vocab.txt").write_text("\n".join(BERT) + "\n")
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"do_lower_case": lower, "tokenizer_class": "BertTokenizer"})
    )
    theirs = transformers.BertTokenizer(str(tmp_path / "vocab.txt"), do_lower_case=lower)
    ours = load(tmp_path)
    for text in ("The foxes isn't 中 É é", "the THE", ""):
        ids = [*ours.prefix, *ours.encode(text).tolist(), *ours.suffix]
        assert ids == theirs(text)["input_ids"]
    assert (ours.mask, ours.pad, ours.end) == (4, 0, 3)
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(DamagedError, match="UNK"):
        load(tmp_path)


def test_vocab_and_merges_read_as_in_transformers(tmp_path):
    """RoBERTa's layout; GPT-2's is the same with another end."""
    transformers = pytest.importorskip("transformers")
    import tokenizers

    other = tokenizers.ByteLevelBPETokenizer()
    other.train_from_iterator(
        LEARNT_FROM,
        vocab_size=400,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        show_progress=False,
    )
    other.save_model(str(tmp_path))
    theirs = transformers.RobertaTokenizer.from_pretrained(str(tmp_path))
    ours = load(tmp_path)
    for text in ("The quick  brown fox isn't 12 \n here", "语言😀"):
        ids = [*ours.prefix, *ours.encode(text).tolist(), *ours.suffix]
        assert ids == theirs(text)["input_ids"]
        assert ours.decode(ids) == text
    assert (ours.mask, ours.pad, ours.end, ours.separator) == (4, 1, 2, 2)
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b c\n")
    with pytest.raises(DamagedError, match="merge"):
        load(tmp_path)
