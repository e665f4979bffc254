"""Lines of pages that are no prose: menus, cookie notices, share buttons, page numbers, running headers.

Only pages have such lines: those of the web lose all of these, those of a PDF page numbers and running headers. In any
other document `Home`, `Help!` and `More` are words of a list or a play, and nothing goes.

A line goes only when all of it is a known phrase of furniture, or a chain of such phrases, or when it is short and
stands many times in the document. Nothing is ever cut out of a sentence. How many lines went is told in the metadata
(`removed`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise
from urllib.parse import urlsplit

from textmill.specs.cleaning import BoilerplateStep
from textmill.text.document import Document, Item, Step, ending, rewritten
from textmill.text.lines import lines_lost

_LONGEST = 120  # characters of a line that may be furniture
_SECTION = 20  # characters of the name of a section in a menu
_LONGEST_REPEATED = 80  # characters of a line that may be a running header
_FEWEST_WORDS = 2  # of a repeated line (two hanzi count as one): `***`, `}` and `end` are no headers
_APART = 10  # lines between two headers at least
_PAGE = 20  # lines of a page at least, where nothing but its regularity tells a header from a refrain
_ROUNDS = 20
_BLANK, _PROSE, _PHRASE, _FURNITURE = range(4)  # what a line is

# Whole phrases, lower case, spaces as one, without marks at their ends.
_ENGLISH = """
accept|accept all|accept all cookies|accept cookies|reject all|reject cookies|cookie settings|cookie policy
cookie preferences|manage cookies|manage preferences|manage consent|privacy policy|privacy notice|privacy
terms of use|terms of service|terms and conditions|terms & conditions|terms|disclaimer|legal notice|imprint
skip to content|skip to main content|skip navigation|skip to navigation|jump to navigation|toggle navigation
main menu|menu|close menu|open menu|search|search for|search this site|home|home page|homepage|sitemap|site map
about|about us|contact|contact us|help|faq|faqs|careers|jobs|press|advertise|advertise with us|feedback
log in|login|log out|logout|sign in|sign up|sign out|register|create account|create an account|my account
forgot password|forgot your password|subscribe|subscribe now|unsubscribe|newsletter|sign up for our newsletter
subscribe to our newsletter|rss|rss feed|share|share this|share this article|share this page|share this post
share on facebook|share on twitter|share on x|share on linkedin|share on whatsapp|share via email|tweet|tweet this
pin it|email this|email|print|print this page|print this article|copy link|save|like|follow|follow us|like us
follow us on facebook|follow us on twitter|facebook|twitter|instagram|linkedin|youtube|pinterest|whatsapp|reddit
telegram|tumblr|read more|read more...|continue reading|show more|load more|see more|view more|view all|see all
learn more|more|less|show less|next|previous|prev|next page|previous page|next post|previous post|next article
previous article|back|back to top|top|go to top|return to top|back to home|related articles|related posts
related stories|related content|you may also like|you might also like|recommended for you|recommended
most popular|most read|trending|trending now|popular posts|recent posts|latest news|latest posts|leave a comment
leave a reply|post a comment|post comment|add a comment|comments|no comments|view comments|reply|report|cancel
submit|advertisement|advertisements|sponsored|sponsored content|sponsored links|ad|all rights reserved|loading
loading...|please wait|click here|download|download pdf|download now|buy now|add to cart|checkout|view cart
powered by wordpress|categories|tags|archives|filed under|posted in|english|deutsch|français|español|italiano
edit|edit this page|page not found|javascript is disabled|please enable javascript
"""
_CHINESE = """
首页|主页|网站首页|返回首页|回到首页|返回顶部|回到顶部|返回列表|返回上一页|返回|上一页|下一页|上一篇|下一篇|上一章|下一章|末页
尾页|登录|登陆|注册|免费注册|立即注册|退出|退出登录|忘记密码|找回密码|用户登录|会员登录|会员中心|个人中心|我的账户|搜索|站内搜索
高级搜索|热门搜索|联系我们|关于我们|关于本站|网站地图|版权声明|免责声明|隐私政策|隐私声明|隐私条款|服务条款|使用条款|用户协议
法律声明|广告服务|广告合作|商务合作|友情链接|加入我们|诚聘英才|人才招聘|招贤纳士|意见反馈|帮助中心|在线客服|客服中心|设为首页
加入收藏|收藏本站|收藏|分享|分享到|分享到微信|分享到微博|分享到朋友圈|分享到qq空间|转发|点赞|评论|发表评论|我要评论|查看评论
全部评论|最新评论|热门评论|写评论|回复|举报|打印|打印本页|打印本文|关闭|关闭窗口|关闭本页|字体|大|中|小|大 中 小
查看更多|更多|更多>>|阅读全文|查看全文|展开全文|展开|收起|点击查看|点击加载更多|加载更多|加载中|加载中...|加载中…|正在加载|相关阅读|相关文章
相关推荐|相关新闻|推荐阅读|热门推荐|为您推荐|猜你喜欢|热门文章|最新文章|热点新闻|点击排行|阅读排行|广告|责任编辑|扫一扫
扫码下载|扫描二维码|扫码关注|微信扫一扫|关注我们|关注公众号|官方微博|官方微信|微信|微博|新浪微博|腾讯微博|qq空间|朋友圈|豆瓣
下载app|手机版|电脑版|触屏版|客户端|移动版|网页版|简体中文|繁體中文|繁体中文|简体|繁体|中文版|英文版|接受|全部接受|同意|不同意
接受所有cookie|cookie设置|管理cookie|跳转到内容|跳至内容|跳到主要内容|跳过导航|菜单|导航|当前位置|您的位置|目录|版权所有|保留所有权利
"""
_PHRASES = frozenset(
    phrase.strip() for line in (_ENGLISH + _CHINESE).splitlines() for phrase in line.split("|")
) - {""}
# Of these, what nobody writes as a heading or a line of a list: such a line goes wherever it stands. Any other
# phrase goes only when the line before or after it (empty ones aside) is furniture too, as in a menu.
_UNMISTAKABLE = re.compile(
    r"(accept|reject|manage) (all )?cookies|accept all|reject all|skip (to|navigation).*|jump to.*|toggle .*"
    r"|share (on|via|this) .*|share this|follow us( on)? .*|sign up for our .*|subscribe to our .*"
    r"|(back|go|return) to top"
    r"|click here|please enable .*|javascript is .*|powered by .*|pin it|tweet this|add to cart|view cart|copy link"
    r"|all rights reserved|(create|forgot) .*(account|password)|leave a (comment|reply)|post (a )?comment"
    r"|you (may|might) also like"
    r"|(follow|like) us|continue reading|设为首页|加入收藏|收藏本站|(返回|回到)(首页|顶部|列表)|关闭(窗口|本页)"
    r"|打印(本页|本文)|跳.+"
    r"|点击.+|扫.+|正在加载|加载.+|分享到.+|发表评论|我要评论|免费注册|立即注册|忘记密码|找回密码|保留所有权利|.*cookie.*|下载app|微信扫一扫"
)
# Page numbers: `Page 3 of 12`, `- 3 -`, `第 3 页 共 12 页`. A number alone may be a list or a poem's.
_PAGE_NUMBER = re.compile(
    r"[-–—] ?\d{1,5} ?[-–—]|page \d{1,5}( ?(of|/) ?\d{1,5})?"
    r"|第 ?\d{1,5} ?页( ?[,，/|]? ?共 ?\d{1,5} ?页)?|共 ?\d{1,5} ?页",
    re.IGNORECASE,
)
_NOTICE = re.compile(
    "|".join(
        (
            # Rights, at the beginning of a short line.
            r"(copyright|©|\(c\)|版权所有)[^。!?！？]{0,60}"
            r"(all rights reserved|版权所有|保留所有权利|\d{4})[^!?！？。]{0,50}",
            r"[^.。]{0,20}icp[备证]?[ 0-9号-]{6,20}(号?-?\d{0,3})?",
            # Cookie notices: they name cookies and speak for the site.
            r"(we|this (web ?)?site|our (web ?)?site)( and our partners)? uses? cookies"
            r" (to|for|on|and|that|which|so)\b.{0,90}",
            r"by (continuing|using|clicking|browsing)\b.{0,60}\b(you|agree|accept|consent)\b.{0,60}\bcookies\b.{0,40}",
            r"(本网站|本站|我们)使用 ?cookies?.{0,60}",
            # Counters of buttons: `Share 12`, `12 comments`, `阅读(123)`.
            r"(shares?|tweet|likes?|comments?|views?|阅读|评论|点赞|浏览|转发|分享|收藏)"
            r"[ :：]?[(（\[]?\d{1,7}[)）\]]?",
            r"\d{1,7} (shares|likes|comments|views|followers|retweets)",
        )
    ),
    re.IGNORECASE,
)
_ENDS = " \t\u3000\u00a0|·•>»›<«‹→←↑↓:：,，.。!！?？*-–—…/\\[]【】()（）"
_PARTS = re.compile(
    r"\s*(?:[|｜·•»›→：]|(?<=[\u4e00-\u9fff]) (?=[\u4e00-\u9fff])|\s/\s|\s[>＞]+\s|\t|\u3000| {2,}|\s-\s)\s*"
)
# Without one of these a line is no chain, no notice and no page number.
_HINT = re.compile(
    r"[\d|｜·•»›→：\t\u3000©]|[\u4e00-\u9fff] (?=[\u4e00-\u9fff])| [-/>＞] |  |[Cc]ookie|COOKIE|版权"
)
_LONGEST_PHRASE = max(map(len, _PHRASES)) + 8  # and some marks around it
_BLANKS = re.compile(r"\s+")
_WORDS = re.compile(r"[a-zA-Z\u00c0-\u024f\u0370-\u052f]{2,}|[\u3400-\u9fff]{2}")
_CODE = re.compile(r"[{}();=<>\[\]`$\\|]|^\s{4,}|^\t")  # what lines of code, tables and markup look like


_WEB = frozenset((".html", ".htm", ".xhtml", ".shtml", ".mhtml", ".mht", ".warc", ".wet"))
# What an address of a page may end in: nothing, or the program that makes it.
_MADE = _WEB | {"", ".php", ".asp", ".aspx", ".jsp", ".cgi", ".do"}
_PAPER = frozenset((".pdf",))


def step(spec: BoilerplateStep) -> Step:
    """The step: pages lose the lines that are furniture, other documents none."""
    web = partial(boilerplate, repeats=spec.repeats)
    paper = partial(boilerplate, repeats=spec.repeats, of=page_line)

    def each(items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            change = None
            if isinstance(item, Document):
                change = web if is_web_page(item) else paper if ending(item.source) in _PAPER else None
            if change is None or not isinstance(item, Document):
                yield item
                continue
            texts = {role: change(text) for role, text in item.texts.items()}
            lost = lines_lost(item.texts, texts)
            yield item if texts == item.texts else rewritten(item, texts, spec.kind, lost)

    return each


def is_web_page(document: Document) -> bool:
    """Whether a document was a page of the web: by the kind of its file, or by the address it came from."""
    if ending(document.source) in _WEB:
        return True
    address = document.metadata.get("url") or document.source
    if not address.startswith(("http://", "https://")):
        return False
    try:
        return ending(urlsplit(address).path) in _MADE
    except ValueError:  # no address at all
        return False


def boilerplate(text: str, repeats: int, of: Callable[[str], int] | None = None) -> str:
    """Text without the lines that are furniture.

    repeats: a short line that stands this often, alone or once a page, is a running header. of: what a line is, `kind`
    when left out.
    """
    lines = text.split("\n")
    kinds = [(of or kind)(line) for line in lines]
    for _ in range(_ROUNDS):  # what goes may bring together what stood apart
        going = _menus(kinds) | _headers(lines, kinds, repeats)
        if not going:
            break
        lines = [line for number, line in enumerate(lines) if number not in going]
        kinds = [line_kind for number, line_kind in enumerate(kinds) if number not in going]
    else:
        return text  # nothing but made for this: left whole
    return "\n".join(lines)


def page_line(line: str) -> int:
    """Whether a line of a printed page is empty, prose, or its page's number."""
    line = line.strip()
    if not line:
        return _BLANK
    return _FURNITURE if len(line) <= _LONGEST_REPEATED and _PAGE_NUMBER.fullmatch(line) else _PROSE


def kind(line: str) -> int:
    """Whether a line is empty, prose, a phrase that may be a heading or furniture, or surely furniture."""
    size = len(line)
    if size > _LONGEST:
        return _PROSE
    # Nearly every line of prose leaves here: too long for a phrase, and without a mark or a word of a notice.
    line = line.strip()
    hinted = _HINT.search(line) is not None
    if size > _LONGEST_PHRASE and not hinted:
        return _PROSE
    bare = line.strip(_ENDS)
    if not bare:
        return _FURNITURE if _PAGE_NUMBER.fullmatch(line) else _PROSE if line else _BLANK
    bare = _BLANKS.sub(" ", bare).lower() if "  " in bare or "\t" in bare else bare.lower()
    if bare in _PHRASES:
        return _FURNITURE if _UNMISTAKABLE.fullmatch(bare) else _PHRASE
    if not hinted:
        return _PROSE
    if _PAGE_NUMBER.fullmatch(line) or _PAGE_NUMBER.fullmatch(bare) or _NOTICE.fullmatch(bare):
        return _FURNITURE
    return _FURNITURE if _is_chain(line) else _PROSE


def _is_chain(line: str) -> bool:
    """Whether a line is a menu: phrases side by side, among them perhaps the names of a site's own sections.

    Not where it begins with a bar, as rows of tables do.
    """
    parts = [part for part in (part.strip(_ENDS).lower() for part in _PARTS.split(line)) if part]
    known = sum(part in _PHRASES for part in parts)
    if len(parts) < 2 or line.startswith("|"):
        return False
    return known == len(parts) or (
        known >= 2 and 2 * known >= len(parts) and max(map(len, parts)) <= _SECTION
    )


def _menus(kinds: list[int]) -> set[int]:
    """The lines that are furniture, by themselves or by their neighbours."""
    if max(kinds, default=_BLANK) < _PHRASE:
        return set()
    filled = [number for number, line_kind in enumerate(kinds) if line_kind != _BLANK]
    likely = [kinds[number] >= _PHRASE for number in filled]
    return {
        number
        for at, number in enumerate(filled)
        if kinds[number] == _FURNITURE
        or (likely[at] and ((at and likely[at - 1]) or (at + 1 < len(filled) and likely[at + 1])))
    }


def _headers(lines: list[str], kinds: list[int], repeats: int) -> set[int]:
    """Short lines that stand again and again, such as the title of a book on each of its pages."""
    if len(lines) < _APART * (repeats - 1):
        return set()
    counts = Counter(lines)
    often = {line: list[int]() for line, count in counts.items() if count >= repeats and _header_like(line)}
    if not often:
        return set()
    for number, line in enumerate(lines):
        if line in often:
            often[line].append(number)
    return {number for numbers in often.values() if _are_headers(numbers, kinds) for number in numbers}


def _header_like(line: str) -> bool:
    """Whether a line could be a header: short, of some words, no sentence, no speaker's name, no code."""
    bare = line.strip()
    return (
        len(bare) <= _LONGEST_REPEATED
        and bare[-1:] not in _SENTENCE_ENDS
        and len(_WORDS.findall(bare)) >= _FEWEST_WORDS
        and not _CODE.search(line)
    )


_SENTENCE_ENDS = tuple(".!?,;:。！？，；：、…\"'”’」』)-—*")


def _are_headers(numbers: list[int], kinds: list[int]) -> bool:
    """Far apart, and each time alone between blank lines, or as regular as pages are."""
    gaps = [after - before for before, after in pairwise(numbers)]
    if min(gaps) < _APART:
        return False
    if min(gaps) >= _PAGE and max(gaps) <= 1.5 * min(gaps):
        return True
    empty = (_BLANK, _FURNITURE)
    return all(
        (number == 0 or kinds[number - 1] in empty)
        and (number + 1 == len(kinds) or kinds[number + 1] in empty)
        for number in numbers
    )
