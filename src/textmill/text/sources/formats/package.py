"""Documents that are zip files of parts: Office Open XML and EPUB. Every part is held to the archive's caps."""

from __future__ import annotations

import contextlib
import posixpath
import zipfile
from collections.abc import Iterator
from typing import BinaryIO
from urllib.parse import unquote

from textmill.text.document import printable
from textmill.text.sources.formats.archive import zip_stream
from textmill.text.sources.formats.facts import facts
from textmill.text.sources.formats.stream import Deadline, Input, SetAside, deeper, seekable
from textmill.text.sources.formats.xml_events import Element, Node, elements, tree


class Package:
    """The parts of a document, by name."""

    def __init__(self, item: Input, archive: zipfile.ZipFile) -> None:
        self.item, self._archive = item, archive
        self.deadline = Deadline(item.limits)
        self._parts: dict[str, zipfile.ZipInfo] = {}
        self._types: dict[str, str] | None = None
        for info in archive.infolist():
            item.budget.member()
            # Part names know no case (OPC §6.2.2.3), and some programs write the slashes of Windows.
            self._parts[info.filename.replace("\\", "/").lower()] = info

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._parts

    def open(self, name: str) -> BinaryIO:
        """The bytes of a part. Raises SetAside when it is missing or encrypted."""
        info = self._parts[self.present(name).lower()]
        if info.flag_bits & 1:
            raise SetAside("is encrypted")
        return zip_stream(self.item, self._archive, info)

    def whole(self, name: str) -> bytes:
        """All bytes of a part. Raises SetAside past `limits.file_bytes`."""
        limit = self.item.limits.file_bytes
        with self.open(name) as stream:
            data = stream.read(limit + 1)
        if len(data) > limit:
            raise SetAside("is larger than limits.file_bytes", f"{limit} bytes")
        return data

    def elements(self, name: str) -> list[Element]:
        """The elements of a small part; none when it is missing."""
        if name not in self:
            return []
        with self.open(name) as stream:
            return elements(stream, self.deadline)

    def tree(self, name: str) -> Node:
        """A small part as a tree; one of nothing when it is missing."""
        if name not in self:
            return Node("", {})
        with self.open(name) as stream:
            return tree(stream, self.deadline)

    def media_type(self, name: str) -> str:
        """What a part is by the package's list of content types (OPC §7.2.3); empty when it does not say."""
        if self._types is None:
            self._types = {}
            for element in self.elements("[Content_Types].xml"):
                key = element.attributes.get("PartName", "") or f".{element.attributes.get('Extension', '')}"
                self._types[key.lower()] = element.attributes.get("ContentType", "")
        extension = posixpath.splitext(name)[1]
        return self._types.get(f"/{name}".lower(), "") or self._types.get(extension.lower(), "")

    def inside(self, name: str) -> Input:
        """A part that is a document of its own. Raises SetAside when it is nested too deeply or too large."""
        location = f"{self.item.place}!{printable(name)}"
        return self.item.part(location, posixpath.basename(name), self.whole(name), deeper(self.item))

    def related(self, name: str) -> dict[str, tuple[str, str]]:
        """What a part points to: id -> (the last word of the relation's type, part). OPC §6.5"""
        folder, file = posixpath.split(name)
        relations = {}
        for element in self.elements(f"{folder}/_rels/{file}.rels".lstrip("/")):
            if element.name == "Relationship" and element.attributes.get("TargetMode") != "External":
                kind = element.attributes.get("Type", "").rpartition("/")[2]
                target = element.attributes.get("Target", "")
                path = target.lstrip("/") if target.startswith("/") else posixpath.join(folder, target)
                path = posixpath.normpath(path)
                spelt = unquote(path)
                relations[element.attributes.get("Id", "")] = (kind, spelt if spelt in self else path)
        return relations

    def start(self, usual: str) -> str:
        """The part an Office document begins with by its own account. Raises SetAside when it is not found."""
        relations = self.related("")
        return self.present(
            next((part for kind, part in relations.values() if kind == "officeDocument"), usual)
        )

    def present(self, name: str) -> str:
        """The name of a part that must be there. Raises SetAside when it is not."""
        if name not in self:
            raise SetAside("is damaged, or not what its file extension says", f"it has no {name[:100]}")
        return name

    def facts(self) -> dict[str, str]:
        """What the core properties say (OPC §8); nothing where they are damaged, which loses no text."""
        try:
            properties = {element.name: element.text for element in self.elements("docProps/core.xml")}
        except SetAside:
            return {}
        return facts(
            properties.get("title", ""),
            properties.get("creator", ""),
            properties.get("created", "") or properties.get("modified", ""),
            properties.get("language", ""),
        )


@contextlib.contextmanager
def package(item: Input) -> Iterator[Package]:
    """The package an input is. Raises SetAside when it is nested too deeply."""
    deeper(item)
    with seekable(item) as stream, zipfile.ZipFile(stream) as archive:
        yield Package(item, archive)
