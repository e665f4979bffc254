"""What every test may use: small texts made here, a tiny recipe, and the command line as a process."""

from __future__ import annotations

import contextlib
import os
import random
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

pytest_plugins = ("helpers.suite",)
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if (
    "PYTEST_XDIST_WORKER" in os.environ
):  # as many workers as cores: threads beside them would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TEXTMILL_LANG"] = "en"  # whatever the locale is here
os.environ["TEXTMILL_MODELS"] = os.devnull  # a person's own models are no part of a test
os.environ["XDG_CACHE_HOME"] = os.devnull  # nor is what was found out about them

TEXT = "the mill turns water into flour and flour into bread while wind moves over grain by the river"
WORDS = TEXT.split()
CHARACTERS = "磨坊流水面粉麦田风车石头河边村庄清晨黄昏"
RECIPE = """
name = "tiny"
seed = 7

[corpus]
sources = [{{ kind = "files", paths = ["{texts}"] }}]
split = {{ validation = 0.15, test = 0.15 }}

[tokenizer]
vocabulary = 320

[model]
d_model = 32
layers = 2
heads = 2
d_ff = 64
context = 32
dropout = 0.1

[training]
steps = 24
batch = 4
micro_batch = 2
evaluate_every = 6
evaluate_tokens = 600
average = {{ decay = 0.9 }}
optimizer = {{ kind = "muon" }}
save = {{ every = 4, keep = 2 }}

[evaluation]
samples = ["the mill"]
bootstrap = 50

[generation]
tokens = 12
"""


def make_texts(folder: Path, documents: int = 60, seed: int = 1) -> Path:
    """Small English and Chinese documents, the same for the same seed."""
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(documents):
        if index % 3:
            text = " ".join(rng.choices(WORDS, k=rng.randrange(20, 60))) + ".\n"
        else:
            text = "".join(rng.choices(CHARACTERS, k=rng.randrange(20, 60))) + "。\n"
        (folder / f"{index:03d}.txt").write_text(f"{index}\n{text}", encoding="utf-8")
    return folder


@pytest.fixture
def texts(tmp_path):
    return make_texts(tmp_path / "texts")


@pytest.fixture
def tiny_recipe(tmp_path, texts):
    """A recipe that trains in about a second."""
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE.format(texts=texts))
    return path


@pytest.fixture(scope="session")
def warm():
    """A folder of `textmill` and `python`: each call is a fork of a process that has imported everything."""
    with (
        tempfile.TemporaryDirectory() as folder
    ):  # the path of a socket is at most 104 bytes, so not tmp_path
        program, socket = Path(__file__).parent / "helpers/warm.py", f"{folder}/socket"
        server = subprocess.Popen(
            [sys.executable, program, "serve", socket],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # A screen's width is what a command is told: one that is known before (readline sets it) would stay.
            env={key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
            | {"OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for the commands
        )
        assert server.stdout.readline() == b"ready\n"
        for name in ("textmill", "python"):
            command = Path(folder) / name
            asked = shlex.join([sys.executable, "-IS", str(program), "ask", socket, name])
            command.write_text(f'#!/bin/sh\nexec {asked} "$@"\n')
            command.chmod(0o755)
        yield Path(folder)
        server.communicate(timeout=30)


@pytest.fixture
def textmill(tmp_path, warm):
    """Run the command line: `textmill("train", recipe)`; artifacts go to `tmp_path/work`."""

    def run(
        *arguments, check: bool = True, cwd: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess:
        settings = {"TEXTMILL_WORK": str(tmp_path / "work"), "COLUMNS": "120", "OMP_NUM_THREADS": "1"}
        settings["TEXTMILL_TESTS_HIDE"] = "transformers"  # which publishing would ask, for seconds
        result = subprocess.run(
            [warm / "textmill", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=cwd or tmp_path,
            env=os.environ | settings | environment,
            check=False,
            timeout=300,
        )
        if check:
            assert result.returncode == 0, f"{arguments}\n{result.stdout}\n{result.stderr}"
        return result

    return run


@pytest.fixture
def within():
    """`with within(5):` takes less than 5 seconds of the processor, however busy the machine is."""

    @contextlib.contextmanager
    def limited(seconds: float):
        began = time.process_time()
        yield
        assert time.process_time() - began < seconds

    return limited


@pytest.fixture(scope="session")
def tokenizer():
    """A byte tokenizer, as small as one can be."""
    from textmill.specs.recipe import TokenizerSpec
    from textmill.tokenization.training import train

    return train(TokenizerSpec(kind="bytes"), ["a few words"])


@pytest.fixture(autouse=True)
def quiet(request):
    """One thread (workers share the machine) and the same random state for every test that computes."""
    torch = sys.modules.get("torch")
    if torch is None or request.node.get_closest_marker("figures"):
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
