"""What cells show of their values, worked out by hand from the rules of the standard and what spreadsheets do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.text.sources.formats.number_format import BUILT_IN, number_format

NUMBERS = [
    # General
    ("General", "0.30000000000000004", "0.3"),
    ("General", "123456789012", "123456789012"),
    ("General", "-1E-3", "-0.001"),
    ("General", "1E+30", "1E+30"),
    ("General", "1.5E-20", "1.5E-20"),
    ('"about "General" kg"', "-2.5", "-about 2.5 kg"),
    # digits
    ("0", "2.5", "3"),
    ("0", "-0.4", "0"),
    ("0.00", "1.005", "1.01"),
    ("0.00", "-1.005", "-1.01"),
    ("00000", "1067", "01067"),
    ("000", "-7", "-007"),
    ("#", "0", ""),
    ("#.##", "5", "5."),
    ("0.##", "2.5", "2.5"),
    ("0.0#", "2", "2.0"),
    ("#.00", "0.5", ".50"),
    ("0.???", "1.5", "1.5"),
    ("(000) 000-0000", "5551234567", "(555) 123-4567"),
    ("000-00-0000", "12345678", "012-34-5678"),
    ("#,##0", "1234567.5", "1,234,568"),
    ("#,##0.00", "1234.5", "1,234.50"),
    ("#,##0", "999", "999"),
    ("0,000", "7", "0,007"),
    ("#,##0,", "1234567", "1,235"),
    ("0.0,,", "12345678", "12.3"),
    ('0.0,,"M"', "12345678", "12.3M"),
    ("0 000", "1234567", "1234 567"),
    ("#\\ ##0", "1234", "1 234"),
    # percent, currency, padding
    ("0%", "0.125", "13%"),
    ("0.0%", "0.125", "12.5%"),
    ("0.00%", "-1.5", "-150.00%"),
    ("#,##0.00\\ [$€-407]", "1234.5", "1,234.50 €"),
    ("[$£-809]#,##0.00", "-3", "-£3.00"),
    ("[$-409]0.0", "3", "3.0"),
    ('_("$"* #,##0.00_);_("$"* (#,##0.00);_("$"* "-"??_);_(@_)', "-1234.5", "$(1,234.50)"),
    ('_("$"* #,##0.00_);_("$"* (#,##0.00);_("$"* "-"??_);_(@_)', "0", "$-"),
    ("_-* #,##0.00 [$zł-415]_-", "12", "12.00 zł"),
    # sections
    ("0;(0)", "-5", "(5)"),
    ("0;(0)", "0", "0"),
    ('0;-0;"none"', "0", "none"),
    ("0;;", "-5", ""),
    (";;;", "5", ""),
    ("[Red]0;[Blue]-0", "-5", "-5"),
    ('[>=100]"many";[<0]"less";0', "100", "many"),
    ('[>=100]"many";[<0]"less "0;0', "-3", "less 3"),
    ('[>=100]"many";[<0]"less";0', "3", "3"),
    ("[<100]0;0.0", "-5", "-5"),
    ('[=1]"one";[=2]"two";0', "2", "two"),
    ("[<=9999999]000-0000;(000) 000-0000", "5551234567", "(555) 123-4567"),
    ("[<=9999999]000-0000;(000) 000-0000", "5551234", "555-1234"),
    ('"yes";"yes";"no"', "1", "yes"),
    ("@", "12.5", "12.5"),
    # powers and fractions
    ("0.00E+00", "12345", "1.23E+04"),
    ("0.00E+00", "0.00012", "1.20E-04"),
    ("0E+0", "9.6", "1E+1"),
    ("0.0E-0", "1234", "1.2E3"),
    ("##0.0E+0", "12345", "12.3E+3"),
    ("##0.0E+0", "123456", "123.5E+3"),
    ("0.00E+00", "0", "0.00E+00"),
    ("# ?/?", "1.5", "1 1/2"),
    ("# ?/?", "0.25", "1/4"),
    ("# ?/?", "3", "3"),
    ("# ?/?", "0", "0"),
    ("# ?/?", "-1.333333", "-1 1/3"),
    ("# ??/??", "3.14159265358979", "3 1/7"),
    ("# ??/??", "0.17", "8/47"),
    ("# ?/8", "1.3", "1 2/8"),
    ("# ??/100", "0.5", "50/100"),
    ("?/?", "1.5", "3/2"),
    # times
    ("[h]:mm", "1.5", "36:00"),
    ("[h]:mm:ss", "2.25", "54:00:00"),
    ("[hh]:mm", "0.0625", "01:30"),
    ("[mm]:ss", "0.0625", "90:00"),
    ("[s]", "0.001", "86"),
    ("h:mm", "0.999", "23:58"),
    ("h:mm", "45000.75", "18:00"),
    ("hh:mm:ss", "0.0999999", "02:24:00"),
    ("h:mm AM/PM", "0.5", "12:00 PM"),
    ("h:mm AM/PM", "0.0208333333333333", "12:30 AM"),
    ("h A/P", "0.75", "6 P"),
    ('上午/下午h"时"mm"分"', "0.75", "下午6时00分"),
    ("mm:ss.0", "0.00011574", "00:10.0"),
    ("mm:ss.00", "0.0000578704", "00:05.00"),
    ('hh:mm" Uhr"', "0.75", "18:00 Uhr"),
    # dates: a full one in ISO 8601, others as they are shown
    ("dd/mm/yyyy", "45000", "2023-03-15"),
    ("m/d/yy", "45000", "2023-03-15"),
    ('yyyy"年"m"月"d"日"', "45000", "2023-03-15"),
    ("[$-407]dddd, d. mmmm yyyy", "45000", "2023-03-15"),
    ('"on "d mmm yyyy" (draft)"', "45000", "on 2023-03-15 (draft)"),
    ("m/d/yy h:mm", "45000.5", "2023-03-15 12:00"),
    ("yyyy-mm-dd hh:mm:ss", "45000.5", "2023-03-15 12:00:00"),
    ("yyyy-mm-dd hh:mm:ss.000", "45000.5000001", "2023-03-15 12:00:00.009"),
    ("d.m.yyyy h:mm AM/PM", "45000.75", "2023-03-15 18:00"),
    ("yyyy-mm-dd\\Thh:mm:ss", "45000.999999", "2023-03-16 00:00:00"),
    ("mmm-yy", "45000", "Mar-23"),
    ("mmmm yyyy", "45000", "March 2023"),
    ("mmmmm", "45000", "M"),
    ('m"月"d"日"', "45000", "3月15日"),
    ("dddd", "45000", "Wednesday"),
    ("ddd d", "45000", "Wed 15"),
    ("yyyy", "45000", "2023"),
    ("e", "45000", "2023"),
    ("yy", "45000", "23"),
    ("yyyy-mm-dd", "1", "1900-01-01"),
    ("yyyy-mm-dd", "59", "1900-02-28"),
    ("yyyy-mm-dd", "60", "1900-02-29"),
    ("yyyy-mm-dd", "61", "1900-03-01"),
    ("yyyy-mm-dd", "0", "1900-01-00"),
    ("yyyy-mm-dd", "-1", "-1"),
    ("yyyy-mm-dd", "1E+9", "1000000000"),
    ("yyyy-mm-dd;@", "45000", "2023-03-15"),
    ("d/m/yyyy;;", "45000", "2023-03-15"),
]


@pytest.mark.parametrize(("code", "value", "shown"), NUMBERS)
def test_what_a_number_shows(code, value, shown):
    assert number_format(code).number(value) == shown


def test_days_since_1904():
    assert number_format("yyyy-mm-dd").number("0", since_1904=True) == "1904-01-01"
    assert number_format("yyyy-mm-dd").number("43538", since_1904=True) == "2023-03-15"
    assert number_format("[h]:mm").number("-0.5", since_1904=True) == "-12:00"
    assert number_format("dddd").number("43538", since_1904=True) == "Wednesday"


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("General", "words"),
        ("0.00", "words"),
        ("@", "words"),
        ('"No. "@', "No. words"),
        ("0;0;0;[Red]@!", "words!"),
        (";;;", ""),
        ("0;;;", ""),
        ("yyyy-mm-dd;@", "words"),
        ("0;0", "words"),
    ],
)
def test_what_text_shows(code, shown):
    assert number_format(code).text("words") == shown


@pytest.mark.parametrize(
    ("number", "value", "shown"),
    [(0, "1.5", "1.5"), (9, "0.25", "25%"), (10, "0.125", "12.50%"), (14, "45000", "2023-03-15"), (12, "0.5", "1/2"),
     (22, "45000.5", "2023-03-15 12:00"), (45, "0.0625", "30:00"), (46, "2.25", "54:00:00"), (38, "-5", "(5)"),
     (44, "5", "$ 5.00"), (31, "45000", "2023-03-15"), (47, "0.0625", "30:00.0"), (5, "-5", "($5)")],
)  # fmt: skip
def test_formats_that_need_no_code(number, value, shown):
    assert number_format(BUILT_IN[number]).number(value) == shown.replace("$ 5", "$5")


@given(
    code=st.text('0#?.,%/E+-;@"\\_*[]$hmsydAMP General', max_size=24),
    value=st.floats() | st.floats(-1e6, 1e6),
)
def test_any_format_shows_something_of_any_number(code, value):
    shown = number_format(code).number(repr(value))
    assert shown == " ".join(shown.split())


@given(value=st.decimals(-10_000_000, 10_000_000, places=4))
def test_digits_are_those_of_the_number(value):
    rounded = number_format("#,##0.00").number(str(value))
    assert abs(float(rounded.replace(",", "")) - float(value)) <= 0.005000001
    assert number_format("0.0000").number(str(value)).lstrip("-") == f"{abs(value):.4f}"


@given(days=st.integers(61, 2_958_465), second=st.integers(0, 86_399))
def test_moments_are_those_of_the_calendar(days, second):
    from datetime import datetime, timedelta

    when = datetime(1899, 12, 30) + timedelta(days, second)
    value = str(days + second / 86_400)
    assert number_format("d/m/yy hh:mm:ss").number(value) == when.strftime("%Y-%m-%d %H:%M:%S").rjust(19, "0")
    assert number_format("dddd").number(str(days)) == when.strftime("%A")
