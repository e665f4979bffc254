"""The token store: a corpus as numbers, memory-mapped, every token still knowing its document.

tokens.bin     ids of all documents, one after the other, uint16 or uint32; each ends with end-of-text
offsets.npy    (D + 1,) int64: document d is ids[offsets[d] : offsets[d + 1]]
bytes.npy      (D,) int64: UTF-8 bytes of each document's text
documents.bin  (D, 16) bytes: the content id of each document
manifest.json  vocabulary, tokenizer, what stands before a document, counts, how many documents decoding gives back
               otherwise (`changed`), size and SHA-256 of each file; written last
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from textmill.base.errors import DamagedError
from textmill.base.files import atomic_directory, read_json, sha256_file, write_json
from textmill.data import arrays
from textmill.data.special import opening
from textmill.text.batches import by_size
from textmill.text.document import Document
from textmill.tokenization.characters import without_surrogates
from textmill.tokenization.protocol import AnyTokenizer

FORMAT = 2
FILES = ("tokens.bin", "offsets.npy", "bytes.npy", "documents.bin")
_CHUNK = 1 << 23  # characters encoded at once: bounds memory, keeps all threads busy


def _bytes(text: str) -> int:
    """UTF-8 bytes of a text as the tokenizer reads it."""
    try:
        return len(text.encode("utf-8"))
    except UnicodeEncodeError:
        return len(without_surrogates(text).encode("utf-8"))


def write_tokens(
    directory: Path | str, documents: Iterable[Document], tokenizer: AnyTokenizer
) -> dict[str, Any]:
    """Encode documents, in their order, into a store that appears whole or not at all; returns its manifest.

    Streams: memory holds one chunk of documents, and 32 bytes per document for the boundaries.
    """
    dtype = np.dtype("<u2" if tokenizer.vocabulary <= 1 << 16 else "<u4")
    end = np.array([tokenizer.end], dtype=dtype).tobytes()
    offsets, lengths, names = array("q", [0]), array("q"), bytearray()
    digest, changed = hashlib.sha256(), 0
    with atomic_directory(Path(directory)) as temporary:
        with open(temporary / "tokens.bin", "wb") as handle:
            for chunk in by_size(documents, _CHUNK):
                encoded = tokenizer.encode_many([document.text for document in chunk])
                for document, ids in zip(chunk, encoded, strict=True):
                    data = ids.astype(dtype).tobytes() + end
                    handle.write(data)
                    digest.update(data)
                    offsets.append(offsets[-1] + len(ids) + 1)
                    lengths.append(_bytes(document.text))
                    names += bytes.fromhex(document.id)
                    changed += not tokenizer.lossless and tokenizer.decode(ids) != document.text
        np.save(temporary / "offsets.npy", np.frombuffer(offsets, dtype=np.int64))
        np.save(temporary / "bytes.npy", np.frombuffer(lengths, dtype=np.int64))
        (temporary / "documents.bin").write_bytes(names)
        hashes = {name: sha256_file(temporary / name) for name in FILES[1:]} | {
            "tokens.bin": digest.hexdigest()
        }
        manifest = {
            "format": FORMAT,
            "vocabulary": tokenizer.vocabulary,
            "tokenizer": tokenizer.id,
            "end": tokenizer.end,
            "opening": list(opening(tokenizer)),
            "pad": tokenizer.pad,
            "dtype": dtype.name,
            "documents": len(lengths),
            "tokens": offsets[-1],
            "bytes": sum(lengths),
            "changed": changed,
            "files": {
                name: {"bytes": (temporary / name).stat().st_size, "sha256": hashes[name]} for name in FILES
            },
        }
        write_json(temporary / "manifest.json", manifest)
    return manifest


class Texts:
    """Texts as ids one after the other.

    ids           (N,) unsigned integers
    offsets       (D + 1,) int64: text d is ids[offsets[d] : offsets[d + 1]]
    document_ids  (D, 16) uint8; `document_id(d)` gives 32 hex digits
    loss          (N,) int8, 0 where an id is only read, as what a chat template writes is; None: all are in the loss
    """

    def __init__(
        self, ids: np.ndarray, offsets: np.ndarray, document_ids: np.ndarray, loss: np.ndarray | None = None
    ) -> None:
        self.ids, self.offsets, self.document_ids, self.loss = ids, offsets, document_ids, loss

    def __len__(self) -> int:
        """Number of documents, D."""
        return len(self.offsets) - 1

    @property
    def tokens(self) -> int:
        """Number of tokens, ends of text included, N."""
        return int(self.offsets[-1])

    def document(self, index: int) -> np.ndarray:
        """Ids of one document, its end-of-text included."""
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    def document_id(self, index: int) -> str:
        """Content id of one document, 32 hex digits."""
        return self.document_ids[index].tobytes().hex()

    def begins_at(self, positions: np.ndarray) -> np.ndarray:
        """Whether a document begins at each position of `ids`, in the shape of `positions`; at negative ones, none."""
        return (positions >= 0) & (self.offsets[self.documents_at(np.maximum(positions, 0))] == positions)

    def documents_at(self, positions: np.ndarray) -> np.ndarray:
        """The index of the document each position of `ids` belongs to, in the shape of `positions`."""
        return np.searchsorted(self.offsets, positions, side="right") - 1


class TokenStore(Texts):
    """A store opened for reading; its files are mapped, not loaded.

    ids           (N,) uint16 or uint32
    offsets       (D + 1,) int64
    bytes         (D,) int64, UTF-8 bytes of each document's text
    document_ids  (D, 16) uint8; `document_id(d)` gives 32 hex digits
    changed       documents that decoding gives back otherwise than they were: the tokenizer lost some of them
    opening       ids that a model reads before a document: what the tokenizer puts there, or end-of-text
    """

    def __init__(self, directory: Path | str) -> None:
        """Raises DamagedError when a file is missing or is not as long as the manifest says."""
        self.directory = Path(directory)
        manifest = read_json(self.directory / "manifest.json")
        try:
            self._check_sizes(manifest)
            self.vocabulary: int = manifest["vocabulary"]
            self.tokenizer: str = manifest["tokenizer"]
            self.end: int = manifest["end"]
            # A store of before this was said is read as models were trained on it.
            self.opening: tuple[int, ...] = tuple(manifest["opening"])
            self.pad: int = manifest["pad"]
            self.changed: int = manifest["changed"]
            dtype, tokens, documents = np.dtype(manifest["dtype"]), manifest["tokens"], manifest["documents"]
        except (KeyError, TypeError) as error:
            raise DamagedError(
                f"is not the manifest of a token store ({error!r})", where=self.directory / "manifest.json"
            ) from error
        self.manifest = manifest
        super().__init__(
            arrays.mapped(self.directory / "tokens.bin", dtype, (tokens,)),
            arrays.loaded(self.directory / "offsets.npy", documents + 1),
            arrays.mapped(self.directory / "documents.bin", "u1", (documents, 16)),
        )
        self.bytes = arrays.loaded(self.directory / "bytes.npy", documents)
        if self.offsets[0] != 0 or self.offsets[-1] != tokens:
            raise DamagedError(
                "does not fit tokens.bin", where=self.directory / "offsets.npy", advice=arrays.AGAIN
            )

    def after_end(self) -> TokenStore:
        """The same store as counted models read it: in their text end-of-text alone stands before a document."""
        self.opening = (self.end,)
        return self

    def _check_sizes(self, manifest: dict[str, Any]) -> None:
        if manifest["format"] != FORMAT:
            raise DamagedError(
                f"is a token store of format {manifest['format']}; this Textmill reads {FORMAT}",
                where=self.directory,
                advice=arrays.AGAIN,
            )
        arrays.check_sizes(self.directory, manifest["files"], FILES)

    def verify(self) -> None:
        """Read every byte and compare hashes. Raises DamagedError naming the file that changed."""
        arrays.check_hashes(self.directory, self.manifest["files"], FILES)
