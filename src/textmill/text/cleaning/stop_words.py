"""Function words, which say little of what a text is about. Lists of our own, of words by their part of speech."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from textmill.specs.cleaning import StopWordsStep

_ENGLISH = """
a an the
i me my mine myself you your yours yourself yourselves he him his himself she her hers herself it its itself
we us our ours ourselves they them their theirs themselves one
this that these those who whom whose which what where when why how
someone anyone everyone something anything everything nothing nobody
am is are was were be been being do does did doing done have has had having
can could may might must shall should will would ought cannot
about above across after against along among around as at before behind below beneath beside between beyond by down
during for from in inside into near of off on onto out outside over past since through throughout to toward towards
under until up upon with within without
and but or nor so yet if because although though unless while whereas whether than
not no never always often ever just only also too very quite rather almost even still already again then there here
now once more most much many few less least some any all both each every either neither such same other another own
however therefore thus else instead perhaps
i'm you're he's she's it's we're they're i've you've we've they've i'd you'd he'd she'd we'd they'd i'll you'll he'll
she'll we'll they'll isn't aren't wasn't weren't don't doesn't didn't haven't hasn't hadn't can't couldn't won't
wouldn't shouldn't mustn't let's that's there's what's who's
"""
_CHINESE = """
的 地 得 了 着 过 之 所 者 们 等 第
我 你 您 他 她 它 我们 你们 他们 她们
它们 咱 咱们 自己 自身 本人 大家 别人 人家 某 某些
这 那 哪 这个 那个 哪个 这些 那些 哪些 这里 那里 哪里 这儿
那儿 哪儿 这样 那样 这么 那么 怎么 怎样 怎么样 如何 什么 谁 为什么
多少 几 各 各个 每 每个 任何 其 其他 其它
其中 另 另外 一些 有些 一切 所有 此 该 本
是 有 没有 没 不是 在 把 被 将 给 让 使 叫 由 从 自 向 往
到 于 至 对 对于 关于 至于 跟 和 与 同 及 以及 为 为了 以 用 按 按照
根据 依照 通过 经 经过 随着 沿着 除了 比 像 如 如同 当 离 距
而 而且 并 并且 或 或者 还是 但 但是 可是 不过 然而 却 因为
因此 因而 所以 由于 于是 如果 假如 要是 若 虽然 尽管 即使 既然 只要
只有 除非 无论 不管 不但 不仅 何况 况且 此外 然后 接着 则 否则 那
不 别 未 无 非 也 都 又 还 再 就 才 只 很 太 最 更 较
比较 非常 十分 已 已经 曾 曾经 正 正在 刚 刚刚 便 仍 仍然 总 总是 常 常常
一直 可 可以 能 能够 会 要 应 应该 必须 得以 便是
就是 也是 都是 乃 均 皆 似乎 大约 几乎 甚至 尤其 特别
啊 呀 吧 呢 吗 嘛 哦 嗯 哎 唉 啦 哈 罢了 而已 似的 一样 一般
"""
STOP_WORDS: dict[str, frozenset[str]] = {
    "en": frozenset(_ENGLISH.split()),
    "zh": frozenset(_CHINESE.split()),
}
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_BLANKS = re.compile(r"(?<=[ \t])[ \t]+")


def stop_words(spec: StopWordsStep) -> Callable[[str], str]:
    """What the step does to a text: it drops the stop words of some languages, and the spaces they leave.

    A word is a run of letters, so Chinese text must have been segmented before. Case does not matter. A second time
    changes nothing.
    """
    listed = frozenset().union(*(STOP_WORDS[language] for language in spec.languages))
    return partial(drop, listed=listed)


def drop(text: str, listed: frozenset[str]) -> str:
    """Text without the words listed, and without more than one space in a row or any at the ends of lines."""
    text = _WORD.sub(lambda word: "" if word[0].lower().replace("’", "'") in listed else word[0], text)
    return "\n".join([_BLANKS.sub("", line).strip(" \t") for line in text.split("\n")])
