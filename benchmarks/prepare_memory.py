"""How much memory preparing takes on more text than fits: generated JSON lines, cleaned and deduplicated.

    python benchmarks/prepare_memory.py [--gigabytes 10] [--folder DIR]

Writes random English-like documents (2 kB on average, some of them repeated, whole or nearly) into files of
64 MB, prepares them with the default steps and near duplicates, and follows the resident memory of the process
and its children every quarter of a second. Prints one JSON object. Needs three times the input as disk.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

FILE_BYTES = 64 << 20
WORDS = 20_000
WORK = """
import json, sys
from pathlib import Path
from textmill.specs.corpus import CorpusSpec, FilesSource
from textmill.specs.cleaning import NearDuplicatesStep
from textmill.text.corpus import build as engine
base = Path(sys.argv[1])
steps = (*CorpusSpec(sources=()).steps, NearDuplicatesStep())
report = engine.build(
    base / "corpus", CorpusSpec(sources=(FilesSource(paths=("in",)),), steps=steps), base, base / "parts"
)
print(json.dumps({key: report[key] for key in ("read", "kept", "skipped")}))
"""


def write(folder: Path, size: int) -> int:
    """Files of documents, `size` bytes in all; how many documents."""
    draw = np.random.default_rng(0)
    words = np.array(
        [draw.integers(97, 123, draw.integers(2, 11)).astype(np.uint8).tobytes() for _ in range(WORDS)],
        dtype=object,
    )
    shares = 1 / np.arange(1, WORDS + 1)
    shares /= shares.sum()
    written = count = 0
    last: list[bytes] = []
    while written < size:
        with open(folder / f"{written // FILE_BYTES:05d}.jsonl", "wb") as file:
            while file.tell() < FILE_BYTES and written + file.tell() < size:
                ids = draw.choice(WORDS, 200_000, p=shares)
                start = 0
                while start < len(ids):
                    end = start + int(draw.integers(50, 700))
                    document = list(words[ids[start:end]])
                    if last and draw.random() < 0.02:
                        document = [*last[:-1], b"changed"] if draw.random() < 0.5 else last
                    file.write(b'{"text": "' + b" ".join(document) + b'"}\n')
                    last, start, count = document, end, count + 1
            written += file.tell()
    return count


def memory(process: int) -> tuple[int, int]:
    """Bytes of a process and those it started: (all that is resident, what only they can give back).

    Of the first, pages of files and libraries count, once for each process that shares them, though the system may
    drop them whenever it wants; the second is what must fit.
    """
    resident = own = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
            if int(status.parent.name) == process or int(lines["PPid"]) == process:
                resident += 1024 * int(lines["VmRSS"].split()[0])
                own += 1024 * int(lines["RssAnon"].split()[0])
        except (OSError, KeyError, ValueError):
            continue
    return resident, own


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=10.0)
    parser.add_argument("--folder", type=Path, help="where to write; left out: a temporary folder")
    chosen = parser.parse_args()
    base = Path(tempfile.mkdtemp(dir=chosen.folder))
    try:
        for name in ("in", "corpus"):
            (base / name).mkdir()
        documents = write(base / "in", int(chosen.gigabytes * 1e9))
        started, resident, own = time.monotonic(), 0, 0
        process = subprocess.Popen(
            [sys.executable, "-c", WORK, str(base)], stdout=subprocess.PIPE, env=dict(os.environ)
        )
        while process.poll() is None:
            now = memory(process.pid)
            resident, own = max(resident, now[0]), max(own, now[1])
            time.sleep(0.25)
        seconds = time.monotonic() - started
        assert process.stdout is not None
        result = {
            "gigabytes": chosen.gigabytes,
            "documents": documents,
            "seconds": round(seconds, 1),
            "mb_per_second": round(chosen.gigabytes * 1000 / seconds, 2),
            "peak_own_gb": round(own / 1e9, 2),
            "peak_resident_gb": round(resident / 1e9, 2),
            "report": json.loads(process.stdout.read()),
        }
        print(json.dumps(result, indent=2))
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
