"""The characters of fonts that draw symbols in place of letters, as Unicode: `m` of Symbol is `μ`.

Such fonts have 224 signs, at the codes from 20 to FF; Word keeps them at U+F020 to U+F0FF. The tables are facts: for
Symbol those of Adobe, for the others the characters Unicode 7 took from them (UTC document L2/12-368), or the common
sign of the same shape where there is one (a ticked box is `☑`). A code that stands for nothing is U+FFFD.
"""

from __future__ import annotations

_FIRST, _PRIVATE = 0x20, 0xF000
_UNKNOWN = "\ufffd"
_TABLES = {
    "symbol": (
        " !∀#∃%&∋()*+,−./0123456789:;<=>?"
        "≅ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ[∴]⊥_"
        "‾αβχδεφγηιϕκλμνοπθρστυϖωξψζ{|}~�"
        "��������������������������������"
        "€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…⏐⎯↵"
        "ℵℑℜ℘⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓"
        "◊⟨®©™∑⎛⎜⎝⎡⎢⎣⎧⎨⎩⎪⟩∫⌠⎮⌡⎞⎟⎠⎤⎥⎦⎫⎬⎭�"
    ),
    "wingdings": (
        " 🖉✂✁👓🕭🕮🕯☎✆✉🖃📪📫📬📭🗀🗁🗎🗏🗐🗄⌛🖮🖰🖲🖳🖴🖫🖬✇✍"
        "🖎✌🖏👍👎☜☞☝☟🖐☺😐☹💣🕱🏳🏱✈☼🌢❄🕆✞🕈✠✡☪☯🕉☸♈♉"
        "♊♋♌♍♎♏♐♑♒♓🙰🙵●❍■□🞐❑❒🞟⧫◆❖⬩☒⮹⌘🏵🏶❝❞▯"
        "🄋➀➁➂➃➄➅➆➇➈➉🄌➊➋➌➍➎➏➐➑➒➓🙢🙠🙡🙣🙞🙜🙝🙟·•"
        "⬝○🞆🞈◉◎🔿▪☐🟁🟅★🟋🟏🟓🟑⯐⌖⯎⯏⯑✪✰🕐🕑🕒🕓🕔🕕🕖🕗🕘"
        "🕙🕚🕛⮰⮱⮲⮳⮴⮵⮶⮷🙪🙫🙕🙔🙗🙖🙐🙑🙒🙓⌫⌦⮘➢⮙⮛⮈➲⮉⮋←"
        "→↑↓↖↗↙↘🡸➔🡹🡻🡼🡽🡿🡾⇦⇨⇧⇩⬄⇳⬁⬀⬃⬂🢬🢭✗✓☒☑�"
    ),
    "wingdings 2": (
        " 🖊🖋🖌🖍✄✀🕾🕽🗅🗆🗇🗈🗉🗊🗋🗌🗍📋🗑🗔🖵🖶🖷🖸🖭🖯🖱🖒🖓🖘🖙"
        "🖚🖛👈👉🖜🖝🖞🖟🖠🖡👆👇🖢🖣🖑✗✓☒☑☒☒⮾⮿🛇⦸🙱🙴🙲🙳‽🙹🙺"
        "🙻🙦🙤🙥🙧🙚🙘🙙🙛⓪①②③④⑤⑥⑦⑧⑨⑩⓿❶❷❸❹❺❻❼❽❾❿�"
        "☉🌕☽☾⸿✝🕇🕜🕝🕞🕟🕠🕡🕢🕣🕤🕥🕦🕧🙨🙩⋅🞄⦁●○🞅🞇🞉⊙⦿🞌"
        "🞍◾■□🞑🞒🞓🞔▣🞕🞖🞗🞘⬩⬥◇🞚◈🞛🞜🞝🞞⬪⬧◊🞠◖◗⯊⯋⯀⯁"
        "⬟⯂⬣⬢⯃⯄🞡🞢🞣🞤🞥🞦🞧🞨🞩🞪🞫🞬🞭🞮🞯🞰🞱🞲🞳🞴🞵🞶🞷🞸🞹🞺"
        "🞻🞼🞽🞾🞿🟀🟂🟄🟆🟉🟊✶🟌🟎🟐🟒✹🟃🟇✯🟍🟔⯌⯍※⁂������"
    ),
    "wingdings 3": (
        " ⭠⭢⭡⭣⭦⭧⭩⭨⭰⭲⭱⭳⭶⭸⭻⭽⭤⭥⭪⭬⭫⭭⭍⮠⮡⮢⮣⮤⮥⮦⮧"
        "⮐⮑⮒⮓⮀⮃⭾⭿⮄⮆⮅⮇⮏⮍⮎⮌⭮⭯⎋⌤⌃⌥␣⍽⇪⮸🢠🢡🢢🢣🢤🢥"
        "🢦🢧🢨🢩🢪🢫🡐🡒🡑🡓🡔🡕🡗🡖🡘🡙▲▼△▽◀▶◁▷◣◢◤◥🞀🞂🞁�"
        "🞃⯅⯆⯇⯈⮜⮞⮝⮟🠐🠒🠑🠓🠔🠖🠕🠗🠘🠚🠙🠛🠜🠞🠝🠟🠀🠂🠁🠃🠄🠆🠅"
        "🠇🠈🠊🠉🠋🠠🠢🠤🠦🠨🠪🠬🢜🢝🢞🢟🠮🠰🠲🠴🠶🠸🠺🠹🠻🢘🢚🢙🢛🠼🠾🠽"
        "🠿🡀🡂🡁🡃🡄🡆🡅🡇⮨⮩⮪⮫⮬⮭⮮⮯🡠🡢🡡🡣🡤🡥🡧🡦🡰🡲🡱🡳🡴🡵🡷"
        "🡶🢀🢂🢁🢃🢄🢅🢇🢆🢐🢒🢑🢓🢔🢖🢕🢗���������������"
    ),
    "webdings": (
        " 🕷🕸🕲🕶🏆🎖🖇🗨🗩🗰🗱🌶🎗🙾🙼🗕🗖🗗⏴⏵⏶⏷⏪⏩⏮⏭⏸⏹⏺🗚🗳"
        "🛠🏗🏘🏙🏚🏜🏭🏛🏠🏖🏝🛣🔍🏔👁👂🏞🏕🛤🏟🛳🕬🕫🕨🔈🎔🎕🗬🙽🗭🗪🗫"
        "⮔✔🚲⬜🛡📦🛱⬛🚑🛈🛩🛰🟈🕴⬤🛥🚔🗘🗙❓🛲🚇🚍⛳⦸⊖🚭🗮⏐🗯🗲�"
        "🚹🚺🛉🛊🚼👽🏋⛷🏂🏌🏊🏄🏍🏎🚘🗠🛢💰🏷💳👪🗡🗢🗣✯🖄🖅🖃🖆🖹🖺🖻"
        "🕵🕰🖽🖾📋🗒🗓🕮📚🗞🗟🗃🗂🖼🎭🎜🎘🎙🎧💿🎞📷🎟🎬📽📹📾📻🎚🎛📺💻"
        "🖥🖦🖧🕹🎮🕻🕼📟🖁🖀🖨🖩🖿🖪🗜🔒🔓🗝📥📤🕳🌣🌤🌥🌦☁🌨🌧🌩🌪🌬🌫"
        "🌜🌡🛋🛏🍽🍸🛎🛍Ⓟ♿🛆🖈🎓🗤🗥🗦🗧🛪🐿🐦🐟🐕🐈🙬🙮🙭🙯🗺🌍🌏🌎🕊"
    ),
}


def _zapf_dingbats() -> str:
    """Unicode took over the order of this font, but for what it had already."""
    signs = [
        chr(0x2700 + code - 0x20) if code < 0x7F else chr(0x2760 + code - 0xA0) for code in range(0x20, 0x100)
    ]
    known = {
        0x20: " ",
        0x25: "☎",
        0x2A: "☛",
        0x2B: "☞",
        0x48: "★",
        0x6C: "●",
        0x6E: "■",
        0x73: "▲",
        0x74: "▼",
    }
    known |= {0x75: "◆", 0x77: "◗", 0xD5: "→", 0xD6: "↔", 0xD7: "↕"}
    known |= dict(zip(range(0xA8, 0xB6), "♣♦♥♠①②③④⑤⑥⑦⑧⑨⑩", strict=True))
    known |= dict.fromkeys((*range(0x7F, 0xA1), 0xF0, 0xFF), _UNKNOWN)
    return "".join(known.get(code, sign) for code, sign in enumerate(signs, _FIRST))


_TABLES["zapfdingbats"] = _zapf_dingbats()
_NAMES = {
    **{name: name for name in _TABLES},
    **{
        "symbolmt": "symbol",
        "symbolps": "symbol",
        "standardsymbolsps": "symbol",
        "standardsymbolsl": "symbol",
    },
    **{"wingdings2": "wingdings 2", "wingdings3": "wingdings 3", "wingdings-regular": "wingdings"},
    **{
        "zapf dingbats": "zapfdingbats",
        "monotype sorts": "zapfdingbats",
        "itc zapf dingbats": "zapfdingbats",
    },
}


def symbolic(font: str) -> bool:
    """Whether a font draws symbols in place of letters."""
    return font.strip().lower() in _NAMES


def symbol(font: str, code: int) -> str:
    """The character of a code in a font: of one that draws symbols, its sign; of any other, the character itself."""
    name = _NAMES.get(font.strip().lower())
    within = code - _PRIVATE if _PRIVATE + _FIRST <= code <= _PRIVATE + 0xFF else code
    if name is not None and _FIRST <= within <= 0xFF:
        return _TABLES[name][within - _FIRST]
    if within != code:  # a sign of a font nobody knows
        return _UNKNOWN
    return chr(code) if 0 < code < 0x110000 and not 0xD800 <= code < 0xE000 else ""


def symbols(font: str, text: str) -> str:
    """Text written in a font, by `symbol`; letters of other scripts in it are left as they are."""
    return "".join(
        symbol(font, code) if code <= 0xFF or _PRIVATE <= code <= _PRIVATE + 0xFF else chr(code)
        for code in map(ord, text)
    )
