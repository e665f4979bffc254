"""How long a GGUF file takes to load, ready to write: `python benchmarks/gguf.py FILE [--rounds 3] [--peer]`.

Ours, into float32 and into bfloat16, in turns; with --peer also transformers' `from_pretrained(gguf_file=...)` and its
tokenizer from the same file, once (it takes most of a minute for 270 million weights). Libraries are imported, and the
file read once, before anything is timed. Prints JSON: seconds and seconds of processor time, the best of all rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import torch

from textmill.interop.load import load


def timed(work) -> dict[str, float]:
    wall, processor = time.perf_counter(), time.process_time()
    kept = work()
    found = {"seconds": time.perf_counter() - wall, "processor_seconds": time.process_time() - processor}
    del kept
    return found


def ours(path: Path, dtype: torch.dtype):
    published = load(path, dtype)
    published.tokenizer.encode("The mill is ready.")
    return published


def peer(path: Path):
    import transformers

    options = {"gguf_file": path.name, "local_files_only": True}
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, dtype=torch.float32, **options)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, **options)
    tokenizer("The mill is ready.")
    return model, tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", action="store_true")
    options = parser.parse_args()
    ours(options.file, torch.float32)
    rounds: dict[str, list[dict[str, float]]] = {"float32": [], "bfloat16": []}
    for _ in range(options.rounds):
        for name, found in rounds.items():
            found.append(timed(lambda name=name: ours(options.file, getattr(torch, name))))
    best = {name: {key: min(one[key] for one in found) for key in found[0]} for name, found in rounds.items()}
    result = {
        "file": options.file.name,
        "bytes": options.file.stat().st_size,
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "ours": best,
    }
    if options.peer:
        import transformers

        transformers.logging.set_verbosity_error()
        result["transformers"] = timed(lambda: peer(options.file))
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
