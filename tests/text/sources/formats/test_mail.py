"""Mail as it comes: mailboxes, versions of the same, bodies in every encoding, what is sealed."""

from __future__ import annotations

import base64
import binascii
import quopri
from email.message import EmailMessage

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textmill.specs.corpus import LimitSpec
from textmill.text.document import Document, Rejected
from textmill.text.sources.formats.mail_text import unflowed
from textmill.text.sources.formats.table import open_file

HEAD = "From: Ada <ada@x.org>\nDate: Mon, 06 May 2024 09:08:09 +0200\nMIME-Version: 1.0\n"
LETTER = "Dear patient, your appointment is on Monday at nine. Please bring your card with you."


@pytest.fixture
def read(tmp_path):
    """({place: text}, {place: (reason, detail)}) of a file of this name with these bytes."""

    def call(name, data, **limits):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8", "surrogateescape"))
        items = list(open_file(path, name, None, LimitSpec(**limits)))
        return (
            {item.source: item.text for item in items if isinstance(item, Document)},
            {item.source: (item.reason, item.detail) for item in items if isinstance(item, Rejected)},
        )

    return call


def test_headers_and_bodies_as_they_were_sent(read, tmp_path):
    kind = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n"
    encoded = base64.encodebytes(LETTER.encode()).decode()
    texts, refused = read(
        "list.eml", f"{HEAD}{kind}{encoded}{'_' * 47}\nlist mailing list\nlist@example.org\n"
    )
    assert (texts, refused) == ({"list.eml": LETTER}, {})
    page = f"<html><body><p>{LETTER}</p></body></html>"
    assert read("page.eml", f"{HEAD}Content-Type: text/plain\n\n{page}\n")[0] == {"page.eml": LETTER}
    rich = "<bold>Dear</bold> patient,\nyour <<card>.<param>x</param>\n\nAda\n"
    texts, _ = read("rich.eml", f"{HEAD}Content-Type: text/enriched\n\n{rich}")
    assert texts["rich.eml"].strip() == "Dear patient, your <card>.\nAda"
    path = tmp_path / "raw.eml"
    path.write_bytes(f"{HEAD}Subject: Grüße aus München\n\n{LETTER}\n".encode("cp1252"))
    [item] = open_file(path, "raw.eml", None, LimitSpec())
    assert item.metadata["title"] == "Grüße aus München"


# --- mailboxes ----------------------------------------------------------------------------------------------------
def test_lines_that_begin_with_from_are_no_separators(read):
    texts, refused = read(
        "m.mbox",
        "From a@x Mon May  6 10:00:00 2024\nSubject: one\n\nDear all,\n\nFrom Monday the office opens at 10:30.\n\n"
        "From Mon May to Jun 12:00 we close.\n\n"
        "From MAILER-DAEMON Mon May  6 11:00:00 2024 +0200\nSubject: two\n\nB\n\n"
        'From "a b"@x Mon, 6 May 2024 12:00:00 +0200\nSubject: three\n\n>From C\n',
    )
    assert [text.splitlines() for text in texts.values()] == [
        [
            "Dear all,",
            "",
            "From Monday the office opens at 10:30.",
            "",
            "From Mon May to Jun 12:00 we close.",
        ],
        ["B"],
        ["From C"],
    ]
    assert not refused


def test_a_length_says_where_a_message_ends(read):
    quoted = "See below.\n\nFrom b@x Mon May  6 11:00:00 2024\nSubject: quoted\n\nNot a message of its own.\n"
    after = "\nFrom c@x Mon May  6 12:00:00 2024\nSubject: two\n\nSecond.\n"
    for length, count in ((len(quoted), 2), (len(quoted) + 5, 3), (0, 3), (10**12, 3)):
        head = f"From a@x Mon May  6 10:00:00 2024\nSubject: one\nContent-Length: {length}\n\n"
        texts, refused = read("m.mbox", head + quoted + after)
        assert len(texts) == count, length
        assert "Not a message" in "".join(texts.values())
        assert texts[f"m.mbox:message {count}"] == "Second."
        assert not refused


_LINES = st.lists(
    st.sampled_from(
        (
            "From here on, all is well.",
            "From Mon at 10:30 2024",
            ">From the mill",
            "words",
            "",
            "From ",
            "Subject: no",
        )
    )
    | st.text("abc 磨:>", max_size=8),
    max_size=8,
)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(bodies=st.lists(_LINES, min_size=1, max_size=4), counted=st.booleans())
def test_any_mailbox_gives_its_messages_back(read, bodies, counted):
    """Written as RFC 4155 and mboxrd say: `>` before each line that could be taken for a separator."""
    out, expected = b"", []
    for number, random_lines in enumerate(bodies):
        lines = [f"w{number}", *random_lines]
        body = (
            "\n".join(f">{line}" if line.lstrip(">").startswith("From ") else line for line in lines).encode()
            + b"\n"
        )
        length = b"Content-Length: %d\n" % len(body) if counted else b""
        out += b"From a@x Mon May  6 10:00:00 2024\nSubject: s\n" + length + b"\n" + body + b"\n"
        expected.append("\n".join(lines).strip("\n"))
    texts, refused = read("m.mbox", out)
    if not counted:  # with a length, lines may as well have been left as they are
        assert [text.strip("\n") for text in texts.values()] == expected
    assert len(texts) == len(bodies)
    assert not refused


def test_letters_of_apple_mail_and_maildir(read):
    letter = f"{HEAD}Subject: s\nContent-Transfer-Encoding: base64\n\n{base64.b64encode(LETTER.encode()).decode()}\n"
    texts, _ = read("1.emlx", f"{len(letter)}  \n{letter}<?xml version='1.0'?><plist/>")
    assert texts == {"1.emlx": LETTER}
    for name in ("1714982400.M1P2.host:2,S", "1714982400.M1P2.host", "letter.txt", "letter"):
        texts, _ = read(name, letter)
        assert texts == {name: LETTER}
    texts, refused = read("2.emlx", letter)
    assert texts == {"2.emlx": LETTER}
    assert not refused


# --- versions of the same -----------------------------------------------------------------------------------------
def test_a_stub_beside_the_letter(read):
    mail = EmailMessage()
    mail["Subject"] = "s"
    mail.set_content("To view this message, please use a program that shows HTML.")
    mail.add_alternative(f"<p>{LETTER}</p>", subtype="html")
    assert read("a.eml", mail.as_bytes())[0] == {"a.eml": LETTER}
    mail = EmailMessage()
    mail.set_content(f"{LETTER}\n\n-- \nAda")
    mail.add_alternative(f"<p>{LETTER}</p><p>Ada</p><p>Unsubscribe here</p>", subtype="html")
    assert read("a.eml", mail.as_bytes())[0] == {"a.eml": f"{LETTER}\n\n-- \nAda"}


def test_a_file_that_only_another_version_holds(read):
    """Apple Mail puts attachments beside the page, within the alternative."""
    inner = "Content-Type: application/octet-stream\nContent-Disposition: attachment; filename=a.txt\n\nfrom the file\n"
    picture = "Content-Type: image/png\nContent-ID: <1>\nContent-Disposition: inline; filename=p.png\n\nxx\n"
    texts, refused = read(
        "a.eml",
        f"{HEAD}Content-Type: multipart/alternative; boundary=A\n\n--A\nContent-Type: text/plain\n\n{LETTER}\n--A\n"
        f"Content-Type: multipart/mixed; boundary=B\n\n--B\nContent-Type: text/html\n\n<p>{LETTER}</p>\n--B\n"
        f"{inner}--B\n{picture}"
        "--B--\n--A--\n",
    )
    assert texts == {"a.eml": LETTER, "a.eml!a.txt": "from the file"}
    assert not refused


_LEAF = st.tuples(st.sampled_from(("plain", "html")), st.sampled_from(("7bit", "base64", "quoted-printable")))
_TREE = st.recursive(
    _LEAF,
    lambda parts: st.tuples(
        st.sampled_from(("mixed", "related", "alternative")), st.lists(parts, min_size=1, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=_TREE)
def test_any_tree_of_parts(read, tree):
    """All texts in their order; of an alternative whose versions say different things, the last page or the text."""
    count = 0

    def write(node) -> tuple[str, list[str], bool, list[tuple[str, str]]]:
        """(the part, the words it shows, whether it shows a page, its leaves)"""
        nonlocal count
        count += 1
        if isinstance(node[1], str):
            kind, encoding = node
            word = f"word{count}"
            body = f"<p>{word}</p>" if kind == "html" else word
            if encoding == "base64":
                body = base64.b64encode(body.encode()).decode()
            elif encoding == "quoted-printable":
                body = quopri.encodestring(body.encode()).decode()
            head = f"Content-Type: text/{kind}; charset=utf-8\nContent-Transfer-Encoding: {encoding}\n\n"
            return f"{head}{body}\n", [word], kind == "html", [(kind, word)]
        name, boundary = node[0], f"b{count}"
        parts = [write(each) for each in node[1]]
        whole = f"Content-Type: multipart/{name}; boundary={boundary}\n\n" + "".join(
            f"--{boundary}\n{p[0]}" for p in parts
        )
        words = [word for part in parts for word in part[1]]
        if name == "alternative":
            pages = [
                part for part, (kind, _) in zip(parts, node[1], strict=True) if kind != "plain" and part[2]
            ]
            plain = [part for part, (kind, _) in zip(parts, node[1], strict=True) if kind == "plain"]
            words = (pages[-1] if pages else plain[0] if plain else parts[-1])[1]
        shows_page = any(kind == "html" for part in parts for kind, _ in part[3])
        return f"{whole}--{boundary}--\n", words, shows_page, [leaf for part in parts for leaf in part[3]]

    source, words, _, _ = write(tree)
    texts, refused = read("a.eml", HEAD + source)
    assert texts["a.eml"].split() == words
    assert not refused


# --- bodies -------------------------------------------------------------------------------------------------------
def test_flowed_lines_are_joined():
    assert unflowed("one \ntwo\nthree", delete_space=False) == "one two\nthree"
    assert unflowed("磨 \n坊", delete_space=True) == "磨坊"
    assert unflowed("> a \n> b\n>> c \nd", delete_space=False) == "> a b\n>> c \nd"
    assert unflowed(" From x\n-- \nAda", delete_space=False) == "From x\n-- \nAda"


@given(st.lists(st.text("abcé磨>- ", max_size=60), max_size=6))
def test_flowing_loses_no_word(paragraphs):
    """Broken at spaces as RFC 3676 §4.2 says, and joined again."""
    lines = []
    for paragraph in paragraphs:
        text = paragraph.rstrip()
        pieces = text.split(" ")
        for place, piece in enumerate(pieces):
            line = piece + (" " if place < len(pieces) - 1 else "")
            lines.append(f" {line}" if line.startswith((" ", ">", "From ")) else line)
    assert unflowed("\n".join(lines), delete_space=False).split() == " ".join(paragraphs).split()


@pytest.mark.parametrize("encoding", ["base64", "Base64 (as ever)", "BASE64;"])
@pytest.mark.parametrize("cut", range(4))
def test_base64_that_ends_too_early(read, encoding, cut):
    body = base64.b64encode(LETTER.encode()).decode()
    texts, _ = read("a.eml", f"{HEAD}Content-Transfer-Encoding: {encoding}\n\n{body[: len(body) - cut]}\n")
    assert texts["a.eml"].startswith(LETTER[:-4])


def test_what_is_sealed_is_said(read):
    armour = "-----BEGIN PGP MESSAGE-----\nVersion: 1\n\nhQEMA8q\n=aaaa\n-----END PGP MESSAGE-----\n"
    texts, refused = read("a.eml", f"{HEAD}\n{LETTER}\n{armour}after\n")
    assert texts == {"a.eml": f"{LETTER}\nafter"}
    assert [reason for reason, _ in refused.values()] == ["is encrypted"]
    seal = "-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n"
    signed = f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{LETTER}\n- -- \n{seal}"
    assert read("a.eml", f"{HEAD}\n{signed}") == ({"a.eml": f"{LETTER}\n-- "}, {})
    sealed = f"{HEAD}Content-Type: application/pkcs7-mime; smime-type={{}}; name=smime.p7m\n\nxx\n"
    assert read("a.eml", sealed.format("enveloped-data"))[1]["a.eml"][0] == "is encrypted"
    assert (
        read("a.eml", sealed.format("signed-data"))[1]["a.eml"][0] == "is signed in a format that is not read"
    )
    seal = "Content-Type: application/pkcs7-mime\n\nxx\n--B--\n"
    both = f"{HEAD}Content-Type: multipart/mixed; boundary=B\n\n--B\n\n{LETTER}\n--B\n{seal}"
    assert read("a.eml", both) == (
        {"a.eml": LETTER},
        {"a.eml!sealed part": ("is encrypted", "save it without encryption in the mail program")},
    )


def test_files_between_the_lines(read):
    data = b"words from a file\n" * 9
    lines = "".join(binascii.b2a_uu(data[at : at + 45]).decode() for at in range(0, len(data), 45))
    texts, _ = read("a.eml", f"{HEAD}\nbefore\nbegin 644 notes.txt\n{lines}`\nend\nafter\n")
    assert texts == {"a.eml": "before\nafter", "a.eml!notes.txt": data.decode()}
    talk = "We shall\nbegin 100 metres from here\nand walk to the\nend"
    assert read("a.eml", f"{HEAD}\n{talk}\n")[0] == {"a.eml": talk}


def test_parts_whose_boundary_is_wrong(read):
    words = base64.b64encode(LETTER.encode()).decode()
    body = f"--B\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\n{words}\n--B--\n"
    for said in ("multipart/mixed", "multipart/mixed; boundary=other"):
        texts, _ = read("a.eml", f"{HEAD}Content-Type: {said}\n\n{body}")
        assert texts == {"a.eml": LETTER}
    assert read("a.eml", f"{HEAD}Content-Type: multipart/mixed\n\nno parts at all\n")[1]["a.eml"][
        0
    ].startswith("is damaged")


def test_a_report_on_delivery(read):
    report = (
        f"{HEAD}Content-Type: multipart/report; boundary=B\n\n--B\n\nNot delivered.\n--B\n"
        "Content-Type: message/delivery-status\n\n"
        "Reporting-MTA: dns; x\n\nFinal-Recipient: rfc822; a@x\n\n--B--\n"
    )
    texts, _ = read("a.eml", report)
    assert texts["a.eml"] == "Not delivered."


def test_a_message_that_was_encoded_as_a_whole(read):
    inner = base64.encodebytes(f"{HEAD}Subject: inner\n\n{LETTER}\n".encode()).decode()
    texts, refused = read(
        "a.eml",
        f"{HEAD}Content-Type: multipart/mixed; boundary=B\n\n--B\n\nsee below\n--B\nContent-Type: message/rfc822\n"
        f"Content-Transfer-Encoding: base64\n\n{inner}--B--\n",
    )
    assert texts == {"a.eml": "see below", "a.eml!part.eml": LETTER}
    assert not refused


@pytest.mark.parametrize(
    "line",
    [
        "-----BEGIN PGP MESSAGE-----\n",
        "-----BEGIN PGP SIGNED MESSAGE-----\n\n",
        "begin 644 x\n",
        "begin 644 x\nabc\n",
        "From \n",
    ],
)
def test_bodies_that_repeat_themselves_take_no_long(read, within, line):
    with within(20):
        read("a.eml", f"{HEAD}\n{line * 20_000}")
