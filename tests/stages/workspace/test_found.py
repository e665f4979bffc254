"""What was found out is remembered for as long as its facts hold, and may be lost."""

from __future__ import annotations

import os

from textmill.stages.workspace.found import FOLDER, Found, facts_of, found_in


def test_it_is_found_out_again_where_facts_have_changed_or_memory_is_lost(tmp_path):
    found, sought = Found(tmp_path / "found"), []

    def find():
        sought.append(1)
        return len(sought)

    assert [found.out("weights", facts, find) for facts in ([1], [1], [2], [2], [1])] == [1, 1, 2, 2, 3]
    assert Found(tmp_path / "found").out("weights", [1], find) == 3
    assert found.out("another thing", [1], find) == 4
    for path in (tmp_path / "found").iterdir():
        path.write_text('{"facts": [1]')
    assert found.out("weights", [1], find) == 5
    (tmp_path / "file").write_text("")
    lost = Found(tmp_path / "file")
    assert [lost.out("weights", [1], find) for _ in range(2)] == [6, 7]


def test_facts_of_files_are_those_of_each(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("same")
    two.write_text("same")
    before = facts_of([one, two])
    assert facts_of([one, two]) == before
    two.write_text("other")
    os.utime(two, ns=(1, 1))
    assert facts_of([one, two])[0] == before[0]
    assert facts_of([one, two])[1] != before[1]


def test_a_workspace_keeps_its_own_and_without_one_the_cache_does(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert found_in(tmp_path).folder == tmp_path / FOLDER
    away = found_in(tmp_path / "none").folder
    assert tmp_path not in (away, away.parent)
    assert not (tmp_path / "none").exists()
