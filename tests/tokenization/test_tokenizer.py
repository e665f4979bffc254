from __future__ import annotations

import json
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.base.errors import DamagedError, TextmillError
from textmill.base.files import content_id
from textmill.specs.recipe import TokenizerSpec
from textmill.tokenization.engines import choose
from textmill.tokenization.tokenizer import CONTINUES, SPECIAL, Tokenizer
from textmill.tokenization.training import train

KINDS = ("bpe", "unigram", "wordpiece", "characters", "bytes")
ENGINES = {
    "bpe": "tiktoken",
    "unigram": "tokenizers",
    "wordpiece": "tokenizers",
    "characters": "characters",
    "bytes": "bytes",
}
STDLIB = Path(sysconfig.get_path("stdlib"))
CODE = [
    (STDLIB / name).read_text("utf-8") for name in ("argparse.py", "ast.py", "json/decoder.py", "textwrap.py")
]
CHINESE = (
    "语言模型读很多文字，学会猜下一个词。训练一个分词器，先数一数哪些字常在一起，再把它们合成一个词元。"
    "他说：“今天天气很好，我们去公园吧！”她用Python写了300行代码，花了两个小时。\n"
    "機械学習のモデルはトークンを読みます。コンピューターで日本語の文章を書く。한국어 문장도 있습니다.\n"
)
MIXED = (
    "naïve café — “quotes” … x_1 += 3.14e-10; don't; I'LL; Straße; ﬁne; ΑΒΓ абв עברית हिन्दी ไทย 👩‍👩‍👧 🇨🇳 é\n"
)
LEARNT_FROM = [*CODE[:3], CHINESE * 20, MIXED * 20]
HOSTILE = [
    "",
    " ",
    "\n",
    "\r\n\r\n\t ",
    *SPECIAL,
    "".join(SPECIAL) * 3,
    "a<|endoftext|>b <|none|>",
    CONTINUES,
    f"{CONTINUES}a {CONTINUES * 3}b##c ## ##d",
    "<0x41><0xFF>▁a",
    "Ġthe Ċ Ā",
    "".join(map(chr, range(0x250))),
    "\x00\x01\x7f\x80\xff\ufeff\ufffe\uffff\U0010ffff",
    "ſ'ſ K 'S 'ﬀ",  # letters that fold to others when case is ignored
    "中" * 300,
    "a" * 300,
    " " * 300 + "x",
    "\n" * 300,
    "1" * 100,
    "e\u0301" * 100,
    "\u3000\u2003\u00a0\u200b\u2028x\u0085y",
    "\U0001e2c0\U00031350a\U000323b0\U00010940",  # letters of late Unicode versions
]
# Text as it comes, text that looks like code, and bytes read as text.
TEXTS = st.one_of(
    st.text(max_size=80),
    st.text(st.sampled_from(" \n\r\tabAB_.'\"(){}[]<|>=#09中国。é‿Ġ\u0301👩\u200d"), max_size=120),
    st.binary(max_size=80).map(lambda data: data.decode("utf-8", "replace")),
    st.binary(max_size=80).map(lambda data: data.decode("latin-1")),
)


@pytest.fixture(scope="session")
def trained() -> dict[str, Tokenizer]:
    return {kind: train(TokenizerSpec(kind=kind, vocabulary=1500), LEARNT_FROM) for kind in KINDS}


@pytest.fixture(params=KINDS)
def tokenizer(request, trained) -> Tokenizer:
    return trained[request.param]


def by_the_file(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids the `tokenizers` library gives, with nothing of ours in between."""
    reference = tokenizers.Tokenizer.from_str(tokenizer.data.decode())
    reference.encode_special_tokens = True
    return reference.encode(text, add_special_tokens=False).ids


def check(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert ids.dtype == np.uint32
    assert tokenizer.decode(ids) == text
    assert ids.tolist() == tokenizer.reference.encode(text, add_special_tokens=False).ids
    assert tokenizer.reference.decode(ids.tolist()) == text
    assert b"".join(map(tokenizer.token_bytes, ids.tolist())) == text.encode()
    assert not set(ids.tolist()) & set(tokenizer.special.values())


@pytest.mark.parametrize("text", [*HOSTILE, CHINESE, MIXED])
def test_offsets_are_the_characters_of_each_id(tokenizer, text):
    ids, offsets = tokenizer.encode(text), tokenizer.offsets(text)
    assert offsets.shape == (len(ids), 2)
    characters, begun = [text[start:end] for start, end in offsets.tolist()], 0
    for token, part, (start, end) in zip(ids, characters, offsets.tolist(), strict=True):
        data = tokenizer.token_bytes(int(token))
        assert data in part.encode("utf-8", "surrogatepass")
        assert start in (begun, begun - 1), "no character is passed over, and only the last is shared"
        begun = end
    assert begun == len(text)


@pytest.mark.parametrize("kind", KINDS)
def test_the_quick_engine_is_the_one_used(trained, kind):
    assert trained[kind].engine.name == ENGINES[kind]


@pytest.mark.parametrize("text", HOSTILE)
def test_odd_texts(tokenizer, text):
    check(tokenizer, text)
    assert tokenizer.encode(text).tolist() == by_the_file(tokenizer, text)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=150)
@given(text=TEXTS)
def test_any_text_comes_back_with_the_ids_of_the_file(trained, kind, text):
    check(trained[kind], text)


@pytest.mark.long
def test_real_texts_and_many_at_once(tokenizer):
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, 20_000, dtype=np.uint8).tobytes()
    texts = [
        *CODE,
        CHINESE * 30,
        MIXED * 30,
        noise.decode("utf-8", "replace"),
        noise.decode("latin-1"),
        "",
        "x",
    ]
    for text in texts:
        check(tokenizer, text)
    singly = [tokenizer.encode(text).tolist() for text in texts]
    for threads in (1, 2, 5, None):
        assert [ids.tolist() for ids in tokenizer.encode_many(iter(texts), threads)] == singly


@pytest.mark.long
def test_every_code_point_goes_the_same_way(trained):
    """All of Unicode but the empty and the private planes: both regex libraries class every character alike."""
    codes = [*range(0xD800), *range(0xE000, 0x40000), *range(0xE0000, 0xE1000)]
    texts = [
        "".join(f"a{chr(c)}{chr(c)}1" for c in codes[at : at + 4096]) for at in range(0, len(codes), 4096)
    ]
    ours = trained["bpe"].encode_many(texts)
    theirs = trained["bpe"].reference.encode_batch_fast(texts, add_special_tokens=False)
    assert all(ids.tolist() == encoding.ids for ids, encoding in zip(ours, theirs, strict=True))


def test_lone_surrogates_are_no_text(tokenizer):
    assert tokenizer.decode(tokenizer.encode("a\ud800b")) == "a\ufffdb"
    assert tokenizer.decode(tokenizer.encode("\ud83d\ude00")) == "😀"
    assert [tokenizer.decode(ids) for ids in tokenizer.encode_many(["x", "\udfff"])] == ["x", "\ufffd"]


def test_special_tokens(tokenizer):
    assert tuple(tokenizer.special) == SPECIAL
    last = range(tokenizer.vocabulary - len(SPECIAL), tokenizer.vocabulary)
    assert list(tokenizer.special.values()) == list(last)
    assert (tokenizer.end, tokenizer.pad) == (last[0], last[1])
    assert len(tokenizer) == tokenizer.vocabulary
    assert all(tokenizer.token_bytes(token) == b"" for token in last)
    ids = [*tokenizer.encode("中").tolist(), tokenizer.end, *tokenizer.encode("b").tolist()]
    assert tokenizer.decode(ids) == "中b" == tokenizer.reference.decode(ids)


def test_bytes_of_all_ids(tokenizer):
    counts = tokenizer.byte_counts()
    assert counts.shape == (tokenizer.vocabulary,)
    assert [len(tokenizer.token_bytes(token)) for token in range(tokenizer.vocabulary)] == counts.tolist()
    assert (counts[: -len(SPECIAL)] > 0).all()
    assert {tokenizer.token_bytes(token) for token in range(tokenizer.vocabulary)} >= {
        bytes([byte]) for byte in range(256)
    }


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_any_ids_decode_as_the_file_says_and_stream_the_same(trained, kind, data):
    tokenizer = trained[kind]
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocabulary - 1), max_size=30))
    text = tokenizer.decode(ids)
    assert text == tokenizer.reference.decode(ids)
    assert text == tokenizer.decode(np.array(ids, dtype=np.int64))
    stream = tokenizer.stream()
    parts = [stream.push(token) for token in ids]
    assert "".join(parts) + stream.finish() == text


def test_a_stream_holds_back_half_characters(trained):
    tokenizer = trained["bytes"]
    stream = tokenizer.stream()
    assert [stream.push(token) for token in tokenizer.encode("a中b").tolist()] == ["a", "", "", "中", "b"]
    for token in tokenizer.encode("😀").tolist()[:3]:
        assert stream.push(token) == ""
    assert stream.finish() == "\ufffd"
    assert stream.push(ord("x")) == "x"


def test_save_and_load(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "tokenizer.json")
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        again = Tokenizer.load(path)
        assert (again.data, again.id) == (tokenizer.data, tokenizer.id)
    assert tokenizer.id == content_id((tmp_path / "tokenizer.json").read_bytes())
    assert (
        tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json")).get_vocab_size()
        == tokenizer.vocabulary
    )


@pytest.mark.parametrize(
    "data", ["", "[]", "{}", "null", '{"model": 1, "added_tokens": []}', '{"model": {}}']
)
def test_files_that_are_no_tokenizer(tmp_path, data):
    (tmp_path / "tokenizer.json").write_text(data)
    with pytest.raises(DamagedError, match=r"tokenizer\.json"):
        Tokenizer.load(tmp_path)
    with pytest.raises(DamagedError, match="is missing"):
        Tokenizer.load(tmp_path / "nothing.json")


def changed(tokenizer: Tokenizer, **changes) -> Tokenizer:
    return Tokenizer(json.dumps(json.loads(tokenizer.data) | changes).encode())


def test_files_without_bytes_or_without_an_end_are_refused(trained):
    with pytest.raises(TextmillError, match="Metaspace"):
        changed(trained["bpe"], decoder={"type": "Metaspace", "replacement": "▁"})
    with pytest.raises(TextmillError, match="end of a text"):
        changed(trained["bpe"], added_tokens=[])


def test_a_file_of_another_make_keeps_its_own_rules():
    """GPT-2's layout: its own pattern inside ByteLevel, end of text as the only special token."""
    other = tokenizers.Tokenizer(tokenizers.models.BPE())
    other.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    other.decoder = tokenizers.decoders.ByteLevel()
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    other.train_from_iterator(
        LEARNT_FROM,
        tokenizers.trainers.BpeTrainer(
            vocab_size=800, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"], show_progress=False
        ),
    )
    ours = Tokenizer(other.to_str().encode())
    assert ours.engine.name == "tokenizers"
    assert (ours.end, ours.pad) == (0, 0)
    for text in (*CODE, MIXED, "<|endoftext|>"):
        check(ours, text)


def test_merges_that_tiktoken_would_read_otherwise_are_not_given_to_it(trained):
    """`abc` is made from ab + c only; tiktoken, which sees no pairs, would also make it from a + bc."""
    document = json.loads(trained["bpe"].data)
    vocabulary = {t: i for t, i in document["model"]["vocab"].items() if i < 256}
    tricky = [["b", "c"], ["a", "b"], ["ab", "c"]]  # alone, `abc` becomes a + bc and stays so
    document["model"] |= {
        "vocab": vocabulary | {"".join(pair): 256 + place for place, pair in enumerate(tricky)},
        "merges": tricky,
    }
    ours = Tokenizer(json.dumps(document).encode())
    assert ours.engine.name == "tokenizers"
    assert [ours.token_bytes(token) for token in ours.encode("abc").tolist()] == [b"a", b"bc"]
    twice = [["a", "b"], ["b", "c"], ["ab", "c"], ["a", "bc"]]
    document["model"] |= {"vocab": vocabulary | {"ab": 256, "bc": 257, "abc": 258}, "merges": twice}
    assert Tokenizer(json.dumps(document).encode()).engine.name == "tokenizers"


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "NFC"}},
        {
            "post_processor": {
                "type": "ByteLevel",
                "add_prefix_space": True,
                "trim_offsets": False,
                "use_regex": True,
            }
        },
        {"pre_tokenizer": None},
    ],
)
def test_rules_the_quick_engines_do_not_know_go_the_slow_way(trained, change):
    for kind in ("bpe", "characters", "bytes"):
        document = json.loads(trained[kind].data) | change
        assert choose(document, Tokenizer(json.dumps(document).encode()).reference).name == "tokenizers"


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_reads_the_same(trained, kind, tmp_path):
    """With `split_special_tokens` in tokenizer_config.json, special tokens in a text are plain text there, too."""
    transformers = pytest.importorskip("transformers")
    tokenizer = trained[kind]
    tokenizer.save(tmp_path / "tokenizer.json")
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "split_special_tokens": True,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|endoftext|>",
        "bos_token": "<|endoftext|>",
        "pad_token": "<|pad|>",
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert len(theirs) == tokenizer.vocabulary
    assert (theirs.eos_token_id, theirs.pad_token_id) == (tokenizer.end, tokenizer.pad)
    for text in [*HOSTILE, CODE[0][:5000], CHINESE, MIXED]:
        ids = theirs(text)["input_ids"]
        assert ids == tokenizer.encode(text).tolist()
        assert theirs.decode(ids) == text
    assert theirs.decode([*ids, tokenizer.end], skip_special_tokens=True) == MIXED
