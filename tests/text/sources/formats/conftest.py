"""What a file of these bytes holds."""

from __future__ import annotations

import pytest

from textmill.specs.corpus import LimitSpec
from textmill.text.document import Document
from textmill.text.sources.formats.table import open_file


@pytest.fixture
def opened(tmp_path):
    """Everything in a file, in order."""

    def call(name, data, **limits):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return list(open_file(path, name, None, LimitSpec(**limits)))

    return call


@pytest.fixture
def read(opened):
    """The text of the only thing in a file."""

    def call(name, data):
        [item] = opened(name, data)
        assert isinstance(item, Document), item
        return item.text

    return call
