"""What this machine can do for Textmill, and what to install for what is missing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
from pathlib import Path
from typing import Any

from textmill import __version__
from textmill.base.disk import existing_parent
from textmill.base.machine import usable_cores
from textmill.stages.workspace.environment import _gpus

# What each extra is for, said to a person. The packages in it are read from the installed metadata.
PURPOSES = {
    "web": "web pages, archives of them, broken text, language identification",
    "documents": "text of PDF files",
    "office": "read old Excel workbooks, Outlook messages and files embedded in documents",
    "zh": "Chinese word segmentation",
    "spm": "SentencePiece tokenizers",
    "eval": "classification scores",
    "serve": "the server",
    "rag": "retrieval over your documents",
    "tune": "hyper-parameter search",
    "quant": "quantisation",
    "export": "ONNX and GGUF",
    "ct2": "CTranslate2 export",
    "hub": "models from a hub",
    "cluster": "preparing data on a cluster",
    "board": "TensorBoard curves",
    "dev": "tests and reference implementations",
}


def examine(work: Path) -> dict[str, Any]:
    """Cores, memory, threads, GPU, instruction sets, disk, core packages and extras, with advice."""
    import torch

    cpu = torch.backends.cpu.get_cpu_capability()
    report: dict[str, Any] = {
        "textmill": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "memory_bytes": _memory(),
        "cpu": cpu,
        "bf16_on_cpu": bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
        if torch.backends.mkldnn.is_available()
        else False,
        "torch": torch.__version__,
        "gpus": _gpus(torch),
        "work": str(work.absolute()),
        "disk_free_bytes": shutil.disk_usage(existing_parent(work)).free,
        "work_writable": os.access(existing_parent(work), os.W_OK),
        "compiler": shutil.which("cc") or shutil.which("gcc") or shutil.which("clang"),
        "extras": [_extra(name) for name in PURPOSES],
    }
    return report | {"advice": advice(report)}


def advice(report: dict[str, Any]) -> list[str]:
    """What a person could do about what is missing or short."""
    hints = []
    if report["disk_free_bytes"] < 2e9:
        hints.append(
            f"only {report['disk_free_bytes'] / 1e9:.1f} GB free for {report['work']}: choose another disk with --work"
        )
    if not report["work_writable"]:
        hints.append(f"{report['work']} cannot be written: choose another place with --work")
    if report["memory_bytes"] and report["memory_bytes"] < 4e9:
        hints.append("under 4 GB of memory: keep models under about 30 M parameters")
    if not report["gpus"]:
        hints.append("no GPU: models up to about 100 M parameters train well on a CPU; larger ones take days")
    if not report["compiler"]:
        hints.append("no C compiler: everything works, but torch.compile does not")
    missing = [entry["name"] for entry in report["extras"] if entry["missing"]]
    if missing:
        hints.append(
            f"to add what is missing: pip install -c constraints.txt 'textmill[{','.join(missing)}]'"
        )
    return hints


def _extra(name: str) -> dict[str, Any]:
    missing = [package for package in packages(name) if not _installed(package)]
    return {"name": name, "purpose": PURPOSES[name], "missing": missing}


def packages(extra: str) -> list[str]:
    """The packages an extra asks for, from the installed metadata."""
    wanted = []
    for requirement in importlib.metadata.requires("textmill") or []:
        body, _, marker = requirement.partition(";")
        if re.search(rf"extra\s*==\s*['\"]{extra}['\"]", marker):
            wanted.append(re.split(r"[\s\[<>=!~(]", body.strip(), maxsplit=1)[0])
    return wanted


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _memory() -> int | None:
    """Bytes of physical memory, or of the control group's limit where that is lower."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else "max"
    return min(total, int(text)) if text.isdigit() else total
