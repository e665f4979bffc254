"""What is on a page of a PDF beside its own text: form fields and what was filled in, typed notes, comments, files.

A field has a place on the page and no place in its text: its value is put behind the words left of it on its line, or
below those above it; a box to tick before the words right of it, as `☒` or `☐`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

_HIDDEN = 0x02 | 0x20  # FPDF_ANNOT_FLAG_HIDDEN, _NOVIEW: ISO 32000-1 table 165
_PASSWORD = 1 << 13  # a field's flag: table 228
_GAP = 24  # points between a field and the words that are taken for its name above it
_NEAR = 150  # points between a box and the words right of it
_LONGEST = 1 << 20  # bytes of one value

Box = tuple[float, float, float, float]  # left, bottom, right, top, in points


@dataclass
class Notes:
    """What stands on a page beside its text."""

    values: list[Value] = field(default_factory=list)
    comments: int = 0
    files: list[tuple[str, bytes]] = field(default_factory=list)  # (name, content)


@dataclass(frozen=True)
class Value:
    """Something written on a page, and where."""

    text: str
    box: Box
    ticked: bool = False  # whether it is a box to tick, which stands before its name


def notes(file: Any, page: Any) -> Notes:
    """The notes of a page (pypdfium2's), in the order of reading."""
    import pypdfium2 as pdfium
    from pypdfium2 import raw

    found = Notes()
    for number in range(raw.FPDFPage_GetAnnotCount(page)):
        note = raw.FPDFPage_GetAnnot(page, number)
        if not note:
            continue
        try:
            if raw.FPDFAnnot_GetFlags(note) & _HIDDEN:
                continue
            kind = raw.FPDFAnnot_GetSubtype(note)
            if kind == raw.FPDF_ANNOT_WIDGET:
                found.values += _field(file, note) if file.formenv else ()
            elif kind == raw.FPDF_ANNOT_FREETEXT:
                text = _string(lambda *out, note=note: raw.FPDFAnnot_GetStringValue(note, b"Contents", *out))
                found.values += [Value(text, _box(note))] if text.strip() else ()
            elif kind == raw.FPDF_ANNOT_FILEATTACHMENT:
                if handle := raw.FPDFAnnot_GetFileAttachment(note):
                    found.files.append(attached(pdfium.PdfAttachment(handle, file)))
            elif kind not in (raw.FPDF_ANNOT_LINK, raw.FPDF_ANNOT_POPUP):
                text = _string(lambda *out, note=note: raw.FPDFAnnot_GetStringValue(note, b"Contents", *out))
                found.comments += bool(text.strip())
        finally:
            raw.FPDFPage_CloseAnnot(note)
    found.values.sort(key=lambda value: (-round(value.box[3] / 6), value.box[0]))
    return found


def attached(attachment: Any) -> tuple[str, bytes]:
    """(name, content) of a file within a PDF."""
    return attachment.get_name() or "part", bytes(attachment.get_data())


def _field(file: Any, note: Any) -> Iterator[Value]:
    """What a field of a form shows."""
    from pypdfium2 import raw

    form = file.formenv
    kind = raw.FPDFAnnot_GetFormFieldType(form, note)
    if kind in (raw.FPDF_FORMFIELD_CHECKBOX, raw.FPDF_FORMFIELD_RADIOBUTTON):
        yield Value("☒" if raw.FPDFAnnot_IsChecked(form, note) else "☐", _box(note), ticked=True)
    elif kind in (raw.FPDF_FORMFIELD_COMBOBOX, raw.FPDF_FORMFIELD_LISTBOX):
        chosen = [
            _string(lambda *out, at=at: raw.FPDFAnnot_GetOptionLabel(form, note, at, *out))
            for at in range(max(0, raw.FPDFAnnot_GetOptionCount(form, note)))
            if raw.FPDFAnnot_IsOptionSelected(form, note, at)
        ]
        text = ", ".join(filter(None, chosen)) or _string(
            lambda *out: raw.FPDFAnnot_GetFormFieldValue(form, note, *out)
        )
        yield from [Value(text, _box(note))] if text.strip() else ()
    elif kind == raw.FPDF_FORMFIELD_TEXTFIELD and not raw.FPDFAnnot_GetFormFieldFlags(form, note) & _PASSWORD:
        text = _string(lambda *out: raw.FPDFAnnot_GetFormFieldValue(form, note, *out))
        yield from [Value(text, _box(note))] if text.strip() else ()


def _box(note: Any) -> Box:
    from pypdfium2 import raw

    rectangle = raw.FS_RECTF()
    raw.FPDFAnnot_GetRect(note, ctypes.byref(rectangle))
    return rectangle.left, rectangle.bottom, rectangle.right, rectangle.top


def _string(ask: Callable[..., int]) -> str:
    """A string of PDFium's: asked for its size first, then for its UTF-16."""
    from pypdfium2 import raw

    size = min(ask(None, 0), _LONGEST)
    if size <= 2:
        return ""
    units = (raw.FPDF_WCHAR * ((size + 1) // 2))()
    ask(units, size)
    return bytes(units)[: size - 2].decode("utf-16-le", "replace").replace("\r\n", "\n").replace("\r", "\n")


# --- into the text ------------------------------------------------------------------------------------------------
Words = Callable[[float, float, float, float], str]  # what stands between left, bottom, right, top


def placed(text: str, values: list[Value], words: Words, width: float) -> str:
    """The text of a page with what was written on it, each value where its name stands, or at the end without one.

    words: the page's own text within a box, in points; width: of the page, in points.
    """
    at = 0
    for value in values:
        before, after = _names(value, values, words, width)
        if value.ticked and after and (found := _find(text, after, at)) >= 0:
            text = f"{text[:found]}{value.text} {text[found:]}"
            at = found + len(value.text) + 1
        elif before and (found := _find(text, before, at)) >= 0:
            end = found + len(before)
            gap = "\n" if "\n" in value.text else " "
            text = f"{text[:end]}{gap}{value.text}{text[end:]}"
            at = end + len(value.text) + 1
        else:
            text = f"{text}\n{value.text}"
    return text


def _find(text: str, name: str, at: int) -> int:
    """Where a name stands: behind what was placed last, since values come in the order of reading, or anywhere."""
    found = text.find(name, at)
    return found if found >= 0 else text.find(name)


def _names(value: Value, values: list[Value], words: Words, width: float) -> tuple[str, str]:
    """The words left of a value on its line, or above it, and those right of it."""
    left, bottom, right, top = value.box
    beside = [
        other.box for other in values if other is not value and other.box[1] < top and other.box[3] > bottom
    ]
    start = max((box[2] for box in beside if box[2] <= left + 1), default=0.0)
    end = min((box[0] for box in beside if box[0] >= right - 1), default=width)
    middle = (bottom + top) / 2
    low, high = (bottom, top) if top - bottom < 2 * _GAP else (top - _GAP, top)
    before = _last_line(words(start, low, left, high)) or _last_line(
        words(start, middle - 3, left, middle + 3)
    )
    after = words(right, low, min(end, right + _NEAR), high).strip().split("\n")[0].strip()
    if not before and not value.ticked:
        before = _last_line(words(left - 2, top, right, top + _GAP))
    return before, after


def _last_line(text: str) -> str:
    return text.replace("\r", "").strip().rpartition("\n")[2].strip()
