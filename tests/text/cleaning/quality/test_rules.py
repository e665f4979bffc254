"""The rules of Gopher, C4 and FineWeb: what each skips, what it leaves, and that batches never show."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.specs.cleaning import C4Step, FineWebStep, GopherStep
from textmill.text import words
from textmill.text.batches import in_batches, judged
from textmill.text.cleaning import steps
from textmill.text.cleaning.quality import c4, fineweb, gopher, repetition
from textmill.text.document import Document, Rejected, collected, reject
from textmill.text.step import Reject

PROSE = (
    "The miller had three sons and nothing to leave them but the mill, a donkey and a cat with grey whiskers.\n"
    "When he died, the eldest took the mill; the second led the donkey away to be sold at the next fair.\n"
    'So the youngest had to go with the cat, and he was not pleased. "What will become of me?" he asked.\n'
    "They that have brothers may share, he thought, but a cat feeds nobody beyond a supper or two.\n"
    "The cat, who had heard every word of it, put on a pair of boots and asked him for a sack of grain.\n"
)
CHINESE = (
    "从前有一个磨坊主，他有三个儿子，去世的时候只留下一座磨坊、一头驴子和一只猫。\n"
    "老大分到了磨坊，老二牵走了驴子，只有最小的儿子什么也没有，只得到了那只灰色的猫。\n"
    "他叹了一口气说：“我该怎么办呢？两个哥哥可以一起过日子，我却只能挨饿……”\n"
    "猫听见了这番话，便不慌不忙地回答：主人，请给我一双靴子和一个口袋，你就会看到我的本领！\n"
    "第二天清早，它穿上靴子走进树林，在口袋里撒了一把麦粒，静静地躺在草丛里等候兔子。\n"
)


def gophers(text, language=None, **changes):
    metadata = {"language": language} if language else {}
    (verdict,) = gopher.judge([Document("0" * 32, {"text": text}, "a", metadata)], GopherStep(**changes))
    return verdict.reason if verdict else None


def clean(text, spec):
    """What C4's rules leave of a text that stands alone, or the verdict on it."""
    found = c4.clean({"text": text}, spec)
    return found if isinstance(found, Reject) else found["text"]


@pytest.mark.parametrize("text", [PROSE, CHINESE, PROSE + CHINESE, "# Puss in Boots\n\n- one\n\n" + PROSE])
def test_sound_text_passes_every_filter(text):
    assert gophers(text) is None
    assert fineweb.judge(text, FineWebStep()) is None
    assert clean(text, C4Step()).count("\n") >= 4


def numbers(count):
    return " ".join(str(i) for i in range(1000, 1000 + count))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has too few words"),
        ("The cat and the mill.", "has too few words"),
        ("猫和磨坊。" * 5, "has too few words"),
        (" ".join("ab" for _ in range(200)) + PROSE[:60], "has too short words"),
        (" ".join(f"word{i}andmoreofit" for i in range(99)) + " the and", "has too long words"),
        (PROSE.replace(" ", " #", 15), "has too many hash signs"),
        (PROSE.replace(" ", "... ", 15), "has too many ellipses"),
        (PROSE.replace(" ", "… ", 15), "has too many ellipses"),
        (CHINESE.replace("，", "……") * 2 + "……" * 30, "has too many ellipses"),
        ("".join(f"- {line}\n" for line in PROSE.splitlines()), "has too many lines with bullets"),
        ("".join(f" • {line}\n" for line in CHINESE.splitlines()), "has too many lines with bullets"),
        (PROSE.replace(".\n", "...\n", 2), "has too many lines that end in an ellipsis"),
        (CHINESE.replace("。\n", "……\n", 2), "has too many lines that end in an ellipsis"),
        (PROSE + numbers(40), "has too few words with letters"),
        (PROSE.replace(" ", " | ", 60), "has too few words with letters"),
        (" ".join(w for w in PROSE.split() if w.lower() not in gopher.STOP_WORDS), "has too few stop words"),
    ],
)
def test_gopher_quality_names_the_rule_that_failed(text, reason):
    assert gophers(text, repetition=False) == reason


def test_rules_of_english_are_for_english():
    german = (
        "Ein Müller hatte drei Söhne, seine Mühle, einen Esel und einen Kater; die Söhne mussten mahlen, der Esel "
        "Getreide holen und Mehl forttragen, die Katze dagegen die Mäuse wegfangen. Als der Müller starb, teilten "
        "sich die drei Söhne in die Erbschaft: der älteste bekam die Mühle, der zweite den Esel, der dritte den "
        "Kater; weiter blieb nichts für ihn übrig."
    )
    assert gophers(german) == "has too few stop words"  # nobody said it is not English
    assert gophers(german, "de") is None
    assert gophers(german, "en") == "has too few stop words"
    russian = "У мельника было три сына, и оставил он им, умирая, всего только мельницу, осла и кота. " * 4
    assert gophers(russian, repetition=False) is None


def test_marks_between_hanzi_are_no_words_without_letters():
    text = CHINESE.replace("，", " - ").replace("。", " 。 ")
    assert gophers(text) is None
    assert gophers(text.replace(" - ", " - 12 " * 12)) == "has too few words with letters"


@pytest.mark.long
def test_of_a_very_long_document_the_beginning_is_judged():
    """And all of its words are counted."""
    rest = gopher.BEGINNING // len(PROSE) + 1
    text = PROSE * rest
    many = words.count(text, 10**9)
    assert many == words.count(PROSE, 10**9) * rest == len(words.hashes([PROSE]).hash) * rest
    assert gophers(text) == "has too many words"
    assert gophers(text, most_words=many - 1) == "has too many words"
    assert gophers(text, most_words=many) == "has too many duplicate lines"
    assert gophers("磨" * (gopher.BEGINNING + 1)) == "has too many words"
    assert gophers("?!" * gopher.BEGINNING) == "has too few words"
    assert gophers(PROSE, most_words=90) == "has too many words"


def test_repetition_of_lines_and_paragraphs():
    lines = PROSE.splitlines()
    assert repetition.judge_lines(PROSE) is None
    assert repetition.judge_lines("\n".join([*lines, "a", *["b"] * 3])) is None
    short = "\n".join([*lines, *["menu"] * 9])
    assert repetition.judge_lines(short).reason == "has too many duplicate lines"
    assert repetition.judge_lines("\n".join([*lines, "x", lines[1], lines[2]])).reason == (
        "has too many characters in duplicate lines"
    )
    assert (
        repetition.judge_lines("\n\n".join([*lines, *["menu"] * 9])).reason
        == "has too many duplicate paragraphs"
    )
    assert repetition.judge_lines("\n\n".join([*lines, lines[1], lines[2]])).reason == (
        "has too many characters in duplicate paragraphs"
    )
    assert repetition.judge_lines(f"  {lines[0]}\n\n{lines[0]}").reason == "has too many duplicate paragraphs"


# --- n-grams beside a loop that follows the definitions word for word ------------------------------------------------
def slow_ngrams(text: str) -> str | None:
    found = words.tokens([text])
    cut = [text[a:b] for a, b in zip(found.start.tolist(), found.end.tolist(), strict=True)]
    for n, most in repetition.TOP.items():
        grams = [" ".join(cut[i : i + n]) for i in range(len(cut) - n + 1)]
        best = max(Counter(grams).items(), key=lambda pair: pair[1], default=("", 0))
        if best[1] > 1 and len(best[0]) * best[1] / len(text) > most:
            return f"repeats its most frequent {n}-gram too often"
    for n, most in repetition.DUPLICATE.items():
        seen, characters, i = set(), 0, 0
        while i + n <= len(cut):
            gram = tuple(cut[i : i + n])
            if gram in seen:
                characters += sum(map(len, gram))
                i += n
            else:
                seen.add(gram)
                i += 1
        if characters / max(len(text), 1) > most:
            return f"has too many characters in duplicate {n}-grams"
    return None


def fast_ngrams(texts: list[str]) -> list[str | None]:
    sizes = np.array([len(text) for text in texts], np.int64)
    verdicts = repetition.judge_ngrams(words.tokens(texts), sizes, [None] * len(texts))
    return [verdict and verdict.reason for verdict in verdicts]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from(["a", "mill", "turns", "磨", "，", "--", "12", "wheel "]), max_size=60).map(
            " ".join
        ),
        max_size=5,
    )
)
def test_ngrams_are_judged_as_by_the_definition(texts):
    assert fast_ngrams(texts) == [slow_ngrams(text) for text in texts]


def half_repetitive(seed: int) -> str:
    """A text in which some stretches come back, now more and now less than the rules allow."""
    chance = random.Random(seed)
    vocabulary = [f"w{i}" for i in range(400)]
    text = [chance.choice(vocabulary) for _ in range(chance.randint(60, 300))]
    for _ in range(chance.randint(0, 8)):
        start, length = chance.randrange(len(text)), chance.randint(2, 14)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(text))
            text[at:at] = text[start : start + length]
    return " ".join(text)


def test_ngrams_near_the_thresholds():
    texts = [half_repetitive(seed) for seed in range(400)]
    expected = [slow_ngrams(text) for text in texts]
    assert fast_ngrams(texts) == expected
    assert len(set(expected)) >= 5  # several of the rules, and texts that pass
    assert expected.count(None) >= 40


def test_batches_never_show():
    texts = [half_repetitive(seed) for seed in range(40)] + [
        PROSE,
        CHINESE,
        "",
        "x",
        "- a\n" * 80,
        "猫。" * 60,
    ]
    items = [collected(text, f"{i}") for i, text in enumerate(texts)]
    items.insert(3, reject(items[0], "earlier", "was set aside"))
    spec = GopherStep(least_words=3, least_stop_words=0, least_alphabetic=0)

    def out(**size):
        step = in_batches(judged("gopher", lambda documents: gopher.judge(documents, spec)), **size)
        return list(step(iter(items)))

    whole = out()
    assert [item.source for item in whole] == [item.source for item in items]
    assert whole[3] is items[3]
    assert len({item.reason for item in whole if isinstance(item, Rejected)}) >= 5
    for size in ({"items": 1}, {"items": 7}, {"characters": 1000}):
        assert out(**size) == whole


def test_a_batch_is_not_waited_for_without_end():
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield reject(collected("x", "a"), "earlier", "was set aside")

    stream = in_batches(list, items=10)(endless())
    assert next(stream).reason == "was set aside"
    assert taken <= 11


# --- FineWeb --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (" \n\t\n", "has only blank lines"),
        (
            "\n".join(["a heading that ends in no punctuation at all"] * 2),
            "has too few lines that end in punctuation",
        ),
        ("One.\nTwo.\nThree.\n" + PROSE.splitlines()[0], "has too many short lines"),
        ("短句。\n另一句。\n第三句。\n" + CHINESE.splitlines()[0], "has too many short lines"),
        (PROSE + PROSE.splitlines()[1], "has too many characters in repeated lines"),
    ],
)
def test_fineweb_names_the_rule_that_failed(text, reason):
    assert fineweb.judge(text, FineWebStep()).reason == reason


def test_sixteen_hanzi_are_no_short_line():
    lines = "\n".join(
        f"{line}。" for line in ("磨坊主有三个儿子一头驴子和一只猫", "老大分到了磨坊老二牵走了那头驴子")
    )
    assert fineweb.judge(lines, FineWebStep()) is None
    assert (
        fineweb.judge("Sixteen letters.\nAnd sixteen more.", FineWebStep()).reason
        == "has too many short lines"
    )


@pytest.mark.parametrize(
    "line", ["he said.", 'he said."', "他说。", "他说：“好！”", "是的？」", "等等；", "(see there.)"]
)
def test_lines_that_end_a_sentence(line):
    assert fineweb.judge(f"{line:a>40}", FineWebStep(least_terminal=1.0)) is None
    broken = line.translate(dict.fromkeys(map(ord, ".。！？；")))
    assert fineweb.judge(f"{broken:a>40}", FineWebStep(least_terminal=0.1)) is not None


# --- C4 -------------------------------------------------------------------------------------------------------------
def test_c4_drops_lines_that_are_no_prose():
    kept = PROSE.splitlines()
    dropped = [
        "Home | About | Contact", "Too short.", "Please enable JavaScript to read on.", "Read more about the mill...",
        "By reading on you accept our terms of use.", "A sentence that trails off and tells no more…",
        "word" * 300 + " is a long word.", "登录 注册 首页", "本网站的隐私政策已经更新。", "短句。",
    ]  # fmt: skip
    lines = [line for pair in zip(kept * 2, dropped, strict=True) for line in pair]
    assert clean("\n".join(lines), C4Step()) == "\n".join(kept * 2)
    assert clean(CHINESE, C4Step()) == CHINESE.strip()
    assert clean("He left at dawn.[12] \n" * 5, C4Step()).startswith("He left at dawn.\n")


def test_c4_sets_documents_aside():
    def reason(text, **changes):
        return clean(text, C4Step(**changes)).reason

    assert reason(PROSE + "Lorem ipsum dolor sit amet.") == "holds lorem ipsum"
    assert reason(PROSE + "So f(x) { return x } is the end.") == "holds a curly bracket"
    assert reason("A single sentence is here. And there is another.") == "has too few sentences"
    assert reason("a menu\nanother", sentences=0) == "has no line of prose"
    assert isinstance(clean(PROSE + "a menu {", C4Step()), str)  # the line was gone before anybody looked
    spec = C4Step(curly=False, lorem_ipsum=False, terminal=False, sentences=0, line_words=1)
    assert clean("lorem ipsum {\nx", spec) == "lorem ipsum {\nx"


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("One. Two! Three?", 3),
        ("Mr. A. Smith left. He ran...", 2),
        ("no end", 1),
        ("你好。再见！“走吧。”他说……", 4),
    ],
)
def test_sentences_are_counted(line, count):
    assert c4.sentences(line) == count


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(["The cat sat. ", "[1]", "[", "]", "\n", " ", "猫。", "……", "javascript"]),
        max_size=30,
    )
)
def test_c4_is_idempotent(pieces):
    spec = C4Step(sentences=0, curly=False)
    once = clean("".join(pieces), spec)
    if isinstance(once, str):
        assert clean(once, spec) == once


def test_the_steps_are_in_the_table():
    items = [collected(PROSE, "a"), collected("x", "b"), collected(f"{PROSE}menu", "c")]
    out = list(steps.apply(items, (C4Step(), FineWebStep(), GopherStep())))
    assert [type(item) for item in out] == [Document, Rejected, Document]
    assert out[2].text == PROSE.strip()
    assert (out[1].step, str(out[1])) == ("c4", "b: has no line of prose")
