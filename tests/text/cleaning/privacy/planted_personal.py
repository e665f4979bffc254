"""Texts in English and Chinese with personal data planted at known places, and texts that only look like it.

Everything is made up here, with check digits computed in other ways than the code under test does. Telephone numbers
and the like are random: some may be somebody's, none is anybody's on purpose.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import itertools
import random
import string
import uuid

Planted = tuple[str, list[tuple[str, int, int]]]  # a text, and (kind, start, end) of what was planted in it
KINDS = ("email", "phone", "card", "iban", "id_cn", "ssn_us", "ip", "key")
_FULL = str.maketrans("0123456789@", "０１２３４５６７８９＠")


def planted(seed: int, count: int) -> list[Planted]:
    """`count` texts, English and Chinese in turn, each with one to three data among ordinary and misleading words."""
    return [
        planted_in("en" if number % 2 == 0 else "zh", seed * 1_000_003 + number) for number in range(count)
    ]


def planted_in(language: str, seed: int) -> Planted:
    """One text in a language (`en`, `zh`)."""
    chance = random.Random(seed)
    parts: list[tuple[str, str, str]] = [("", words, "") for words in chance.sample(_PLAIN[language], 2)]
    for _ in range(chance.randint(1, 3)):
        kind = chance.choice(KINDS)
        parts.append((kind, *_sentence(kind, language, chance)))
    parts += [("", misleading(language, chance), "") for _ in range(chance.randint(0, 2))]
    chance.shuffle(parts)
    between = chance.choice((" ", "\n", "\n\n") if language == "en" else ("", "\n", ""))
    text, spans = "", []
    for kind, sentence, value in parts:
        text += _between(text, sentence.replace("{}", value), between)
        if kind:
            start = len(text) + sentence.index("{}")
            spans.append((kind, start, start + len(value)))
        text += sentence.replace("{}", value, 1) if kind else sentence
    return text, spans


def _between(before: str, after: str, wanted: str) -> str:
    """What stands between two sentences: never nothing between two letters or digits of ASCII."""
    if not before or wanted:
        return wanted if before else ""
    return "，" if _runs_on(before[-1]) and _runs_on(after[0]) else ""


def _runs_on(character: str) -> bool:
    """Whether two such characters side by side would be read as one word or number."""
    return character.isascii() or character.isdecimal() or "Ａ" <= character <= "ｚ"


def hard_negatives(seed: int, count: int) -> list[str]:
    """Texts without personal data, English and Chinese in turn, full of numbers that look like some."""
    texts = []
    for number in range(count):
        chance = random.Random(f"{seed} negative {number}")
        language = "en" if number % 2 == 0 else "zh"
        texts.append(" ".join([misleading(language, chance) for _ in range(4)]))
    return texts


def _sentence(kind: str, language: str, chance: random.Random) -> tuple[str, str]:
    """A sentence with `{}` in it, and the value for that place."""
    value, announced = _VALUES[kind](language, chance)
    places = _ANNOUNCING if announced else {**_ANNOUNCING, **_NEUTRAL}
    choices = list(places[kind][language])
    if not announced and kind in _NEUTRAL:
        choices += _ANNOUNCING[kind][language]
    if kind == "key" and "\n" in value:
        choices = ["Do not commit this:\n{}\n", "{}\n"]
    if kind == "key" and announced:
        choices = _ASSIGNMENTS
    return chance.choice(choices), value


def digits(chance: random.Random, size: int, first: str = string.digits) -> str:
    return chance.choice(first) + "".join(chance.choices(string.digits, k=size - 1)) if size else ""


def _letters(chance: random.Random, size: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(chance.choices(alphabet, k=size))


# --- values: (text, whether only a word before it tells what it is) ------------------------------------------------
_FIRST_TEXT = (
    "anna ben carla david elena frank grace hugo irene jack li.wei zhangsan wangfang chen_jing liuyang tom"
)
_FIRST = _FIRST_TEXT.split()
_LAST_TEXT = "smith jones miller garcia novak rossi kim tanaka zhao qian sun zhou wu zheng oconnor mueller"
_LAST = _LAST_TEXT.split()
_DOMAINS_TEXT = (
    "gmail.com qq.com 163.com outlook.com mail.company.co.uk cs.univ.edu.cn proton.me firm.de studio.photography "
    "foxmail.com sina.com.cn x.org my-clinic.example.org yahoo.co.jp a.io hospital.gov.cn 126.com t-online.de"
)
_DOMAINS = _DOMAINS_TEXT.split()


def _email(language, chance):
    first, last = chance.choice(_FIRST), chance.choice(_LAST)
    local = chance.choice(
        (
            f"{first}.{last}",
            f"{first}{digits(chance, 3)}",
            f"{first[0]}_{last}",
            f"{first}+news",
            f"{last}-{first}",
            digits(chance, 9, "123456789"),
            f"{first[0]}.{last}{digits(chance, 2)}",
        )
    )
    value = f"{local}@{chance.choice(_DOMAINS)}"
    if chance.random() < 0.05:
        value = value.upper()
    return (value.translate(_FULL) if language == "zh" and chance.random() < 0.05 else value), False


def _nanp(chance):
    while True:
        area, exchange = digits(chance, 3, "23456789"), digits(chance, 3, "23456789")
        if area[1] != "9" and area[1:] != "11" and exchange[1:] != "11":
            return area, exchange, digits(chance, 4)


def _phone_en(chance):
    area, exchange, line = _nanp(chance)
    forms = (
        (f"({area}) {exchange}-{line}", 4, False),
        (f"{area}-{exchange}-{line}", 4, False),
        (f"{area}.{exchange}.{line}", 2, False),
        (f"+1 {area} {exchange} {line}", 2, False),
        (f"+1{area}{exchange}{line}", 2, False),
        (f"+1-{area}-{exchange}-{line}", 2, False),
        (f"1-{area}-{exchange}-{line}", 1, False),
        (f"+1 ({area}) {exchange}-{line}", 2, False),
        (f"{area} {exchange} {line}", 1, False),
        (f"({area}) {exchange}-{line} ext. {digits(chance, 3)}", 1, False),
        (f"{area}-{exchange}-{line} x{digits(chance, 4)}", 1, False),
        (f"{area}\u2011{exchange}\u2011{line}", 1, False),
        (f"{area}{exchange}{line}", 2, True),
        (f"{exchange}-{line}", 1, True),
        (f"+44 20 7{digits(chance, 3)} {digits(chance, 4)}", 1, False),
        (f"+44 (0)7{digits(chance, 3)} {digits(chance, 6)}", 1, False),
        (f"0044 20 8{digits(chance, 3)} {digits(chance, 4)}", 1, False),
        (f"020 7{digits(chance, 3)} {digits(chance, 4)}", 1, True),
        (f"+49 30 {digits(chance, 7, '123456789')}", 1, False),
        (f"+33 6 {digits(chance, 2)} {digits(chance, 2)} {digits(chance, 2)} {digits(chance, 2)}", 1, False),
        (f"+91 9{digits(chance, 4)} {digits(chance, 5)}", 1, False),
        (f"+61 4{digits(chance, 2)} {digits(chance, 3)} {digits(chance, 3)}", 1, False),
        (f"+86 13{digits(chance, 1)} {digits(chance, 4)} {digits(chance, 4)}", 1, False),
        (f"030/{digits(chance, 8, '123456789')}", 1, True),
    )
    value, _, announced = chance.choices(forms, [form[1] for form in forms])[0]
    return value, announced


_SEGMENTS = "130 131 135 136 137 138 139 150 151 158 159 166 173 177 180 186 188 189 191 198 199"


def _phone_zh(chance):
    head = chance.choice(_SEGMENTS.split())
    a, b = digits(chance, 4), digits(chance, 4)
    area = chance.choice(("010", "021", "020", "028", "0755", "0571", "0531", "0898"))
    local = digits(chance, 8, "2345678")
    forms = (
        (f"{head}{a}{b}", 8, False),
        (f"{head} {a} {b}", 3, False),
        (f"{head}-{a}-{b}", 3, False),
        (f"+86 {head} {a} {b}", 1, False),
        (f"+86{head}{a}{b}", 2, False),
        (f"+86-{head}{a}{b}", 1, False),
        (f"(+86){head}{a}{b}", 1, False),
        (f"0086{head}{a}{b}", 1, False),
        (f"86-{head}-{a}-{b}", 1, False),
        (f"{area}-{local}", 4, False),
        (f"({area}){local}", 1, False),
        (f"（{area}）{local[:4]} {local[4:]}", 1, False),
        (f"{area} {local[:4]} {local[4:]}", 1, False),
        (f"+86 {area[1:]} {local[:4]} {local[4:]}", 1, False),
        (f"{area}-{local}转{digits(chance, 3)}", 1, False),
        (f"{area}-{local}-{digits(chance, 3)}", 1, False),
        (f"{area}{local}", 1, True),
        (f"400-{digits(chance, 3)}-{digits(chance, 4)}", 1, False),
        (f"{head}{a}{b}".translate(_FULL), 1, False),
        (local, 1, True),
    )
    value, _, announced = chance.choices(forms, [form[1] for form in forms])[0]
    return value, announced


def luhn_tail(body: str) -> str:
    """The digit that makes the sum of all digits, every second from the right doubled, a multiple of ten."""
    for digit in string.digits:
        total = 0
        for place, character in enumerate(reversed(body + digit)):
            number = int(character) * (1 + place % 2)
            total += number - 9 if number > 9 else number
        if total % 10 == 0:
            return digit
    raise AssertionError


def _card(language, chance):
    head, size = chance.choice(
        (
            ("4", 16),
            ("4", 16),
            ("51", 16),
            ("55", 16),
            ("2221", 16),
            ("34", 15),
            ("37", 15),
            ("6011", 16),
            ("36", 14),
        )
        if language == "en"
        else (
            ("6222", 19),
            ("6217", 19),
            ("6225", 16),
            ("621", 19),
            ("4", 16),
            ("53", 16),
            ("3530", 16),
            ("6228", 19),
        )
    )
    body = head + digits(chance, size - len(head) - 1)
    value = body + luhn_tail(body)
    gap = chance.choice(("", "", " ", " ", "-"))
    cuts = {14: (4, 10), 15: (4, 10), 16: (4, 8, 12), 19: (4, 8, 12, 16)}[size]
    if size == 19 and chance.random() < 0.3:
        cuts = (6,)
    edges = [0, *cuts, size]
    return gap.join([value[a:b] for a, b in itertools.pairwise(edges)]), False


# n: digits, a: capitals, as the registry of IBANs writes them.
_ACCOUNTS = {
    "DE": "n18", "FR": "n23", "GB": "a4 n14", "ES": "n20", "IT": "a1 n22", "NL": "a4 n10", "CH": "n17", "AT": "n16",
    "BE": "n12", "PL": "n24", "SE": "n20", "NO": "n11", "DK": "n14", "PT": "n21", "IE": "a4 n14", "TR": "n22",
    "SA": "n20", "AE": "n19", "GR": "n23", "MT": "a4 n5 c18", "BR": "n23 a1 n1", "CY": "n8 c16", "UA": "n6 n19",
}  # fmt: skip
_SETS = {"n": string.digits, "a": string.ascii_uppercase, "c": string.digits * 4 + string.ascii_uppercase}


def _iban(language, chance):
    country = chance.choice(list(_ACCOUNTS))
    account = "".join(
        [_letters(chance, int(part[1:]), _SETS[part[0]]) for part in _ACCOUNTS[country].split()]
    )
    for check in range(2, 99):  # by trying, where the code under test computes
        text = f"{account}{country}{check:02d}"
        rest = 0
        for character in text:
            number = string.digits.find(character)
            number = number if number >= 0 else 10 + string.ascii_uppercase.index(character)
            rest = (rest * (100 if number > 9 else 10) + number) % 97
        if rest == 1:
            value = f"{country}{check:02d}{account}"
            if chance.random() < 0.5:
                value = " ".join([value[i : i + 4] for i in range(0, len(value), 4)])
            return value, False
    raise AssertionError


_COUNTIES_TEXT = (
    "110101 110105 110108 120103 130102 140105 150102 210102 220102 230103 310101 310104 310115 320102 320505 330106 "
    "340102 350102 360103 370102 370203 410102 420106 430102 440103 440305 450103 460105 500103 510104 520102 530102 "
    "540102 610102 620102 630102 640104 650102"
)
_COUNTIES = _COUNTIES_TEXT.split()


def id_cn_tail(body: str) -> str:
    """The check character by the recursive method of ISO 7064 (the code under test takes weights)."""
    rest = 0
    for digit in body:
        rest = (rest + int(digit)) * 2 % 11
    return "0123456789X"[(12 - rest) % 11]


def _id_cn(language, chance):
    born = datetime.date(1935, 1, 1) + datetime.timedelta(days=chance.randrange(29_000))
    county = chance.choice(_COUNTIES)
    if born.year < 1985 and chance.random() < 0.08:
        return f"{county}{born:%y%m%d}{digits(chance, 3)}", True
    body = f"{county}{born:%Y%m%d}{digits(chance, 3)}"
    value = body + id_cn_tail(body)
    style = chance.random()
    if style < 0.1:
        value = value.lower()
    elif style < 0.15:
        value = f"{value[:6]} {value[6:14]} {value[14:]}"
    elif style < 0.2 and language == "zh":
        value = value.translate(_FULL)
    return value, False


def _ssn_us(language, chance):
    area = chance.choice([n for n in range(1, 900) if n != 666])
    parts = (f"{area:03d}", f"{chance.randrange(1, 100):02d}", f"{chance.randrange(1, 10_000):04d}")
    form = chance.choices(("-", " ", ""), (8, 1, 1))[0]
    return form.join(parts), form != "-"


def _ip(language, chance):
    if chance.random() < 0.3:
        address = ipaddress.IPv6Address((0x2400 << 112) + chance.getrandbits(108))
        if chance.random() < 0.5:
            address = ipaddress.IPv6Address(int(address) & ~(((1 << 48) - 1) << 32))
        return chance.choice((address.compressed, address.exploded)), False
    first = chance.choice([n for n in range(11, 223) if n not in (127, 192, 198, 203)] + [10, 10, 192])
    rest = (
        ("168", str(chance.randrange(256)))
        if first == 192
        else (str(chance.randrange(256)), str(chance.randrange(256)))
    )
    return f"{first}.{'.'.join(rest)}.{chance.randrange(1, 255)}", False


def _base64(chance, size):
    return base64.b64encode(chance.randbytes(size)).decode()


def _token(chance, size):
    """Random letters and digits, with both, as such keys have."""
    while True:
        value = _letters(chance, size)
        if sum(map(str.isdecimal, value)) >= 3:
            return value


def _key(language, chance):
    url_safe = string.ascii_letters + string.digits + "_-"
    part = base64.urlsafe_b64encode(b'{"sub":"%d"}' % chance.getrandbits(60)).decode().rstrip("=")
    pem = _base64(chance, 300)
    lines = "\n".join([pem[i : i + 64] for i in range(0, len(pem), 64)])
    name = chance.choice(("RSA PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY"))
    forms = (
        ("AKIA" + _letters(chance, 16, string.ascii_uppercase + string.digits), 2, False),
        ("ghp_" + _letters(chance, 36), 2, False),
        ("github_pat_" + _letters(chance, 22) + "_" + _letters(chance, 59), 1, False),
        (
            f"xoxb-{digits(chance, 12, '123456789')}-{digits(chance, 12, '123456789')}-{_token(chance, 24)}",
            1,
            False,
        ),
        ("sk-" + _letters(chance, 48), 1, False),
        ("sk-proj-" + _letters(chance, 40), 1, False),
        ("sk-ant-api03-" + _letters(chance, 80, url_safe.rstrip("-")) + "AA", 1, False),
        ("AIza" + _letters(chance, 34, url_safe) + "k", 1, False),
        (f"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.{part}.{_letters(chance, 43)}", 1, False),
        (f"-----BEGIN {name}-----\n{lines}\n-----END {name}-----", 1, False),
        (_token(chance, chance.randint(20, 40)), 2, True),
        (chance.randbytes(16).hex(), 1, True),
    )
    value, _, announced = chance.choices(forms, [form[1] for form in forms])[0]
    return value, announced


_VALUES = {
    "email": _email,
    "phone": lambda language, chance: _phone_en(chance) if language == "en" else _phone_zh(chance),
    "card": _card,
    "iban": _iban,
    "id_cn": _id_cn,
    "ssn_us": _ssn_us,
    "ip": _ip,
    "key": _key,
}

# --- sentences ----------------------------------------------------------------------------------------------------
_ASSIGNMENTS = [
    'api_key = "{}"',
    "API_KEY={}",
    '"secret": "{}",',
    "client_secret: {}",
    "The access token is {}.",
    "Authorization: Bearer {}",
    "curl 'https://api.site.io/v1?token={}'",
    "密钥：{}。",
    'password = "{}"',
]
_ANNOUNCING = {
    "email": {
        "en": [
            "Write to {} before Friday.",
            "E-mail: {}",
            "<{}> wrote:",
            "Contact ({}) for details.",
            "mailto:{}",
            "{}",
        ],
        "zh": [
            "请发邮件至{}，谢谢。",
            "邮箱：{}",
            "我的邮箱是{}请查收",
            "联系人（{}）",
            "简历投递{}。",
            "{}",
        ],
    },
    "phone": {
        "en": [
            "Call me at {}.",
            "Phone: {}",
            "Tel. {}, after six.",
            "My new mobile number is {}, the old one is dead.",
            "Fax: {}\n",
            "You can reach her by telephone ({}).",
        ],
        "zh": [
            "电话：{}。",
            "请致电{}咨询。",
            "我的手机号是{}，随时可以联系",
            "联系电话{}",
            "手机{}，微信同号。",
            "座机（{}）",
        ],
    },
    "card": {
        "en": [
            "Charge my card {} please.",
            "Card number: {}",
            "Visa {}, expires 04/29.",
            "He paid with {}.",
            "{}",
        ],
        "zh": ["卡号：{}。", "请打到我的银行卡{}上", "信用卡{}已逾期", "尾款汇至{}（工行）。", "{}"],
    },
    "iban": {
        "en": ["IBAN: {}", "Please transfer to {} within 14 days.", "Account {} (BIC on request).", "{}"],
        "zh": ["国际账号：{}。", "请汇款至{}，备注姓名。", "收款人IBAN为{}", "{}"],
    },
    "id_cn": {
        "en": ["Resident ID number {} was copied.", "ID card no.: {}.", "His Chinese ID number: {}"],
        "zh": ["身份证号：{}。", "身份证号码{}，请核对", "本人身份证{}遗失作废", "证件号码为{}的旅客"],
    },
    "ssn_us": {
        "en": ["SSN: {}", "Her social security number is {}.", "Social Security no. {} on file."],
        "zh": ["社会安全号：{}。", "他的美国社会安全号码是{}。", "SSN：{}，"],
    },
    "ip": {
        "en": [
            "Login from {} refused.",
            "The server at {} answered.",
            "IP address: {}",
            "ping {} timed out",
            "http://{}/",
        ],
        "zh": ["登录地址：{}。", "来自{}的访问被拒绝", "服务器IP为{}，端口80", "主机{}无响应"],
    },
    "key": {
        "en": ["Use {} for now.", "token: {}", "export KEY={}", "I pasted {} by mistake", "{}"],
        "zh": ["密钥是{}，不要外传。", "令牌：{}。", "误传了{}到群里", "{}"],
    },
}
_NEUTRAL = {
    "phone": {
        "en": ["{}", "Ask for Mr Grey, {}, any day.", "{} (evenings)", "Contact: Jane Roe - {}"],
        "zh": ["{}", "张先生{}", "有意者{}，非诚勿扰", "李医生 {}"],
    },
    "id_cn": {
        "en": ["{}", "Applicant {} was accepted."],
        "zh": ["{}", "张三，男，{}，住朝阳区", "学生{}已报名"],
    },
    "ssn_us": {"en": ["{}", "Employee {} resigned."], "zh": ["{}", "员工{}离职。"]},
}
_PLAIN = {
    "en": [
        "The river rose three feet in two days.",
        "She had read all 14 chapters by noon.",
        "In 1914 the town had 3,200 inhabitants.",
        "Nothing of this was said aloud.",
        "Prices went up by 7.5% last year.",
        "He left at 10:45 and came back at 18:05.",
        "Two of the twelve windows were open.",
        "The meeting is on 2024-03-18 at 09:30.",
    ],
    "zh": [
        "河水两天涨了三尺。",
        "她中午前读完了14章。",
        "1914年全镇有3200人。",
        "这些话谁也没有说出口。",
        "去年物价上涨了7.5%。",
        "他10:45离开，18:05回来。",
        "会议定于2024年3月18日上午9点30分举行。",
        "十二扇窗开着两扇。",
    ],
}


# --- what only looks like it --------------------------------------------------------------------------------------
def _isbn(chance):
    body = "978" + digits(chance, 9)
    check = -sum(int(d) * (1, 3)[i % 2] for i, d in enumerate(body)) % 10
    return (
        f"{body[:3]}-{body[3]}-{body[4:7]}-{body[7:12]}-{check}"
        if chance.random() < 0.5
        else f"{body}{check}"
    )


def _ean(chance):
    body = chance.choice(("40", "41", "42", "69", "50", "30")) + digits(chance, 10)
    return body + str(-sum(int(d) * (1, 3)[i % 2] for i, d in enumerate(body)) % 10)


def _version(chance):
    return ".".join([str(chance.randrange(limit)) for limit in (100, 20, 20_000, 300)])


def _wrong(value, chance):
    """The value with one digit changed, so that its check fails."""
    places = [i for i, c in enumerate(value) if c in string.digits]
    place = places[chance.randrange(len(places) - 3, len(places))]
    return value[:place] + str((int(value[place]) + chance.randrange(1, 10)) % 10) + value[place + 1 :]


def _date(chance):
    return datetime.datetime(1900, 1, 1) + datetime.timedelta(seconds=chance.randrange(4_000_000_000))


_MISLEADING = {
    "en": (
        lambda c: f"Order number {digits(c, c.choice((8, 10, 11, 12, 16)))} has shipped.",
        lambda c: f"Tracking no. 1Z{_letters(c, 6, string.ascii_uppercase)}{digits(c, 10)}.",
        lambda c: f"It happened on {_date(c):%Y-%m-%d %H:%M:%S}.",
        lambda c: (
            f"From {_date(c):%Y-%m-%d} to {_date(c):%Y-%m-%d}, or {_date(c):%d.%m.%Y} as they write it."
        ),
        lambda c: f"Pretrained {_date(c):%Y}-{_date(c):%Y}, {_date(c):%m/%d/%Y}.",
        lambda c: f"Upgrade to version {_version(c)} today.",
        lambda c: (
            f"Chrome/{c.randrange(80, 130)}.0.{c.randrange(3000, 7000)}.{c.randrange(200)} Safari/537.36"
        ),
        lambda c: f"ISBN {_isbn(c)}",
        lambda c: f"Barcode {_ean(c)}",
        lambda c: f"{digits(c, 8)} + {digits(c, 8)} = {digits(c, 9)}",
        lambda c: f"x = 0.{digits(c, 16)} and y = {digits(c, 3)}.{digits(c, 12)}",
        lambda c: (
            f"sum of {digits(c, 3)} {digits(c, 3)} {digits(c, c.choice((2, 3, 3, 4)))}, {digits(c, 4)} {digits(c, 4)}"
        ),
        lambda c: f"values[{digits(c, 7)}] = 0x{c.randbytes(8).hex()}",
        lambda c: f"commit {c.randbytes(20).hex()}",
        lambda c: f"sha256: {c.randbytes(32).hex()}",
        lambda c: f"request {uuid.UUID(int=c.getrandbits(128))} failed",
        lambda c: f"Total ${c.randrange(10**6, 10**9):,}.{digits(c, 2)} or 1 234 567.00 kr",
        lambda c: f"at {c.uniform(-90, 90):.6f}, {c.uniform(-180, 180):.6f}",
        lambda c: f"timestamp {c.randrange(10**9, 2 * 10**9)} ({c.randrange(10**12, 2 * 10**12)} ms)",
        lambda c: (
            f"doi:10.{digits(c, 4, '123456789')}/s{digits(c, 5)}-{digits(c, 3)}-{digits(c, 5)}-{digits(c, 1)}"
        ),
        lambda c: f"arXiv:{digits(c, 4)}.{digits(c, 5)}, PMID {digits(c, 8)}",
        lambda c: "<img src='logo@2x.png'> npm i left-pad@1.3.0, @app.route('/a')",
        lambda c: "std::vector<int> x; A @ b.T; a::b::c; 12:30:45:678",
        lambda c: f"MAC {':'.join([f'{c.randrange(256):02x}' for _ in range(6)])}",
        lambda c: f"fingerprint {':'.join([f'{c.randrange(256):02X}' for _ in range(16)])}",
        lambda c: f"US patent {c.randrange(10**6, 10**7):,}; zip {digits(c, 5)}-{digits(c, 4)}",
        lambda c: f"The score was {c.randrange(80, 140)}-{c.randrange(80, 140)}, {c.randrange(80, 140)}-99.",
        lambda c: f"card declined: {_wrong(_card('en', c)[0], c)}",
        lambda c: f"bad IBAN {_wrong(_iban('en', c)[0], c)}",
        lambda c: f"row {digits(c, c.choice((9, 12, 14, 17, 20)), '123456789')} of the table",
        lambda c: (
            f"see section {c.randrange(1, 9)}.{c.randrange(1, 9)}.{c.randrange(1, 9)}.{c.randrange(1, 9)}"
        ),
        lambda c: (
            f"127.0.0.1, 0.0.0.0 and 192.0.2.{c.randrange(256)} are nobody's; 999.{digits(c, 2)}.1.1 is nothing"
        ),
        lambda c: f"my_variable_name_{digits(c, 2)} = some_function_v2(parameter_{digits(c, 1)})",
        lambda c: f"https://site.org/{_date(c):%Y/%m/%d}/post-{digits(c, 7)}.html?id={digits(c, 9)}",
        lambda c: f"+{c.randrange(1, 9)}00000 points, {c.randrange(10, 99)}+{digits(c, 8)}",
        lambda c: f"Part number {digits(c, 3)}-{digits(c, 4)}-{digits(c, 5)}",
    ),
    "zh": (
        lambda c: f"订单号{digits(c, c.choice((8, 10, 11, 12, 16)))}已发货。",
        lambda c: f"快递单号：SF{digits(c, 13)}。",
        lambda c: f"流水号 {digits(c, 11, '1')}，",
        lambda c: f"时间：{_date(c):%Y-%m-%d %H:%M:%S}。",
        lambda c: f"{_date(c):%Y}年{c.randrange(1, 13)}月{c.randrange(1, 29)}日至{_date(c):%Y}年。",
        lambda c: f"日期{_date(c):%Y%m%d}，编号{_date(c):%Y%m%d%H%M%S}。",
        lambda c: f"版本{_version(c)}发布。",
        lambda c: f"书号：{_isbn(c)}。",
        lambda c: f"条形码{_ean(c)}。",
        lambda c: f"{digits(c, 8)}×{digits(c, 3)}={digits(c, 11, '23456789')}。",
        lambda c: f"圆周率约为3.{digits(c, 15)}。",
        lambda c: f"总价{c.randrange(10**6, 10**9):,}.00元，约合{c.randrange(10**7, 10**9)}元。",
        lambda c: f"东经{c.uniform(73, 135):.6f}，北纬{c.uniform(18, 53):.6f}。",
        lambda c: f"人口{c.randrange(10**7, 10**9)}人，面积{c.randrange(10**6, 10**7)}平方公里。",
        lambda c: f"哈希值{c.randbytes(16).hex()}。",
        lambda c: f"标识{uuid.UUID(int=c.getrandbits(128))}。",
        lambda c: f"专利号ZL{_date(c):%Y}{digits(c, 8)}.{digits(c, 1)}，",
        lambda c: f"京ICP备{digits(c, 8)}号-{digits(c, 1)}。",
        lambda c: f"邮编{digits(c, 6, '123456')}，第{c.randrange(100)}-{c.randrange(100)}号。",
        lambda c: f"错误的卡号{_wrong(_card('zh', c)[0], c)}。",
        lambda c: f"无效身份证{_wrong(_id_cn('en', c)[0].ljust(18, '0')[:18], c)}。",
        lambda c: f"时间戳{c.randrange(10**12, 2 * 10**12)}。",
        lambda c: (
            f"统一社会信用代码91{digits(c, 6)}MA{_letters(c, 8, string.ascii_uppercase + string.digits)}。"
        ),
        lambda c: f"股票代码{digits(c, 6)}，成交{digits(c, 9, '123456789')}股。",
        lambda c: f"QQ群{digits(c, 9, '123456789')}。",
        lambda c: f"地址127.0.0.1为本机，第{c.randrange(1, 9)}.{c.randrange(1, 9)}.{c.randrange(1, 9)}.1节。",
        lambda c: f"比分{c.randrange(80, 140)}-99，{c.randrange(1900, 2024)}-{c.randrange(1900, 2024)}赛季。",
        lambda c: f"批号{digits(c, 4)}-{digits(c, 7)}，型号A{digits(c, 4)}-{digits(c, 4)}。",
    ),
}


def misleading(language: str, chance: random.Random) -> str:
    """A sentence with numbers that are nobody's."""
    return chance.choice(_MISLEADING[language])(chance)
