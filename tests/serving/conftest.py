"""A service with tiny models, for the time of all tests of this room."""

from __future__ import annotations

import pytest
import torch

from helpers.serving import KEY, Running
from textmill.base.console import Silent
from textmill.interop.huggingface import directory as huggingface
from textmill.models import build
from textmill.serving import service as services
from textmill.serving.keys import Keys
from textmill.serving.patience import Patience
from textmill.specs.model import DecoderSpec
from textmill.specs.recipe import GenerationSpec, TokenizerSpec
from textmill.stages.workspace.workspace import Workspace
from textmill.tokenization.training import train


@pytest.fixture(scope="session")
def writer(tmp_path_factory):
    """The directory of a model of random weights that reads bytes, and 1024 tokens at most."""
    place = tmp_path_factory.mktemp("writer") / "model"
    tokenizer = train(TokenizerSpec(kind="bytes"), [])
    spec = DecoderSpec(d_model=16, layers=1, heads=2, d_ff=32, context=1024)
    model = build.build(spec, tokenizer.vocabulary, seed=1)
    huggingface.write_directory(place, model, tokenizer, GenerationSpec(tokens=16, temperature=1.0), {})
    return place


@pytest.fixture(scope="package")
def begin(tmp_path_factory):
    """Begin to serve models by name; all of it ends with the tests of this room."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    running = []

    def start(targets, keys=None, *, texts=False, workspace=None, **settings):
        workspace = workspace or Workspace(tmp_path_factory.mktemp("work"), Silent())
        patience = settings.pop("patience", Patience(drain_seconds=5))
        made = services.load(workspace, targets, patience=patience, **settings)
        running.append(Running(made, keys or Keys({"tests": KEY}), texts=texts))
        return running[-1]

    yield start
    for one in running:
        one.stop()
        one.service.close()
    torch.set_num_threads(threads)


@pytest.fixture(scope="package")
def mill(begin, writer):
    """A service of one model that writes, `mill`."""
    return begin({"mill": str(writer)})
