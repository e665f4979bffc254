"""robots.txt, by the examples of RFC 9309 and beside the standard library's reader."""

from __future__ import annotations

import urllib.robotparser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.text.sources.web import robots

RFC = """
User-Agent: *
Disallow: *.gif$
Disallow: /example/
Allow: /publications/

User-Agent: foobot
Disallow:/
Allow:/example/page.html
Allow:/example/allowed.gif

User-Agent: barbot
User-Agent: bazbot
Disallow: /example/page.html

User-Agent: quxbot
"""


@pytest.mark.parametrize(
    ("agent", "path", "allowed"),
    [
        ("other", "/example/x", False),
        ("other", "/publications/a.gif", True),  # the longer rule
        ("other", "/a.gif", False),
        ("other", "/a.gif?x", True),
        ("other", "/robots.txt", True),
        ("foobot", "/x", False),
        ("foobot", "/example/page.html", True),
        ("foobot", "/example/allowed.gif", True),
        ("FooBot", "/publications/", False),
        ("bazbot", "/example/page.html", False),
        ("bazbot", "/example/", True),
        ("quxbot", "/example/", True),
    ],
)
def test_the_examples_of_the_standard(agent, path, allowed):
    assert robots.parse(RFC, agent).allows(f"http://h{path}") is allowed


@pytest.mark.parametrize(
    ("rule", "path", "allowed"),
    [
        ("Disallow: /a*b*c", "/axxbyyc-more", False),
        ("Disallow: /a*b$", "/axb", False),
        ("Disallow: /a*b$", "/axbc", True),
        ("Disallow: /a*b*b$", "/ab", True),
        ("Disallow: /*?", "/x?y", False),
        ("Disallow: /ü", "/%C3%BC", False),
        ("Disallow: /%C3%BC", "/ü", False),
        ("Disallow: /a%2Fb", "/a/b", True),
        ("Disallow: /x # why", "/x", False),
        ("Disallow:", "/x", True),
        ("Disallow: /x\nAllow: /x", "/x", True),
        ("nonsense\nDisallow: /x", "/x", False),
    ],
)
def test_patterns(rule, path, allowed):
    text = f"User-agent: *\r\n{rule}\n"
    assert robots.parse(text, "textmill").allows(f"http://h{path}") is allowed


def test_delays():
    assert robots.parse("User-agent: *\nCrawl-delay: 2.5", "textmill").delay == 2.5
    assert robots.parse("User-agent: *\nCrawl-delay: soon", "textmill").delay == 0
    assert robots.parse("User-agent: other\nCrawl-delay: 5", "textmill").delay == 0


paths = st.lists(st.sampled_from(["a", "b", "c"]), min_size=0, max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)


@given(st.lists(paths, max_size=4, unique=True), paths)
def test_plain_disallows_agree_with_the_standard_library(rules, path):
    lines = ["User-agent: *", *(f"Disallow: {rule}" for rule in rules)]
    theirs = urllib.robotparser.RobotFileParser()
    theirs.parse(lines)
    ours = robots.parse("\n".join(lines), "textmill")
    assert ours.allows(f"http://h{path}") == theirs.can_fetch("textmill", f"http://h{path}")


@given(st.text(max_size=200), st.text(max_size=40))
def test_anything_is_read(text, path):
    robots.parse(text, "textmill").allows(f"http://h/{path.replace('[', '').replace(']', '')}")


def test_hostile_patterns_take_linear_time(within):
    rules = robots.parse("User-agent: *\nDisallow: /" + "*a" * 5000 + "$", "textmill")
    with within(1):
        rules.allows("http://h/" + "a" * 4000 + "b")
