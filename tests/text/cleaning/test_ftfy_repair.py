"""ftfy, Chinese and boilerplate: what changes, what must not, and that a second time changes nothing."""

from __future__ import annotations

import gzip
import json
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.specs.cleaning import BoilerplateStep, ChineseStep, FtfyStep
from textmill.text.cleaning import steps
from textmill.text.cleaning.boilerplate import boilerplate
from textmill.text.cleaning.chinese import chinese, close_up, convert, full_punctuation, width
from textmill.text.cleaning.ftfy_repair import ftfy_repair
from textmill.text.document import collected

DATA = Path(__file__).parents[4] / "shared" / "data"


# --- ftfy ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ("&lt;p&gt; caf&eacute; &amp;amp; more", "<p> café & more"),
        ("<p>&amp;</p>", "<p>&amp;</p>"),
        ("dÃ©jÃ\xa0 vu", "déjà vu"),
        ("ﬁne ﬂour", "fine flour"),
        ("l\u2019humanitÃ©", "l\u2019humanité"),
        ("“curled” ‘quotes’ ＦＵＬＬ", "“curled” ‘quotes’ ＦＵＬＬ"),
        ("line\r\nline\rline\u2028line", "line\nline\nline\nline"),
        ("plain text\twith a tab\n", "plain text\twith a tab\n"),
        ("你好，世界 Ελλάδα", "你好，世界 Ελλάδα"),
        ("", ""),
    ],
)
def test_ftfy(text, repaired):
    pytest.importorskip("ftfy")
    (item,) = steps.apply([collected(text, "a")], (FtfyStep(),))
    assert item.text == repaired


# --- Chinese ------------------------------------------------------------------------------------------------------
def test_width():
    assert (
        width("ＧＰＴ４ 在２０２３年，３．１４，１２：３０，５０％；甲．乙")
        == "GPT4 在2023年，3.14，12:30，50%；甲．乙"
    )


@pytest.mark.parametrize(
    "text",
    [
        "三年级一班名单：张三 李四 王五 赵六 欧阳春",
        "姓名 性别 年龄",
        "床前明月光 疑是地上霜",
        "举头望明月　低头思故乡",
        "男 女 老人",
        "张 三　　李 四",
        "《静夜思》 李白",
        "联系人 王老师",
        "第一课 生字",
    ],
)
def test_blanks_that_part_words_names_and_verses_stay(text):
    assert close_up(text) == text
    assert chinese(ChineseStep())(text) == text


@pytest.mark.parametrize(
    "text",
    [
        '{"姓名": "张三", "城市": "北京,上海", "年龄": 12}',
        '{\n  "姓名": "张三",\n  "城市": ["北京", "上海"]\n}',
        '打印函数 print("你好, 世界!")',
        "名单 = [张三, 李四]  # 名单,注释",
        "# 注释, 说明",
        "if 姓名 == 张三: 打印(姓名, 年龄)",
        "<p>你好, 世界!</p>",
        "```\n姓名, 年龄, 今 天 天 气\n```",
        "def 函数(甲, 乙):\n    返回 甲 + 乙, 3",
        "for 项 in 列表:\n    列表.append(项, 1)",
        "SELECT 姓名, 年龄 FROM 学生",
        "甲, 乙 = 乙, 甲",
    ],
)
def test_code_and_data_are_left_alone(text):
    assert chinese(ChineseStep())(text) == text
    prose = "你好, 世界\n"
    assert chinese(ChineseStep())(f"{prose}{text}\n{prose}") == f"你好，世界\n{text}\n你好，世界\n"


def test_files_of_programs_are_left_alone():
    made = [collected("注释, 说明", source) for source in ("a.py", "a.txt", "a.jsonl:line 3")]
    assert [item.text for item in steps.apply(made, (ChineseStep(),))] == [
        "注释, 说明",
        "注释，说明",
        "注释，说明",
    ]


def test_blanks_between_hanzi():
    assert close_up("今 天\u3000天 气 ， 很 好 OK 吗\n　　第二行 ") == "今天天气，很好 OK 吗\n　　第二行 "


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("你好,世界!真的?是的;好:对.", "你好，世界！真的？是的；好：对。"),
        ("你好, 世界", "你好，世界"),
        ("用Python,很好", "用Python，很好"),
        ("圆周率是3.14,约为3", "圆周率是3.14，约为3"),
        ("约3,000元,时间8:30", "约3,000元，时间8:30"),
        ("见http://例.cn/a,b?c:d和https://a.cn/x,y.", "见http://例.cn/a,b?c:d和https://a.cn/x,y."),
        ('He said: "Hello, world!" (twice).', 'He said: "Hello, world!" (twice).'),
        ("北京(Beijing)是首都", "北京（Beijing）是首都"),
        ("print(你好)", "print(你好)"),
        ("Python(编程语言)是", "Python（编程语言）是"),
        ("文件名.txt 和 1.打开", "文件名.txt 和 1.打开"),
        ("等等...", "等等..."),
        ("他说:)", "他说：)"),
        ("&lt;无输入&gt;好", "&lt;无输入&gt;好"),
        ("key:值,然后", "key:值，然后"),
        ("约翰．史密斯。", "约翰．史密斯。"),
        ("一了．二了．三了．四了．", "一了。二了。三了。四了。"),
    ],
)
def test_full_punctuation(text, full):
    assert full_punctuation(text) == full


def test_the_step_leaves_other_languages_alone():
    step = chinese(ChineseStep())
    japanese = "これは ＡＢＣ です, 東京 大阪"
    for text in (japanese, "Plain English, with (brackets).", "ＦＵＬＬ width", ""):
        assert step(text) == text
    assert step("ＡＢＣ 是 字 母, 对") == "ABC 是字母，对"
    assert chinese(ChineseStep(punctuation="half"))("你好，世界。") == "你好,世界."
    assert chinese(ChineseStep(punctuation="keep", width=False))("你 好, Ａ") == "你 好, Ａ"


def test_one_script():
    pytest.importorskip("opencc")
    simplified, traditional = "头发和发现，皇后在后面的里面，国家", "頭髮和發現，皇后在後面的裏面，國家"
    assert convert(simplified, "traditional") == traditional
    assert convert(traditional, "simplified") == simplified
    assert convert(traditional, "traditional") == traditional
    assert convert("鄉里的公里，詩云，国", "traditional") == "鄉里的公里，詩云，國"
    assert convert(simplified, "keep") == simplified


def test_real_chinese_keeps_its_script_and_its_words():
    pytest.importorskip("opencc")
    path = DATA / "chinese-classics" / "hongloumeng.txt.gz"
    if not path.exists():
        pytest.skip("no data here")
    text = gzip.decompress(path.read_bytes()).decode()[:60_000]
    there = convert(text, "traditional")
    assert there != text
    assert convert(there, "traditional") == there
    back = convert(there, "simplified")
    assert sum(a != b for a, b in zip(back, text, strict=True)) / len(text) < 0.001


# --- boilerplate --------------------------------------------------------------------------------------------------
PAGE = """Home | Sport | Contact us | Privacy policy
Skip to main content
Menu
Search
Log in

The old mill

The mill by the river was built in 1790, and it still turns. Share this with
your children: next to it stands the home of the baker.

We use cookies to improve your experience. By continuing you agree.
Accept all cookies
Share on Facebook
Share
Tweet
Page 3 of 12
- 4 -
Copyright © 2024 The Mill Trust. All rights reserved.
Back to top"""
PAGE_ZH = """首页
关于我们
联系我们

磨坊的故事

河边的磨坊建于一七九〇年，至今还在转动。请把它分享给你的孩子。
当前位置：首页 > 新闻
上一篇 下一篇
分享到：微信 | 微博
阅读(1234)
第 3 页 共 12 页
版权所有 © 2024 磨坊信托
京ICP备12345678号-1
设为首页 | 加入收藏
返回顶部"""


def test_furniture_goes_and_prose_stays():
    assert [line for line in boilerplate(PAGE, 4).split("\n") if line] == [
        "The old mill",
        "The mill by the river was built in 1790, and it still turns. Share this with",
        "your children: next to it stands the home of the baker.",
    ]
    assert [line for line in boilerplate(PAGE_ZH, 4).split("\n") if line][:2] == [
        "磨坊的故事",
        "河边的磨坊建于一七九〇年，至今还在转动。请把它分享给你的孩子。",
    ]
    assert len([line for line in boilerplate(PAGE_ZH, 4).split("\n") if line]) <= 3


@pytest.mark.parametrize(
    "text",
    [
        "Contact\n\nThe office is open from nine to five.\n\nAbout us\n\nWe are a mill.",  # headings
        "Home\n\nwhere the heart is",
        "We use cookies as the base of the cake.",
        "By using the cookies of yesterday, she saved the day.",
        "1\n2\n3\n",
        "def home():\n    return back\n\nsearch = 3  # next\nmenu = {}",
        "ROMEO:\nYes.\nJULIET:\nNo.\n" * 20,
        "And the wheel goes round\n" * 30,
        "* more\n* text of it",
        "| home | search |\n|---|---|\n| home | menu |",
        "The mill | the river | home",
        "更多\n\n的人来到了这里。",
    ],
)
def test_what_only_looks_like_furniture_stays(text):
    assert boilerplate(text, 4) == text


def test_running_headers_go():
    page = "\n".join(f"line {number} of the text runs on here" for number in range(30))
    book = "\n".join(f"The History of the Mill\n{page} {part}" for part in range(6))
    assert "The History of the Mill" not in boilerplate(book, 4)
    assert boilerplate(book, 7) == book
    verses = "\n".join(f"verse {part}\nand more\nAnd the mill goes round\n" for part in range(6))
    assert boilerplate(verses, 4) == verses


def lines_of(name, field):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not here")
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        value = json.loads(line)[field]
        yield value if isinstance(value, str) else "\n".join(value)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("english-novels/valid.jsonl.gz", "text"),
        ("instruct-en/alpaca_2k.jsonl.gz", "output"),
        ("instruct-zh/alpaca_zh_5k.jsonl.gz", "output"),
        ("chinese-poetry/songci.train.jsonl.gz", "paragraphs"),
    ],
)
def test_real_prose_loses_next_to_nothing(name, field):
    texts = list(lines_of(name, field))
    lines = sum(text.count("\n") + 1 for text in texts)
    gone = sum(text.count("\n") - boilerplate(text, 4).count("\n") for text in texts)
    assert gone / lines < 0.001


# --- all of them --------------------------------------------------------------------------------------------------
pieces = st.one_of(
    st.sampled_from(
        "中文的说世国里后頭發。，．,.:;!?()（）“”\"' \u3000\u00a0\n\tAb１Ａ09％&;<>|-—·…のア\r\u2028"
    ),
    st.sampled_from(
        [
            "http://a.cn/x,y",
            "&lt;",
            "&amp;lt;",
            "Ã©",
            "ﬁ",
            "Home",
            "Menu",
            "Share on X",
            "Page 3",
            "\n\n",
            "皇后",
            "头发",
        ]
    ),
    st.characters(exclude_categories=()),
)
nasty = st.lists(pieces, max_size=40).map("".join)
CHANGES = {
    "ftfy": ("ftfy", lambda: ftfy_repair),
    "full": ("", lambda: chinese(ChineseStep())),
    "half": ("", lambda: chinese(ChineseStep(punctuation="half"))),
    "keep": ("", lambda: chinese(ChineseStep(punctuation="keep"))),
    "punctuation": ("", lambda: chinese(ChineseStep(width=False))),
    "simplified": ("opencc", lambda: chinese(ChineseStep(script="simplified"))),
    "traditional": ("opencc", lambda: chinese(ChineseStep(script="traditional"))),
    "boilerplate": ("", lambda: partial(boilerplate, repeats=2)),
}


@pytest.mark.parametrize("name", CHANGES)
@given(text=nasty)
@settings(max_examples=200, deadline=None)
def test_a_second_time_changes_nothing(name, text):
    library, make = CHANGES[name]
    if library:
        pytest.importorskip(library)
    change = make()
    once = change(text)
    assert change(once) == once


furniture = st.sampled_from(
    ["Menu", "Home", "a line of prose", "Share on X", "", "The Running Header", "more\tless"]
)


@given(st.lists(furniture, max_size=60).map("\n".join))
def test_boilerplate_only_drops_lines_and_settles(text):
    once = boilerplate(text, 2)
    rest = iter(text.split("\n"))
    assert not once or all(line in rest for line in once.split("\n"))
    assert boilerplate(once, 2) == once


def test_hostile_text_takes_linear_time(within):
    size = 100_000
    repeated = [
        "中(",
        "中,",
        "(中",
        "中 ",
        "中．",
        "www.",
        "Home\n",
        "Home|",
        "Home\nx\n",
        "-1-\n",
        "&",
        "ａ：",
        "中\u3000",
    ]
    hostile = [piece * size for piece in repeated] + [
        "(中" * size + ")" * size,
        "中" + "&" * size + " " * size + "中",
    ]
    for text in hostile:
        for change in (chinese(ChineseStep()), partial(boilerplate, repeats=BoilerplateStep().repeats)):
            with within(5):
                change(text)
