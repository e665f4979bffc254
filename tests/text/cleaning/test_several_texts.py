"""Documents of several texts: each is cleaned and searched, and all of them are judged and compared."""

from __future__ import annotations

import json
import random
import unicodedata

import pytest

from textmill.specs import cleaning as specs
from textmill.specs.corpus import CorpusSpec
from textmill.text.cleaning import steps
from textmill.text.document import Document, Rejected, collected

DEFAULT = CorpusSpec(sources=()).steps
WORDS = ["mill", "flour", "bread", "wind", "river", "grain", "stone", "wheel", "sack", "field"]


def prose(seed, words=120):
    draw = random.Random(seed)
    return " ".join(f"{draw.choice(WORDS)}{draw.randrange(30)}" for _ in range(words))


def question(passage, number, answer="the mill"):
    texts = {"passage": passage, "question": f"What is {WORDS[number]} number {number}?", "answer": answer}
    return collected(texts, f"q:line {number + 1}")


def squad():
    """Four questions about each of ten passages."""
    return [question(prose(number // 4), number % 4) for number in range(40)]


def documents(items):
    return [item for item in items if isinstance(item, Document)]


def apply(items, *some):
    return list(steps.apply(items, some))


def test_forty_questions_about_ten_passages_are_forty_documents():
    made = squad()
    assert len({document.id for document in made}) == 40
    assert apply(made, *DEFAULT) == made
    again = apply([*made, made[7]], *DEFAULT)
    assert again[:40] == made
    assert again[40].detail == f"id {made[7].id}"


def test_the_same_text_in_another_role_is_no_repeat():
    pairs = [collected({"source": "a", "target": "b"}, "1"), collected({"source": "b", "target": "a"}, "2")]
    assert apply(pairs, specs.ExactDuplicatesStep()) == pairs


@pytest.mark.parametrize("action", ["remove", "mark"])
def test_documents_are_as_near_as_their_least_similar_texts(action):
    step = specs.NearDuplicatesStep(action=action)
    passage = prose(1)
    edited = passage.replace(passage.split()[60], "elsewhere", 1)
    other = [question(passage, 0), question(edited, 1), question(passage, 0, answer="a barn by the road")]
    assert apply(other, step) == other
    near = apply([question(passage, 0), question(edited, 0)], step)
    if action == "mark":
        assert len({document.metadata["cluster"] for document in near}) == 1
    else:
        [aside] = [item for item in near if isinstance(item, Rejected)]
        assert aside.reason == "is a near-duplicate of another document"
        assert 0.8 < float(aside.detail.rpartition(" ")[2]) < 1


def test_both_sides_of_a_pair_decide_whether_it_is_near():
    one, other = prose(1), prose(2)
    edited = one.replace(one.split()[60], "elsewhere", 1)
    kept = [
        collected({"source": one, "target": other}, "1"),
        collected({"source": edited, "target": prose(3)}, "2"),
        collected({"source": other, "target": one}, "3"),
        collected(f"{one} {other}", "4"),
    ]
    near = collected({"source": edited, "target": other}, "5")
    assert apply(kept, specs.NearDuplicatesStep()) == kept
    [aside] = [
        item for item in apply([*kept, near], specs.NearDuplicatesStep()) if isinstance(item, Rejected)
    ]
    assert aside.source in ("1", "5")


def test_texts_without_words_are_the_same_in_a_comparison():
    made = [collected({"source": prose(1), "target": mark}, mark) for mark in ("…", "。。")]
    made.append(collected({"source": prose(1), "target": "no"}, "no"))
    kept = documents(apply(made, specs.NearDuplicatesStep()))
    assert [document.source for document in kept] == ["。。", "no"]


def test_what_stood_earlier_is_cut_from_the_text_it_stands_in():
    run = prose(1, 60)
    made = [
        collected({"source": prose(2), "target": f"first {run} end"}, "1"),
        collected({"source": f"{prose(3)} {run}", "target": f"Second! {run}; more"}, "2"),
    ]
    first, second = apply(made, specs.SubstringsStep())
    assert first == made[0]
    assert second.texts == {"source": f"{prose(3)} ", "target": "Second! more"}
    masked = apply(made, specs.SubstringsStep(action="mask"))[1]
    assert masked.texts["target"] == "Second! [...] more"


def test_a_passage_that_many_ask_about_belongs_to_each_of_them():
    made = [question(prose(1), number) for number in range(4)]
    assert apply(made, specs.SubstringsStep()) == made
    [aside] = apply([*made, collected(prose(1), "alone")], specs.SubstringsStep())[4:]
    assert aside.reason == "holds only text that stood in earlier documents"


def test_no_window_crosses_from_one_text_to_the_next():
    words = prose(1, 80).split()
    whole, parts = " ".join(words), {"source": " ".join(words[:40]), "target": " ".join(words[40:])}
    made = [collected(whole, "1"), collected(parts, "2")]
    assert apply(made, specs.SubstringsStep()) == made


@pytest.fixture
def exam(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    records = [
        {"question": "Who turned the wheel of the old mill in winter?", "answer": "yes"},
        {"question": "Who ground it?", "answer": "the miller"},
        {"question": "Who ground it?", "answer": "a donkey"},
    ]
    with open("exam.jsonl", "w") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)
    return specs.ContaminationStep(files=("exam.jsonl",), fields=("question", "answer"))


@pytest.mark.parametrize(
    ("asked", "answer", "found"),
    [
        ("Who turned the wheel of the old mill, in winter?", "Ada", "line 1"),  # eight words or more
        ("who ground it", "The miller.", "line 2"),  # of few words: question and answer
        ("Who ground it?", "a donkey", "line 3"),
        ("Who ground it?", "nobody", None),
        ("Is it raining?", "yes", None),  # the answer of many questions
    ],
)
def test_an_evaluation_question_is_found_whatever_its_passage(exam, asked, answer, found):
    made = collected({"passage": prose(5), "question": asked, "answer": answer}, "a")
    [item] = apply([made], exam)
    if found is None:
        assert item == made
    else:
        assert (item.step, item.detail) == ("contamination", f"exam.jsonl:{found}, whole")


def test_an_answer_and_its_passage_are_normalised_alike():
    decomposed = unicodedata.normalize("NFD", "Café Müller")
    texts = {
        "passage": f"Es war\tim {decomposed}\x00.  \r\n",
        "question": "Wo?\x07",
        "answer": f"{decomposed}\r\n",
    }
    [made] = apply([collected(texts, "a")], *DEFAULT)
    assert made.texts == {
        "passage": "Es war\tim Café Müller.\n",
        "question": "Wo?",
        "answer": "Café Müller\n",
    }
    assert made.id == collected(texts, "a").id
    assert made.texts["answer"].strip() in made.texts["passage"]


@pytest.mark.parametrize(
    ("step", "source", "target"),
    [
        (specs.RepairStep(), "cafÃ©", "café"),
        (specs.UnicodeStep(form="NFKC"), "ﬁne", "fine"),
        (specs.WhitespaceStep(), "a  \r\n", "a\n"),
        (specs.ChineseStep(), "今 天 天 气 ， 很 好", "今天天气，很好"),
        (specs.BoilerplateStep(), "Prose here.\n\nSkip to content", "Prose here.\n"),
        (specs.StopWordsStep(languages=("en",)), "the mill", "mill"),
        (specs.SegmentStep(by="whitespace"), "a \t b", "a b"),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_every_text_is_cleaned(step, source, target):
    [made] = apply([collected({"source": source, "target": source, "more": "right"}, "a.html")], step)
    assert made.texts == {"source": target, "target": target, "more": "right"}


@pytest.mark.parametrize(
    ("step", "emptied"),
    [
        (specs.RepairStep(), "\x00\x07"),
        (specs.BoilerplateStep(), "Skip to content"),
        (specs.StopWordsStep(languages=("en",)), "of the"),
        (specs.C4Step(sentences=0), "a menu"),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_a_text_that_cleaning_leaves_empty_is_named(step, emptied):
    made = collected({"source": "The mill stands by the river.", "target": emptied}, "a.html")
    [aside] = apply([made], step)
    assert (aside.step, aside.reason) == (step.kind, "has no target left")


def test_texts_are_judged_together():
    pair = collected({"source": "ab", "target": "cd"}, "a")
    assert apply([pair], specs.LengthStep(least=4, most=4)) == [pair]
    [short] = apply([pair], specs.LengthStep(least=5))
    assert short.detail == "4"
    sentence = "The miller and the donkey have gone to the river with that sack of grain."
    lines = collected({"source": f"{sentence}\n{sentence}", "target": "\n".join([sentence] * 3)}, "a")
    assert apply([lines], specs.C4Step(sentences=5)) == [lines]
    [few] = apply([lines], specs.C4Step(sentences=6))
    assert (few.reason, few.detail) == ("has too few sentences", "5 < 6")
    half = {"source": prose(1, 30), "target": prose(2, 30)}
    rules = specs.GopherStep(least_stop_words=0, repetition=False)
    assert documents(apply([collected(half, "a")], rules))
    assert not documents(apply([collected(half["source"], "a")], rules))


def test_personal_data_are_found_in_every_text():
    texts = {"passage": "Nothing here.", "question": "Whose?", "answer": "Ada's: ada@mills.org"}
    [made] = apply([collected(texts, "a")], specs.PersonalDataStep(action="redact"))
    assert made.texts == {**texts, "answer": "Ada's: [EMAIL]"}
    assert made.metadata["personal"] == "email:1"
    [aside] = apply([collected(texts, "a")], specs.PersonalDataStep(action="reject"))
    assert aside.detail == "email:1"


def test_one_datum_is_replaced_alike_in_all_texts():
    """Nine digits alone are nobody's; what the passage says of them holds for the answer."""
    texts = {"passage": "Her SSN 536221234 is on file; not 5362212345.", "answer": "536221234"}
    [redacted] = apply([collected(texts, "a")], specs.PersonalDataStep(action="redact"))
    assert redacted.texts == {"passage": "Her SSN [SSN_US] is on file; not 5362212345.", "answer": "[SSN_US]"}
    step = specs.PersonalDataStep(action="pseudonymise", secret="s")
    [made] = apply([collected(texts, "a")], step)
    assert made.texts["answer"] != "536221234"
    assert made.texts["passage"] == f"Her SSN {made.texts['answer']} is on file; not 5362212345."
    alone = collected({"answer": "536221234"}, "a")
    assert apply([alone], step) == [alone]
