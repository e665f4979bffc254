"""Formulas as one line that can be read in one way only, from Office Math and from MathML."""

from __future__ import annotations

import ast
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.office import M
from textmill.specs.corpus import LimitSpec
from textmill.text.sources.formats import math
from textmill.text.sources.formats.stream import Deadline
from textmill.text.sources.formats.xml_events import tree


def parsed(xml):
    return tree(io.BytesIO(xml.encode()), Deadline(LimitSpec()))


def office(inside):
    return math.office(parsed(f"<m:oMath {M}>{inside}</m:oMath>"))


def r(text, properties=""):
    return f"<m:r><m:rPr>{properties}</m:rPr><m:t>{text}</m:t></m:r>"


def e(*inside):
    return "".join(f"<m:e>{each}</m:e>" for each in inside)


def f(above, below, kind=""):
    properties = f'<m:fPr><m:type m:val="{kind}"/></m:fPr>' if kind else ""
    return f"<m:f>{properties}<m:num>{above}</m:num><m:den>{below}</m:den></m:f>"


def power(base, above):
    return f"<m:sSup>{e(base)}<m:sup>{above}</m:sup></m:sSup>"


MATRIX = f"<m:m><m:mr>{e(r('a'), r('b'))}</m:mr><m:mr>{e(r('c'), r('d'))}</m:mr></m:m>"


@pytest.mark.parametrize(
    ("inside", "line"),
    [
        (f(r("a"), r("b")) + r("+") + power(r("x"), r("2")), "a/b+x^2"),
        (f(r("a+b"), r("2c")), "(a+b)/(2c)"),
        (f(r("a"), f(r("b"), r("c"))), "a/(b/c)"),
        (power(r("e"), r("-x")) + power(r("(a+b)"), r("10")), "e^(-x)(a+b)^10"),
        (power(power(r("a"), r("b")), r("c")), "(a^b)^c"),
        (f(r("n"), r("k"), "noBar"), "n¦k"),
        (f"<m:rad><m:radPr><m:degHide/></m:radPr><m:deg/>{e(r('x+1'))}</m:rad>", "√(x+1)"),
        (f"<m:rad><m:deg>{r('3')}</m:deg>{e(r('8'))}</m:rad>", "∛8"),
        (f"<m:rad><m:deg>{r('n')}</m:deg>{e(r('x'))}</m:rad>", "√[n]x"),
        (f"<m:sSub>{e(r('x'))}<m:sub>{r('i')}</m:sub></m:sSub>", "x_i"),
        (f"<m:sSubSup>{e(r('x'))}<m:sub>{r('i')}</m:sub><m:sup>{r('2')}</m:sup></m:sSubSup>", "x_i^2"),
        (f"<m:sPre><m:sub>{r('6')}</m:sub><m:sup>{r('14')}</m:sup>{e(r('C'))}</m:sPre>", "_6^14C"),
        (
            f'<m:nary><m:naryPr><m:chr m:val="∑"/></m:naryPr><m:sub>{r("i=1")}</m:sub><m:sup>{r("n")}</m:sup>'
            f"{e(r('i'))}</m:nary>",
            "∑_(i=1)^n i",
        ),
        (f"<m:nary><m:sub/><m:sup/>{e(r('f'))}</m:nary>", "∫ f"),
        (f'<m:d><m:dPr><m:begChr m:val="["/><m:endChr m:val=")"/></m:dPr>{e(r("0"), r("1"))}</m:d>', "[0|1)"),
        (f"<m:d>{e(MATRIX)}</m:d>", "(a, b; c, d)"),
        (f"<m:m><m:mr>{e(r('a'), r('b'))}</m:mr></m:m>", "[a, b]"),
        (f"<m:eqArr>{e(r('x=1'), r('y=2'))}</m:eqArr>", "x=1; y=2"),
        (f"<m:func><m:fName>{r('sin')}</m:fName>{e(r('x'))}</m:func>", "sin x"),
        (f'<m:acc><m:accPr><m:chr m:val="̃"/></m:accPr>{e(r("n"))}</m:acc>', "ñ"),
        (f'<m:bar><m:barPr><m:pos m:val="top"/></m:barPr>{e(r("x"))}</m:bar>', "x̅"),
        (r("R", '<m:scr m:val="double-struck"/>') + r("L", '<m:scr m:val="script"/>'), "ℝℒ"),
        (f"{r('a')}<w:del xmlns:w='w'>{r('b')}</w:del>", "a"),
        (f"<m:phant><m:phantPr><m:show m:val='0'/></m:phantPr>{e(r('x'))}</m:phant>", ""),
    ],
)  # fmt: skip
def test_office_math(inside, line):
    assert office(inside) == line


@pytest.mark.parametrize(
    ("inside", "line"),
    [
        ("<mfrac><mi>a</mi><mi>b</mi></mfrac><mo>+</mo><msup><mi>x</mi><mn>2</mn></msup>", "a/b+x^2"),
        ("<mfrac><mrow><mi>a</mi><mo>+</mo><mi>b</mi></mrow><mn>2</mn></mfrac>", "(a+b)/2"),
        ("<msqrt><mi>x</mi></msqrt><mroot><mi>x</mi><mn>3</mn></mroot>", "√x∛x"),
        (
            "<munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi></munderover>",
            "∑_(i=1)^n",
        ),
        ("<mover><mi>x</mi><mo>^</mo></mover><msubsup><mi>y</mi><mi>i</mi><mn>2</mn></msubsup>", "x̂y_i^2"),
        (
            "<mtable><mtr><mtd><mi>a</mi></mtd><mtd><mi>b</mi></mtd></mtr><mtr><mtd><mi>c</mi></mtd></mtr></mtable>",
            "a, b; c",
        ),
        ('<semantics><mi>x</mi><annotation encoding="StarMath 5.0">x</annotation></semantics>', "x"),
        ("<mfenced><mi>a</mi><mi>b</mi></mfenced>", "(a, b)"),
    ],
)
def test_mathml(inside, line):
    root = parsed(f'<math xmlns="http://www.w3.org/1998/Math/MathML">{inside}</math>')
    assert math.mathml(root) == line


# Trees of sums, quotients and powers of numbers: the line is read back as the same tree.
TREES = st.recursive(
    st.integers(1, 9).map(str),
    lambda below: st.tuples(st.sampled_from("+/^"), below, below),
    max_leaves=6,
)


def written(node):
    if isinstance(node, str):
        return r(node)
    sign, left, right = node
    if sign == "+":
        return f"<m:d>{e(written(left) + r('+') + written(right))}</m:d>"
    return (f if sign == "/" else power)(written(left), written(right))


def value(node):
    if isinstance(node, str):
        return node
    sign, left, right = node
    return f"({value(left)}{'**' if sign == '^' else sign}{value(right)})"


@settings(max_examples=80, deadline=None)
@given(formula=TREES)
def test_a_line_is_read_back_as_the_formula(formula):
    assert shape(office(written(formula)).replace("^", "**")) == shape(value(formula))


def shape(expression):
    """The tree of operations of an expression."""

    def of(node):
        if isinstance(node, ast.BinOp):
            return type(node.op).__name__, of(node.left), of(node.right)
        return ast.unparse(node)

    return of(ast.parse(expression, mode="eval").body)
