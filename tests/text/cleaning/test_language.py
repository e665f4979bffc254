"""Which language a text is in: by script, by model, on real sentences, and what the step does with it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.base.errors import TextmillError
from textmill.specs.cleaning import LanguageStep
from textmill.text import scripts
from textmill.text.cleaning import steps
from textmill.text.cleaning.language import _BATCH, by_script, identify
from textmill.text.document import Document, Rejected, collected

pytest.importorskip("py3langid")
DATA = Path(__file__).parents[4] / "shared" / "data"
EN = "The mill by the river turns water into flour, and the baker turns the flour into bread every morning."
DE = "Die Mühle am Fluss macht aus Korn das Mehl, und der Bäcker macht daraus jeden Morgen frisches Brot."
ZH = "河边的磨坊用水的力量把麦子磨成面粉，面包师每天早晨用它烤出新鲜的面包，送到村里的每一户人家。"
JA = "川のほとりの水車は小麦を粉にして、パン屋は毎朝それで新しいパンを焼きます。"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (ZH, "zh"),
        ("他用 Python 写了一个 asyncio 程序", "zh"),
        (f"{ZH}优の良品", "zh"),
        (JA, "ja"),
        ("강가의 물레방아는 밀을 가루로 만듭니다", "ko"),
        ("Ο μύλος δίπλα στο ποτάμι αλέθει σιτάρι", "el"),
        ("โรงสีริมแม่น้ำ", "th"),
        ("წისქვილი მდინარის პირას", "ka"),
        ("நதிக்கரையில் ஆலை", "ta"),
        ("12 + 3 = 15 …", "und"),
        ("", "und"),
        ("Мельница у реки", None),
        ("طاحونة على النهر", None),
        ("नदी के किनारे चक्की", None),
        (EN, None),
        (f"{EN} The word for it is 磨坊.", None),
    ],
)
def test_scripts_decide_where_they_can(text, language):
    guess = by_script(text)
    assert (guess and guess.language) == language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (EN, "en"),
        (DE, "de"),
        ("Мельница у реки превращает зерно в муку, а пекарь каждое утро печёт хлеб.", "ru"),
        ("Млин біля річки перетворює зерно на борошно, а пекар щоранку пече хліб.", "uk"),
        ("تحول الطاحونة على ضفة النهر القمح إلى دقيق كل صباح", "ar"),
        ("नदी के किनारे की चक्की गेहूँ को आटे में बदल देती है", "hi"),
        ("Le moulin au bord de la rivière transforme le blé en farine chaque matin.", "fr"),
    ],
)
def test_the_model_decides_the_rest(text, language):
    (guess,) = identify([text])
    assert guess.language == language
    assert guess.probability > 0.5


def test_batches_agree_with_the_library():
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    texts = [EN, DE, EN[:20], "SHOUTED WORDS ABOVE ALL", "Voilà", "Мельница у реки", EN * 3, "été " * 20]
    for text, guess in zip(texts, identify(texts), strict=True):
        language, probability = identifier.classify(text)
        assert guess.language == language
        assert guess.probability == pytest.approx(probability, abs=1e-4)


def read(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not here")
    return path.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("language", ["en", "de", "fr"])
def test_real_sentences_are_told_apart(language):
    lines = read(f"multi30k/val.{language}.txt")
    guesses = identify(lines)
    assert sum(guess.language == language for guess in guesses) / len(lines) > 0.995
    assert sum(guess.language != language and guess.probability >= 0.5 for guess in guesses) <= 2


def test_real_english_and_chinese_sentences():
    pairs = [line.split("\t") for line in read("tatoeba-en-zh/valid.tsv")]
    english, chinese = (identify([pair[side] for pair in pairs]) for side in (0, 1))
    assert sum(guess.language == "en" for guess in english) / len(pairs) > 0.98
    assert sum(guess.language == "zh" for guess in chinese) / len(pairs) > 0.995


def run(spec, *texts):
    return list(steps.apply([collected(text, str(number)) for number, text in enumerate(texts)], (spec,)))


def test_the_step_notes_and_keeps():
    items = run(LanguageStep(), EN, ZH, "…")
    assert [item.metadata["language"] for item in items] == ["en", "zh", "und"]
    items = run(LanguageStep(keep=("en",)), EN, ZH, "…")
    assert isinstance(items[0], Document)
    assert [(item.reason, item.detail) for item in items[1:]] == [
        ("is in a language that is not kept", "zh"),
        ("is in a language that is not kept", "und"),
    ]
    assert isinstance(run(LanguageStep(least=1.0), "Voilà")[0], Document)
    assert run(LanguageStep(least=1.0), "Voilà")[0].metadata["language"] == "und"


def test_what_was_set_aside_passes_and_order_stays_over_batches():
    texts = [(EN, DE, ZH, "…")[number % 4] + str(number) for number in range(_BATCH * 2 + 3)]
    items = [collected(text, str(number)) for number, text in enumerate(texts)]
    items[5] = Rejected(None, "5", "read", "cannot be opened")
    out = list(steps.apply(items, (LanguageStep(),)))
    assert [item.source for item in out] == [item.source for item in items]
    assert out[5] is items[5]
    assert [i.metadata["language"] for i in out if isinstance(i, Document)] == [
        ("en", "de", "zh", "und")[n % 4] for n in range(len(texts)) if n != 5
    ]


def test_paragraphs_in_other_languages_go():
    spec = LanguageStep(keep=("en",), paragraphs=True)
    (item,) = run(spec, f"{EN}\n\n{ZH}\n\nOK.\n\n{DE}\n\n{EN}\n")
    assert item.text == f"{EN}\n\nOK.\n\n{EN}\n"
    assert run(spec, item.text)[0].text == item.text
    (item,) = run(spec, f"{ZH}\n\n{DE}")
    assert isinstance(item, Rejected)
    assert run(LanguageStep(paragraphs=True), f"{EN}\n\n{ZH}")[0].text == f"{EN}\n\n{ZH}"


def test_without_the_library_the_step_says_so(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "py3langid" else real(name))
    with pytest.raises(TextmillError, match=r"pip install 'textmill\[web\]'"):
        run(LanguageStep(), EN)


mixed = st.lists(st.sampled_from([EN, DE, ZH, JA, "OK.", "\n\n", "\n \n", "…", "\ud800"]), max_size=8)


@given(mixed.map("".join), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_second_time_changes_nothing(text, paragraphs):
    spec = LanguageStep(keep=("en", "und"), paragraphs=paragraphs)
    (once,) = run(spec, text)
    if isinstance(once, Document):
        (twice,) = run(spec, once.text)
        assert isinstance(twice, Document)
        assert (twice.text, twice.metadata) == (once.text, {"language": once.metadata["language"]})


@given(st.text())
def test_scripts_are_counted_for_any_text(text):
    assert 0 <= sum(scripts.count(text).values()) <= len(text)
