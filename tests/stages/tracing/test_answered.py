"""An answer traced: what of it the retrieved documents hold and what the training text, word by word."""

from __future__ import annotations

import json

import pytest

from conftest import RECIPE
from helpers.commands import call


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("answered")
    (folder / "texts").mkdir()
    trained = "the old mill turns water into flour and the miller counts the sacks before the evening comes"
    for number in range(30):
        (folder / f"texts/{number}.txt").write_text(f"{trained} number {number} of the village\n" * 3)
    (folder / "notes").mkdir()
    (folder / "notes/tea.txt").write_text("Captain Reed drank tea at noon. 守塔人叫王小明。")
    (folder / "tiny.toml").write_text(RECIPE.format(texts=folder / "texts"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for line in (["run", "tiny.toml"], ["docs", "add", "notes"]):
            said = call(line)
            assert said.code == 0, said.err
    return folder


def answer(folder, text, cited):
    place = {"path": "a", "source": "a", "page": 2, "start": 10, "text": cited}
    row = {"answer": text, "sentences": [{"text": text, "cited": [place] if cited else []}]}
    (folder / "answer.json").write_text(json.dumps(row))
    said = call(["trace", "tiny", "--answer", "answer.json", "--shortest", "4", "--json"])
    assert said.code == 0, said.err
    return json.loads(said.out)


@pytest.fixture(autouse=True)
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "100")


def test_words_are_told_apart_by_where_they_stand(folder):
    text = "Captain Reed drank tea while the old mill turns water into flour in Atlantis."
    found = answer(folder, text, "At noon captain Reed drank tea, and rested.")
    [run] = found["retrieved"]
    assert run["text"] == "Captain Reed drank tea"
    [place] = run["places"]
    assert (
        "At noon captain Reed drank tea, and rested."[place["start"] - 10 : place["end"] - 10].lower()
        == run["text"].lower()
    )
    assert place["page"] == 2
    spans = found["texts"][0]["spans"]
    assert any("mill turns water into flour" in span["text"] for span in spans)
    words = found["words"]
    assert words["documents"] == 4
    assert words["training"] >= 6
    assert (words["both"], sum(words.values())) == (0, 14)
    both = answer(folder, "the old mill turns water into flour", "Here the old mill turns water into flour.")
    assert both["words"]["both"] >= 5
    assert both["words"]["neither"] == 0
    assert answer(folder, "An invention of nobody.", "")["words"] == {
        "documents": 0,
        "training": 0,
        "both": 0,
        "neither": 4,
    }


def test_from_the_question_to_the_trace(folder):
    said = call(["docs", "ask", "守塔人是谁？", "--least", "0", "--json"])
    traced = call(["trace", "tiny", "--answer", "-"], given=said.out)
    assert traced.code == 0, traced.err
    assert "In the documents that were retrieved:" in traced.out
    assert "守塔人叫王小明" in traced.out
    assert "notes/tea.txt" in traced.out
    assert "7 in the documents only" in traced.out


@pytest.mark.parametrize("text", ["[]", "{}", '{"answer": null, "sentences": []}', "no json"])
def test_what_is_no_answer_is_refused(folder, text):
    (folder / "answer.json").write_text(text)
    said = call(["trace", "tiny", "--answer", "answer.json"])
    assert said.code in (1, 2)
    assert "--answer" in said.err
    assert "Traceback" not in said.err


def test_an_agent_traces_as_the_command_does(folder):
    text = "the old mill turns water into flour in Atlantis"
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    asked["params"] = {"name": "trace", "arguments": {"text": text, "run": "tiny"}}
    said = call(["mcp", "--trace", "tiny"], given=json.dumps(asked) + "\n")
    [answered] = map(json.loads, said.out.splitlines())
    found = answered["result"]["structuredContent"]
    shown = json.loads(call(["trace", "tiny", text, "--json"]).out)
    for told in (found, shown):
        assert told["texts"][0].pop("seconds") > 0
    assert found == shown
    assert any("mill turns water into flour" in span["text"] for span in found["texts"][0]["spans"])
