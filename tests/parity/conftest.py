"""A byte tokenizer, as small as one can be."""

import pytest
import torch

from textmill.base.spec import TokenizerSpec
from textmill.text.tokenizer_training import train


@pytest.fixture(scope="session")
def tokenizer():
    return train(TokenizerSpec(kind="bytes"), ["a few words"])


@pytest.fixture(autouse=True)
def quiet():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
