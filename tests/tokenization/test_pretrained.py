from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from textmill.base.errors import DamagedError, RecipeError, TextmillError
from textmill.specs.recipe import TokenizerSpec
from textmill.tokenization import extended, json_read
from textmill.tokenization.load import PretrainedTokenizer, Tokenizer, load, of
from textmill.tokenization.tokenizer import SPECIAL
from textmill.tokenization.training import train

LEARNT_FROM = [
    Path(__file__).read_text("utf-8"),
    "The quick brown fox isn't here. Do not worry, he's fine! " * 30,
    "语言模型读很多文字，学会猜下一个词。 Straße naïve café. " * 30,
]
SPECIALS = {
    "bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "t5": ["<pad>", "</s>", "<unk>", "<extra_id_1>", "<extra_id_0>"],
    "llama": ["<unk>", "<s>", "</s>"],
    "first": ["<unk>", "<s>", "</s>"],
    "words": ["<unk>", "</s>"],
}
KINDS = tuple(SPECIALS)
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(
            [name for names in SPECIALS.values() for name in names]
            + [
                "the",
                " ",
                "  ",
                "fox",
                "isn't",
                " .",
                "中文",
                "é",
                "👩‍👩‍👧",
                "\n",
                "▁",
                "##",
                "<0x41>",
                "\ud800",
                "\uffff",
            ]
        ),
        max_size=10,
    ).map("".join),
)


def bert():
    made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.train_from_iterator(
        LEARNT_FROM,
        trainers.WordPieceTrainer(vocab_size=600, special_tokens=SPECIALS["bert"], show_progress=False),
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    made.enable_padding(length=20)
    made.enable_truncation(5)
    return made


def t5():
    """A Unigram model whose special tokens are pieces with the best score of all, as T5's are."""
    made = tokenizers.Tokenizer(models.Unigram())
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    made.train_from_iterator(
        LEARNT_FROM,
        trainers.UnigramTrainer(
            vocab_size=500, special_tokens=SPECIALS["t5"], unk_token="<unk>", show_progress=False
        ),
    )
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return made


def llama():
    """BPE with byte fallback; a space before every text, by the normaliser."""
    made = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    letters = [f"<0x{byte:02X}>" for byte in range(256)]
    made.train_from_iterator(
        LEARNT_FROM,
        trainers.BpeTrainer(
            vocab_size=900,
            special_tokens=[*SPECIALS["llama"], *letters],
            show_progress=False,
            max_token_length=8,
        ),
    )
    document = json.loads(made.to_str())
    document["added_tokens"] = document["added_tokens"][:3]
    document["decoder"] = json.loads(
        '{"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},'
        ' {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}'
    )
    made = tokenizers.Tokenizer.from_str(json.dumps(document))
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return made


def first():
    """The same with a space before the first word of a text only."""
    document = json.loads(llama().to_str())
    document["normalizer"] = None
    document["pre_tokenizer"] = {
        "type": "Metaspace",
        "replacement": "▁",
        "prepend_scheme": "first",
        "split": False,
    }
    return tokenizers.Tokenizer.from_str(json.dumps(document))


def words():
    """Whole words, and no decoder."""
    made = tokenizers.Tokenizer(models.WordLevel(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.train_from_iterator(
        LEARNT_FROM,
        trainers.WordLevelTrainer(vocab_size=300, special_tokens=SPECIALS["words"], show_progress=False),
    )
    return made


@pytest.fixture(scope="module")
def library() -> dict[str, tokenizers.Tokenizer]:
    return {make.__name__: make() for make in (bert, t5, llama, first, words)}


@pytest.fixture(scope="module")
def ours(library) -> dict[str, PretrainedTokenizer]:
    made = {kind: of(one.to_str().encode()) for kind, one in library.items()}
    assert all(isinstance(one, PretrainedTokenizer) for one in made.values())
    return made  # type: ignore[return-value]


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=100)
@given(text=TEXTS)
def test_no_text_becomes_a_special_token(ours, kind, text):
    tokenizer = ours[kind]
    ids = tokenizer.encode(text)
    assert ids.dtype == np.uint32
    assert not set(ids.tolist()) & (set(tokenizer.special.values()) - {tokenizer.roles.unknown})
    assert tokenizer.encode_many([text, "x"])[0].tolist() == ids.tolist()


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=100)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_ordinary_text_has_the_librarys_ids_and_text(ours, library, kind, text):
    if any(name in text for name in ours[kind].special):
        return
    library[kind].no_padding()
    library[kind].no_truncation()
    expected = library[kind].encode(text)
    ids = ours[kind].encode(text).tolist()
    assert [*ours[kind].prefix, *ids, *ours[kind].suffix] == expected.ids
    assert ours[kind].decode(ids) == library[kind].decode(ids)
    spans = np.array(library[kind].encode(text, add_special_tokens=False).offsets).reshape(-1, 2)
    more = ours[kind].offsets(text) - spans
    if not text or unicodedata.category(text[0]) not in (
        "Cc",
        "Cf",
    ):  # after which the library counts wrongly
        assert not more[:, 0].any()
        for (_, end), added in zip(
            spans.tolist(), more[:, 1].tolist(), strict=True
        ):  # marks that it leaves out
            assert all(unicodedata.category(sign)[0] in "ML" for sign in text[end : end + added])


# What the tokenizers of the world do to texts before they cut them, and what confuses where they were.
PARTS = (
    *(
        "the",
        "fox",
        "don't",
        " ",
        "  ",
        "\n",
        "\t",
        "\u3000",
        "\u00a0",
        "x",
        "é",
        "e\u0301",
        "a\u0323\u0300",
        "Ünï",
    ),
    *(
        "语言",
        "模型",
        "，",
        "１２",
        "Ａ",
        "ﬁx",
        "½",
        "™",
        "…",
        "ß",
        "ẞ",
        "İ",
        "ｶﾞ",
        "각",
        "\u1100\u1161\u11a8",
        "\x01",
    ),
    *("👩\u200d👩\u200d👧", "😀", "[CLS]", "</s>", "<0x41>"),
)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=100)
@given(text=st.lists(st.sampled_from(PARTS), max_size=12).map("".join))
def test_offsets_are_where_ids_come_from(ours, kind, text):
    check_offsets(ours[kind], text)


def check_offsets(tokenizer, text):
    """They go forward, leave out no letter, and each id's letters stand where it says."""
    ids, offsets = tokenizer.encode(text).tolist(), tokenizer.offsets(text)
    assert offsets.shape == (len(ids), 2)
    starts, ends = offsets.T
    assert (starts <= ends).all()
    assert (np.diff(starts) >= 0).all()
    assert (np.diff(ends) >= 0).all()
    covered = {place for start, end in offsets.tolist() for place in range(start, end)}
    assert covered <= set(range(len(text)))
    assert not [text[place] for place in range(len(text)) if place not in covered and _letters(text[place])]
    for token, (start, end) in zip(ids, offsets.tolist(), strict=True):
        said = _letters(tokenizer.token_bytes(token).decode("utf-8", "ignore")).replace("##", "")
        assert token == tokenizer.roles.unknown or said in _letters(text[start:end])


def _letters(text):
    apart = unicodedata.normalize("NFKD", text).lower()
    return "".join(
        sign for sign in apart if unicodedata.category(sign) not in ("Mn", "Cc", "Cf", "Zs") and sign != "▁"
    )


def test_a_pair_of_surrogates_is_two_characters_of_the_text_given(ours):
    given_text = "the \ud83e\udd8a fox"
    for tokenizer in ours.values():
        offsets = tokenizer.offsets(given_text)
        parts = [given_text[start:end].strip() for start, end in offsets.tolist()]
        assert len(parts) == len(tokenizer.encode(given_text))
        assert parts[-1][-1:] == "x"
        assert "\ud83e\udd8a" in parts


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_any_ids_stream_as_they_decode(ours, library, kind, data):
    tokenizer = ours[kind]
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocabulary - 1), max_size=25))
    text = tokenizer.decode(ids)
    stream = tokenizer.stream()
    pieces = [stream.push(token) for token in ids]
    assert "".join(pieces) + stream.finish() == text
    # The library writes U+FFFD for each byte of a run that is not wholly UTF-8, and so loses its good characters.
    if "\ufffd" not in text:
        assert text == library[kind].decode(ids)
    inside = b"".join(map(tokenizer.token_bytes, ids)).decode("utf-8", "replace")
    assert inside.replace(" ", "") in (text.replace(" ", ""), text.replace(" ", "").removeprefix("##"))


def test_a_stream_holds_back_half_characters(ours):
    tokenizer = ours["llama"]
    fox = chr(0x1F98A)  # not spelt here, since this file is what it has learnt from
    ids = tokenizer.encode(fox).tolist()
    stream = tokenizer.stream()
    assert [stream.push(token) for token in ids] == ["", "", "", "", fox]
    assert tokenizer.byte_counts()[ids].tolist() == [1, 1, 1, 1, 1]
    assert tokenizer.token_bytes(ids[0]) == b" "


def test_roles(ours):
    bert, t5, llama = ours["bert"], ours["t5"], ours["llama"]
    assert (bert.prefix, bert.suffix) == ((2,), (3,))
    assert (bert.end, bert.start, bert.pad, bert.mask, bert.separator) == (3, 2, 0, 4, 3)
    assert (t5.prefix, t5.suffix, t5.end, t5.pad, t5.mask) == ((), (1,), 1, 0, None)
    assert t5.sentinels == (4, 3)
    assert (llama.prefix, llama.suffix, llama.start, llama.ends) == ((1,), (), 1, (2,))
    assert not any(one.lossless for one in ours.values())


def test_roles_of_our_own():
    tokenizer = train(TokenizerSpec(kind="bytes", sentinels=3), [])
    assert list(tokenizer.special) == [*SPECIAL, "<|hidden_0|>", "<|hidden_1|>", "<|hidden_2|>"]
    assert tokenizer.sentinels == (265, 266, 267)
    assert (tokenizer.end, tokenizer.ends, tokenizer.pad) == (256, (256,), 257)
    assert (tokenizer.mask, tokenizer.start, tokenizer.separator) == (262, 263, 264)
    assert (tokenizer.prefix, tokenizer.suffix, tokenizer.lossless) == ((), (), True)
    document = json.loads(tokenizer.data)
    document["added_tokens"] = document["added_tokens"][:6]  # a file of before these roles
    older = Tokenizer(json.dumps(document).encode())
    assert (older.mask, older.start, older.separator, older.sentinels) == (None, older.end, None, ())
    document["normalizer"] = {"type": "NFC"}
    assert not Tokenizer(json.dumps(document).encode()).lossless


def test_text_that_goes_on_gets_no_blank(ours):
    kinds = {kind: ours[kind].decode(ours[kind].encode_next("fox")) for kind in KINDS}
    assert set(kinds.values()) == {"fox"}
    one = ours["first"]
    assert one.token_bytes(int(one.encode("fox")[0]))[:1] == b" "
    assert one.token_bytes(int(one.encode_next("fox")[0]))[:1] != b" "


def write(directory: Path, data: bytes, **files: object) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "tokenizer.json").write_bytes(data)
    for name, value in files.items():
        (directory / f"{name}.json").write_text(json.dumps(value))
    return directory


def test_files_beside_decide(ours, tmp_path):
    data = ours["llama"].data
    at = write(
        tmp_path / "a",
        data,
        tokenizer_config={
            "eos_token": {"content": "</s>"},
            "bos_token": "<s>",
            "pad_token": None,
            "add_bos_token": False,
        },
        special_tokens_map={"pad_token": "<unk>"},
        generation_config={"eos_token_id": [2, 300], "bos_token_id": 1},
        config={"decoder_start_token_id": 7, "eos_token_id": 5, "pad_token_id": -1},
    )
    found = load(at)
    assert (found.end, found.ends, found.pad, found.start) == (2, (2, 300), 0, 7)
    assert found.prefix == ()
    assert found.names["bos_token"] == "<s>"
    both = write(
        tmp_path / "b",
        data,
        tokenizer_config={"eos_token": "</s>", "bos_token": "<s>", "add_eos_token": True},
    )
    assert (load(both).prefix, load(both).suffix) == ((1,), (2,))
    found.save(tmp_path / "c")
    again = load(tmp_path / "c" / "tokenizer.json")
    assert (again.roles, again.id, again.prefix, again.suffix) == (found.roles, found.id, (), ())
    assert load(tmp_path / "a" / "tokenizer.json").id == found.id != load(both).id


def test_a_byte_level_file_with_something_around_a_text(tmp_path):
    """As Llama 3 and RoBERTa have it."""
    document = json.loads(train(TokenizerSpec(kind="bytes"), []).data)
    document["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<|start|>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [],
        "special_tokens": {"<|start|>": {"id": "<|start|>", "ids": [263], "tokens": ["<|start|>"]}},
    }
    found = load(write(tmp_path / "a", json.dumps(document).encode()))
    assert isinstance(found, Tokenizer)
    assert (found.prefix, found.suffix, found.encode("a").tolist()) == ((263,), (), [97])
    beside = {"eos_token": "<|end|>", "add_bos_token": False, "bos_token": "<|start|>"}
    found = load(write(tmp_path / "b", json.dumps(document).encode(), tokenizer_config=beside))
    found.save(tmp_path / "c")
    again = load(tmp_path / "c")
    assert (again.end, again.prefix, again.roles) == (261, (), found.roles)


def test_a_recipe_may_use_any_of_them(ours, tmp_path):
    ours["bert"].save(tmp_path)
    found = train(TokenizerSpec(path=str(tmp_path)), ["text that nobody reads"])
    assert (found.roles, found.prefix) == (ours["bert"].roles, (2,))


@pytest.mark.long
@pytest.mark.parametrize("kind", ["bert", "t5", "llama"])
def test_transformers_reads_what_is_saved(ours, kind, tmp_path):
    transformers = pytest.importorskip("transformers")
    ours[kind].save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in ("The fox isn't here.", "语言 Straße 👩", "x"):
        ids = [*ours[kind].prefix, *ours[kind].encode(text).tolist(), *ours[kind].suffix]
        assert theirs(text)["input_ids"] == ids
    assert theirs.eos_token_id == ours[kind].end


GOOD = {"model": {"type": "WordLevel", "vocab": {"a": 0, "</s>": 1}, "unk_token": "a"}}
END = {
    "id": 1,
    "content": "</s>",
    "special": True,
    "single_word": False,
    "lstrip": False,
    "rstrip": False,
    "normalized": False,
}
HOSTILE = {
    "nothing": b"",
    "nesting": b"[" * 100_000,
    "no object": b"[1]",
    "no model": b"{}",
    "ids of text": json.dumps({"model": {"vocab": {"a": "0"}}, "added_tokens": []}).encode(),
    "a huge id": json.dumps({"model": {"vocab": {"a": 10**12}}, "added_tokens": []}).encode(),
    "a negative id": json.dumps({"model": {"vocab": {"a": -1}}, "added_tokens": []}).encode(),
    "ids that are true": json.dumps({"model": {"vocab": {"a": True}}, "added_tokens": []}).encode(),
    "no tokens": json.dumps({"model": {"vocab": {}}, "added_tokens": []}).encode(),
    "added tokens of text": json.dumps(GOOD | {"added_tokens": ["x"]}).encode(),
    "no end": json.dumps(GOOD | {"added_tokens": []}).encode(),
    "a strange decoder": json.dumps(GOOD | {"added_tokens": [END], "decoder": {"type": "CTC"}}).encode(),
    "a decoder of text": json.dumps(GOOD | {"added_tokens": [END], "decoder": "x"}).encode(),
    "decoders of text": json.dumps(
        GOOD | {"added_tokens": [END], "decoder": {"type": "Sequence", "decoders": "x"}}
    ).encode(),
    "a strip of many": json.dumps(
        GOOD
        | {
            "added_tokens": [END],
            "decoder": {
                "type": "Sequence",
                "decoders": [{"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 10**9}],
            },
        }
    ).encode(),
    "a unigram of numbers": json.dumps(
        {"model": {"type": "Unigram", "vocab": [[1, 2]]}, "added_tokens": []}
    ).encode(),
    "no bytes": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(name, tmp_path):
    with pytest.raises(TextmillError) as caught:
        load(write(tmp_path / "x", HOSTILE[name]))
    assert "tokenizer.json" in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "change",
    [
        {"pre_tokenizer": {"type": "Nonsense"}},
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "/////wAAAAA="}},
        {"normalizer": {"type": "Replace", "pattern": {"Regex": "("}, "content": ""}},
        {"model": {"type": "BPE", "vocab": {"a": 0, "</s>": 1}, "merges": ["a b"]}},
        {"model": {"type": "Unigram", "vocab": [["a", 0.0], ["</s>", 0.0]], "unk_id": 99}},
    ],
)
def test_files_the_library_refuses(change):
    with pytest.raises(DamagedError, match="cannot be used"):
        of(
            json.dumps({"version": "1.0", "decoder": None, **GOOD, "added_tokens": [END], **change}).encode()
        ).encode("a")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tokenizer_config", [1]),
        ("tokenizer_config", {"eos_token": 5}),
        ("generation_config", {"eos_token_id": "2"}),
        ("generation_config", {"eos_token_id": [True]}),
        ("config", {"pad_token_id": list(range(1000))}),
    ],
)
def test_hostile_settings(ours, tmp_path, name, value):
    with pytest.raises(DamagedError, match=name):
        load(write(tmp_path / "x", ours["llama"].data, **{name: value}))


def test_nothing_there(tmp_path):
    with pytest.raises(TextmillError, match="holds no tokenizer"):
        load(tmp_path)
    with pytest.raises(DamagedError, match="is missing"):
        load(tmp_path / "tokenizer.json")


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_damage_is_said_or_harmless(library, data):
    """Some bytes of a file changed: an error of ours, or a tokenizer that still works."""
    whole = bytearray(library["words"].to_str().encode())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(32, 126))
    try:
        found = of(bytes(whole))
        ids = found.encode("The fox </s>")
        assert isinstance(found.decode(ids), str)
        assert found.prefix == ()
    except TextmillError:
        pass


def test_the_library_never_pads_or_cuts(ours):
    assert len(ours["bert"].encode("the fox " * 50)) >= 100
    assert json_read.around(ours["bert"].reference, "x") == json_read.Around((2,), (3,), (3,))


GROWN = (["Flourmill", "磨坊"], ["<|note|>"])


@pytest.mark.parametrize("kind", [*KINDS, "ours"])
def test_tokens_are_added_behind_its_own(ours, kind, tmp_path):
    old = ours[kind] if kind != "ours" else train(TokenizerSpec(vocabulary=300), LEARNT_FROM)
    made = extended.extend(old, *GROWN)
    made.save(tmp_path)
    new = load(tmp_path)
    assert new.id == made.id
    extended.check(new, old, "here")  # nothing of the old one is another now
    size = old.vocabulary
    assert new.vocabulary == size + 3
    assert {size, size + 1} <= set(new.encode("a Flourmill, 磨坊!").tolist())
    assert size + 2 not in new.encode("<|note|>")
    assert new.special["<|note|>"] == size + 2
    assert "Flourmill" in new.decode(new.encode("a Flourmill"))
    assert new.roles == old.roles
    assert set(extended.pieces(new, old)) == {size, size + 1, size + 2}
    assert extended.extend(new, *GROWN) is new
    with pytest.raises(RecipeError, match="special token of it already"):
        extended.extend(new, ["<|note|>"], [])
    with pytest.raises(RecipeError, match="ordinary token of it already"):
        extended.extend(new, [], ["Flourmill"])


@pytest.mark.parametrize("kind", KINDS)
@given(text=TEXTS)
@settings(deadline=None, max_examples=30)
def test_texts_without_added_tokens_are_read_as_before(ours, kind, text):
    new = extended.extend(ours[kind], ["flourmill"], ["<|note|>"])
    assert new.encode(text).tolist() == ours[kind].encode(text).tolist()
    assert set(new.encode(text + "<|note|>").tolist()) < {*range(ours[kind].vocabulary)}
