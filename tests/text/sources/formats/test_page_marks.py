"""Pages say in characters what they show: numbers of lists, powers, readings, formulas, what forms hold."""

from __future__ import annotations

import html as markup

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.specs.corpus import LimitSpec
from textmill.text.sources.formats import html
from textmill.text.sources.formats.stream import Deadline


def text(source: str) -> str:
    """The text of a page."""
    return html.extract(source, Deadline(LimitSpec())).text


# --- lists --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("<ol start=5><li>a<li>b</ol>", ["5. a", "6. b"]),
        ("<ol><li value=10>a<li>b<li value=3>c</ol>", ["10. a", "11. b", "3. c"]),
        ("<ol reversed><li>a<li>b<ul><li>x<li>y</ul><li>c</ol>", ["3. a", "2. b", "• x", "• y", "1. c"]),
        ("<ol reversed start=9><li>a<li>b</ol>", ["9. a", "8. b"]),
        ("<ol type=a start=26><li>a<li>b</ol>", ["z. a", "aa. b"]),
        ("<ol type=I start=4><li>a<ol type=i><li>b</ol><li>c</ol>", ["IV. a", "i. b", "V. c"]),
        ("<ol style='list-style-type: upper-alpha'><li>a</ol>", ["A. a"]),
        ("<ol style='list-style: none'><li>a</ol>", ["a"]),
        ("<ol><li><p>a</p></li><li><div><p>b</p></div></li></ol>", ["1. a", "2. b"]),
        ("<ol type=i start=0><li>a<li>b</ol>", ["0. a", "i. b"]),
        ("<ol start=x><li>a</ol><ol start=-1><li>b<li>c</ol>", ["1. a", "-1. b", "0. c"]),
        ("<ol><li>a<li></li><li>b</ol>", ["1. a", "3. b"]),
        ("<ul><li>a</ul><menu><li>b</menu>", ["• a", "• b"]),
    ],
)
def test_lists_have_the_numbers_a_reader_sees(source, lines):
    assert [line.strip() for line in text(source).splitlines() if line.strip()] == lines


def _roman(number: int) -> str:
    """A Roman numeral by repeated subtraction."""
    text = ""
    for value, letters in zip(
        (1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1),
        ("m", "cm", "d", "cd", "c", "xc", "l", "xl", "x", "ix", "v", "iv", "i"),
        strict=True,
    ):
        while number >= value:
            number -= value
            text += letters
    return text


_ITEM = st.recursive(
    st.just([]),
    lambda lists: st.lists(
        st.tuples(
            st.sampled_from(("", "a", "i", "1")),
            st.integers(1, 30),
            st.booleans(),
            st.lists(lists, min_size=1, max_size=3),
        ),
        max_size=2,
    ),
    max_leaves=8,
)


def _written(lists, number=lambda n, kind: str(n)) -> tuple[str, list[str]]:
    """(HTML, the lines a reader sees) of lists of items that hold lists."""
    source, lines = "", []
    for kind, start, reverse, items in lists:
        source += f"<ol type='{kind}' start={start}{' reversed' if reverse else ''}>"
        for place, inner in enumerate(items):
            n = start - place if reverse else start + place
            mark = str(n)
            if kind == "a" and n > 0:
                mark = (
                    "abcdefghijklmnopqrstuvwxyz"[n - 1]
                    if n <= 26
                    else f"a{'abcdefghijklmnopqrstuvwxyz'[n - 27]}"
                )
            elif kind == "i" and n > 0:
                mark = _roman(n)
            inner_source, inner_lines = _written(inner)
            source += f"<li>word{inner_source}</li>"
            lines += [f"{mark}. word", *inner_lines]
        source += "</ol>"
    return source, lines


@settings(max_examples=100, deadline=None)
@given(_ITEM)
def test_any_lists_within_lists(lists):
    source, lines = _written(lists)
    assert [line.strip() for line in text(f"<body>{source}").splitlines() if line.strip()] == lines


# --- powers, readings, formulas -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("x<sup>2</sup> and x<sub>2</sub>", "x² and x₂"),
        ("10<sup>-3</sup> m, 2<sup>n+1</sup>", "10⁻³ m, 2ⁿ⁺¹"),
        ("e<sup>x</sup>, e<sup>iωt</sup>, 2<sup>k</sup>, a<sup>1/2</sup>", "e^x, e^(iωt), 2^k, a^(1/2)"),
        ("1<sup>1</sup>/<sub>2</sub> cups, and/<sub>or</sub>", "1¹/₂ cups, and/or"),
        ("x<sub>i</sub>, v<sub>max</sub>, p<sub>i,j</sub>, H<sub>2</sub>O", "x_i, v_max, p_(i,j), H₂O"),
        ("1<sup>st</sup>, 2<sup>e</sup>, M<sup>me</sup>, n<sup>o</sup> 5", "1st, 2e, Mme, no 5"),
        ("died<sup><a href='#n1'>12</a></sup> in winter<sup>[3]</sup>", "died¹² in winter[3]"),
        ("x<sup>2<sup>n</sup></sup>", "x^(2ⁿ)"),
        ("<sup>14</sup>C, Mill<sup>TM</sup>", "¹⁴C, Mill™"),
        ("word<sup>a</sup>", "wordᵃ"),
        ("<ruby>漢<rp>(</rp><rt>かん</rt><rp>)</rp>字<rt>じ</rt></ruby>です", "漢(かん)字(じ)です"),
        ("<ruby><rb>東<rb>京<rt>とう<rt>きょう</ruby>", "東京(とうきょう)"),
        ("<ruby>磨坊<rp>（</rp><rt>mòfáng</rt><rp>）</rp></ruby>", "磨坊（mòfáng）"),
        ("<q>yes <q>no</q></q>", "“yes ‘no’”"),
    ],
)
def test_what_small_letters_and_marks_mean(source, line):
    assert text(f"<p>{source}</p>") == line


_TEX = "<annotation encoding='application/x-tex'>E=mc^2</annotation>"
_SQUARE = "<msup><mi>x</mi><mn>2</mn></msup>"


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (f"<math>{_SQUARE}<mo>=</mo><mn>4</mn></math>", "x^2=4"),
        ("<math><mfrac><mrow><mi>a</mi><mo>+</mo><mn>1</mn></mrow><mi>b</mi></mfrac></math>", "(a+1)/b"),
        ("<math><msqrt><mi>x</mi><mi>y</mi></msqrt></math>", "√(xy)"),
        ("<math><msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup></math>", "x_i^2"),
        ("<math><munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi></munderover><mi>i</mi></math>",
         "∑_(i=1)^ni"),
        (f"<math><semantics><mi>E</mi>{_TEX}</semantics></math>", "E=mc^2"),
        ("<math alttext='x+y'></math>", "x+y"),
        (f"<span class=katex><span class=katex-mathml><math><semantics><mi>E</mi>{_TEX}</semantics></math></span>"
         "<span class=katex-html aria-hidden=true>E=mc2</span></span>", "E=mc^2"),
        ("<span><span class=mwe-math-mathml-a11y style='display: none;'><math><semantics><mi>x</mi>"
         "<annotation encoding='application/x-tex'>{\\displaystyle x^{2}}</annotation></semantics></math></span>"
         "<img class=mwe-math-fallback-image-inline aria-hidden=true alt='{\\displaystyle x^2}'></span>", "x^{2}"),
        (f"<span class=MathJax><nobr aria-hidden=true>x2</nobr><span><math>{_SQUARE}</math></span></span>"
         "<script type='math/tex'>x^2</script>", "x^2"),
        (f"<mjx-container><mjx-math aria-hidden=true>x2</mjx-math><mjx-assistive-mml><math>{_SQUARE}</math>"
         "</mjx-assistive-mml></mjx-container>", "x^2"),
        ("<img class=latex alt='y^2'>", "y^2"),
    ],
)  # fmt: skip
def test_a_formula_stands_once(source, line):
    assert text(f"<p>a {source} b</p>") == f"a {line} b"


# --- what is text and what is furniture -----------------------------------------------------------------------------
def test_footers_of_quotations_and_articles_are_text():
    page = (
        "<footer>SITE</footer><aside>SIDE</aside><article><header>By A.</header>body<blockquote>to be"
        "<footer>Shakespeare</footer></blockquote><aside>pulled</aside><footer>dosage</footer></article>"
        "<aside role=doc-footnote>a note</aside>"
    )
    words = "By A. body to be Shakespeare pulled dosage a note"
    assert " ".join(text(page).split()) == words


def test_what_was_filled_into_a_form():
    page = (
        "<form><label>Name: <input value='Roe, Jane'></label><label><input type=checkbox checked> smoker</label>"
        "<input type=radio> other <select><option>a<option selected>b</select><textarea>two\nlines</textarea>"
        "<input type=hidden value=TOKEN><input type=password value=SECRET><input type=submit value=GO>"
    )
    assert " ".join(text(page).split()) == "Name: Roe, Jane ☒ smoker ☐ other b two lines"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("<p style='DISPLAY:NONE'>x</p><p hidden>x</p><dialog>x</dialog><dialog open>seen</dialog>", "seen"),
        ("<details><summary>more</summary>body</details>", "more body"),
        ("<fieldset><legend>Who</legend>you</fieldset>", "Who you"),
        ("<label>a label</label>", "a label"),
        ("a<?php if ($a > 1) { ?>b<?php } ?>c", "abc"),
    ],
)
def test_what_is_shown(source, words):
    assert text(f"<body>{source}").split() == words.split()


_INLINE = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Cf", "Cn", "Co", "Z")),
    min_size=1,
    max_size=8,
)
_WORDS = st.lists(_INLINE.map(lambda word: "w" + word), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(
    words=_WORDS,
    tags=st.lists(
        st.sampled_from(("p", "div", "span", "label", "li", "q", "cite", "section", "blockquote", "b")),
        min_size=12,
    ),
)
def test_every_word_of_a_page_is_read_once(words, tags):
    """Whatever elements words stand in, each is there, in order, with nothing lost between two tags."""
    source = "".join(f"<{tag}>{markup.escape(word)}</{tag}> " for word, tag in zip(words, tags, strict=False))
    marks = str.maketrans("", "", "“”•")
    assert text(f"<body>{source}").translate(marks).split() == [word.translate(marks) for word in words]


def test_headings_that_unfold_and_shadow_trees():
    page = "<h2><button aria-expanded=false>Why?</button></h2><div>Because.</div>"
    page += "<button>COPY</button><dl><dt><button>T</button>"
    assert text(page).split() == ["Why?", "Because.", "T"]
    page = "<my-card><template shadowrootmode=open><p>shown</p></template></my-card><template><p>NOT</p></template>"
    assert text(page) == "shown"
