"""The command line in Chinese: help, errors, tables; and what stays English for programs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from rich.cells import cell_len

from textmill.audit.card import NAMES, write_card
from textmill.base.language import speaking
from textmill.cli import wrapping
from textmill.cli.show import stages
from textmill.cli.show.output import OUT


def ask(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TEXTMILL_LANG": "zh", "COLUMNS": "80", **variables}
    command = [sys.executable, "-m", "textmill", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_help_is_chinese_and_keeps_what_is_typed():
    shown = ask("train", "--help").stdout
    assert "用法：" in shown
    assert "训练配方的模型" in shown
    assert "--set" in shown
    assert "Show this message" not in shown
    assert max(map(cell_len, shown.splitlines())) <= 80


def test_a_sentence_without_spaces_is_wrapped_and_never_cut_off():
    shown = ask("merge", "--help").stdout
    assert "…" not in shown
    assert max(map(cell_len, shown.splitlines())) <= 80
    words = re.sub(r"[\s│]", "", shown)
    assert "用这些文本比较，而不用内置的混合文本。" in words
    assert "fp32、bf16或fp16" in words
    assert not re.search(r"bf *│|\bb *│", shown)  # a name is not torn


def test_lines_end_between_hanzi_but_not_before_a_full_stop():
    text = "编码器，英文，safetensors 文件（NOTICE.md）。（再来）"
    at, found = 0, []
    while match := wrapping.WORD.match(text, at):
        found.append(match[0])
        at = match.end()
    assert "".join(found) == text
    assert found == [
        *"编码",
        "器，",
        "英",
        "文，",
        "safetensors ",
        *"文件",
        "（NOTICE.md）。",
        "（再",
        "来）",
    ]


def test_an_error_is_chinese_and_its_json_english():
    plain, as_json = ask("train", "nowhere.toml"), ask("train", "nowhere.toml", "--json")
    assert "nowhere.toml：没有这个配方；可用 `textmill recipe new` 新建" in plain.stderr
    assert plain.returncode == as_json.returncode == 2
    assert json.loads(as_json.stdout)["error"]["what"] == "no such recipe"


def test_the_locale_decides_where_nothing_else_does():
    assert "用法：" in ask("--help", TEXTMILL_LANG="", LC_ALL="", LC_MESSAGES="", LANG="zh_CN.UTF-8").stdout
    assert "Usage:" in ask("--help", TEXTMILL_LANG="en", LANG="zh_CN.UTF-8").stdout


def test_columns_of_a_chinese_table_stand_below_one_another(capsys, monkeypatch):
    monkeypatch.setattr(OUT, "_width", 80)
    check = {"name": "lm", "max_difference": 1e-7, "mean_kl": 0.0, "first_disagreement": None, "why": ""}
    rows = [{**check, "name": name, "state": "ok"} for name in ("reload", "cached decoding", "transformers")]
    with speaking("zh"):
        stages.parity({"checks": rows, "tokens": 12, "texts": 1})
    lines = [line for line in capsys.readouterr().out.splitlines() if line.rstrip().endswith("一致")]
    assert len(lines) == 3
    assert len({cell_len(line[: line.index("一致")]) for line in lines}) == 1


@pytest.mark.parametrize("language", NAMES)
def test_a_model_has_a_card_in_each_language_whoever_publishes(tmp_path, language):
    with speaking(language):
        write_card(tmp_path, {"name": "mill", "model": {"layers": 4}})
    assert "| layers | 4 |" in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| 层数 | 4 |" in (tmp_path / "README.zh.md").read_text(encoding="utf-8")
