"""Examples of every command, as its `--help` shows them. In them `mine.toml` is a recipe, `mine` and `other` are runs,
`notes/` is a folder of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

EXAMPLES: Mapping[str, Sequence[str]] = {
    "": (
        "textmill quickstart --corpus notes/",
        "textmill recipe new mine.toml --corpus notes/",
        "textmill run mine.toml",
        'textmill generate mine "Once upon a time"',
    ),
    "quickstart": (
        "textmill quickstart",
        "textmill quickstart --data reviews.csv --minutes 5",
        "textmill quickstart --task translate --data train.en --data train.de",
        "textmill quickstart --corpus notes/ --minutes 10",
        "textmill quickstart --corpus letters.csv --columns text=body --name letters",
    ),
    "doctor": ("textmill doctor", "textmill doctor --json > machine.json"),
    "recipe new": (
        "textmill recipe new --data reviews.csv",
        "textmill recipe new --data pairs.tsv --columns source=en,target=de",
        "textmill recipe new --task tag --data news.conll --from minilm-l6-v2",
        "textmill recipe new mine.toml --corpus notes/",
        'textmill recipe new mine.toml --corpus "*.mbox" --preset qwen3 --size 10M',
        "textmill recipe new mine.toml --full",
    ),
    "recipe show": (
        "textmill recipe show mine.toml",
        "textmill recipe show mine.toml --set training.steps=2000 --json",
    ),
    "recipe schema": ("textmill recipe schema > recipe.schema.json",),
    "check": (
        "textmill check mine.toml",
        "textmill check mine.toml --rates",
        "textmill check mine.toml --set training.batch=32 --json",
    ),
    "run": (
        "textmill run mine.toml",
        "textmill run mine.toml --fork again --set training.steps=2000",
    ),
    "prepare": (
        "textmill prepare mine.toml",
        "textmill prepare mine.toml --workers 4",
        "textmill prepare mine.toml --json > prepared.json",
    ),
    "train": (
        "textmill train mine.toml",
        "textmill train mine.toml --set training.minutes=30",
        "textmill train mine.toml --fork longer --set training.steps=2000",
        "torchrun --nproc-per-node 2 -m textmill train mine.toml",
    ),
    "evaluate": (
        "textmill evaluate mine",
        "textmill evaluate mine --data reviews.csv --columns text=review,label=stars",
        "textmill evaluate mine --data reviews.jsonl --beside other",
        "textmill evaluate mine --data asked.jsonl --form 'Q: {query} A:'",
        "textmill evaluate mine --file letter.txt --context 256",
        "textmill evaluate mine --json > scores.json",
    ),
    "publish": ("textmill publish mine", "textmill publish mine --json"),
    "generate": (
        'textmill generate mine "Once upon a time"',
        'textmill generate mine "The mill" --samples 3 --temperature 0.8 --seed 1',
        'textmill generate mine "The mill" --beams 4 --json',
        "textmill generate mine - < prompt.txt",
    ),
    "chat": (
        "textmill chat mine",
        'textmill chat mine --system "Be brief." --message "Good morning" --json',
        "textmill chat mine < questions.txt",
        "textmill chat mine --tools tools.py",
    ),
    "embed": (
        'textmill embed mine "a red boat" "a green ship" --json',
        "textmill embed mine --file sentences.txt --out vectors.npy",
        "textmill embed mine - --pooling mean --normalise < sentences.txt",
    ),
    "serve": (
        "textmill serve mine",
        "textmill serve chat=smollm2-135m-instruct minilm-l6-v2 --port 8080",
        "textmill serve mine --adapter letters --documents notes/",
        "textmill serve mine --store-responses responses/",
        "textmill serve mine --unload-after 30",
    ),
    "keys add": (
        "textmill keys add editor",
        "textmill keys add search --scope vectors --scope documents --rate 60",
    ),
    "keys list": ("textmill keys list",),
    "keys remove": ("textmill keys remove editor",),
    "docs add": (
        "textmill docs add notes/ letters/*.pdf",
        "textmill docs add notes/ --embedder mine",
    ),
    "docs list": ("textmill docs list", "textmill docs list --folder notes/ --language zh --json"),
    "docs show": ("textmill docs show notes/mill.txt",),
    "docs remove": ("textmill docs remove notes/mill.txt", "textmill docs remove --gone"),
    "docs search": (
        'textmill docs search "the miller of the river"',
        'textmill docs search "water rights" --since 2024-01-01 --top 3',
        'textmill docs search "守塔人" --language zh --model mine',
    ),
    "docs ask": (
        'textmill docs ask "Who is the miller?"',
        'textmill docs ask "谁是守塔人？" --model mine',
        'textmill docs ask "Who is the miller?" --model mine --json',
    ),
    "docs evaluate": (
        "textmill docs evaluate questions.json",
        "textmill docs evaluate questions.json --model mine --fit",
    ),
    "docs check": ("textmill docs check",),
    "docs compact": ("textmill docs compact",),
    "mcp": (
        "textmill mcp --store work/documents.db",
        "textmill mcp --answer mine --classify moods --trace mine",
    ),
    "verify": (
        "textmill verify mine",
        "textmill verify mine --weights bf16 --file letter.txt",
        "textmill verify mine --export gguf",
    ),
    "import": (
        "textmill import --list",
        "textmill import downloads/gpt2",
        "textmill import downloads/model.gguf models/small",
        "textmill import --remote distilgpt2 models/distilgpt2",
    ),
    "merge": (
        "textmill merge tuned --out tuned-model",
        "textmill merge tuned --out tuned-model --file notes.txt",
    ),
    "export": (
        "textmill export --list",
        "textmill export mine gguf mine.gguf",
        "textmill export mine onnx mine-onnx",
        "textmill export tuned gguf-lora tuned.gguf",
    ),
    "mix": (
        "textmill mix mine other",
        "textmill mix mine other --out mixtures/both --fit-tokens 20000",
    ),
    "sample": (
        "textmill sample mine best prompts.txt --reward reward.py:polite --samples 8",
        "textmill sample mine best prompts.txt --reward judge --label 1 --least 0.9",
    ),
    "ngram export": ("textmill ngram export counts counts.arpa",),
    "ngram import": ("textmill ngram import words.arpa models/words --like mine",),
    "models": (
        "textmill models",
        "textmill models get smollm2-135m-instruct",
        "textmill chat smollm2-135m-instruct",
    ),
    "models list": ("textmill models list", "textmill models list --json"),
    "models get": (
        "textmill models get smollm2-135m-instruct",
        "textmill models get minilm-l6-v2 --json",
    ),
    "list": ("textmill list", "textmill list cache", "textmill list run model --json"),
    "show": ("textmill show mine", "textmill show smollm2-135m-instruct", "textmill show corpus/3f2a"),
    "rm": (
        "textmill rm mine --dry-run",
        "textmill rm mine other --yes",
        "textmill rm --unused",
    ),
    "runs": ("textmill runs", "textmill runs show mine", "textmill runs draw mine other --svg curves.svg"),
    "runs list": ("textmill runs list", "textmill runs list --json"),
    "runs show": ("textmill runs show mine", "textmill runs show mine --svg mine.svg"),
    "runs draw": ("textmill runs draw mine other --svg curves.svg",),
    "report": ("textmill report mine", "textmill report mine --out mine.html"),
    "compare": ("textmill compare mine other", "textmill compare mine other --svg both.svg --json"),
    "data where": ("textmill data where mine --step 10",),
    "data contamination": (
        "textmill data contamination mine questions.jsonl",
        "textmill data contamination mine.toml questions.jsonl answers.csv --ngram 8",
    ),
    "lineage": (
        "textmill lineage mine",
        "textmill lineage mine --verify",
        "textmill lineage mine --against other",
    ),
    "index build": ("textmill index build mine", "textmill index build mine.toml --memory 4"),
    "index count": (
        'textmill index count mine "the mill" "the river"',
        'textmill index count mine.toml "the mill" --part test --json',
    ),
    "predict": (
        'textmill predict mine "a text"',
        'textmill predict linear "a text" --why',
        "textmill predict mine rows.csv --columns text=review --out said.csv",
        "textmill predict mine rows.csv --columns text=review --out said.csv --resume",
        "textmill predict mine - < lines.txt > said.jsonl",
    ),
    "translate": (
        'textmill translate mine "Guten Morgen."',
        "textmill translate mine book.txt --beams 5 --out english.txt",
    ),
    "summarize": ("textmill summarize mine articles.jsonl --columns source=body --top 3",),
    "answer": (
        'textmill answer mine passage.txt --with question="Who built the mill?"',
        "textmill answer mine questions.jsonl --columns passage=context",
    ),
    "classify": (
        'textmill classify mine "a fine film" --top 2',
        "textmill classify mine reviews.csv --columns text=review --out labelled.csv",
    ),
    "tag": ('textmill tag mine "Anna went to York."', "textmill tag mine letters.jsonl --out names.jsonl"),
    "index search": ('textmill index search mine "the mill" --limit 10 --context 30',),
    "trace": (
        "textmill trace mine",
        'textmill trace mine "turns water into flour" --shortest 4',
        "textmill trace mine - < answer.txt",
        "textmill trace mine --answer answer.json",
        "textmill trace --document notes/letter.txt --run mine",
    ),
    "forget": (
        "textmill forget notes/letter.txt --dry-run",
        "textmill forget notes/letter.txt --near --yes",
        "textmill forget --undo",
    ),
}


def of(command: Any, path: str) -> Sequence[str]:
    """Those of a command, told by its path (`textmill runs show`); of a group without its own, the first of each of
    its commands."""
    name = path.partition(" ")[2]
    if name in EXAMPLES:
        return EXAMPLES[name]
    inner = [of(part, f"{path} {word}") for word, part in getattr(command, "commands", {}).items()]
    return [lines[0] for lines in inner if lines]
