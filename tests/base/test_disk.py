"""What a disk refuses is an error for people."""

from __future__ import annotations

import errno

import pytest

from textmill.base.disk import disk_errors, existing_parent
from textmill.base.errors import TextmillError


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EROFS, "cannot be written"),
        (errno.EIO, "disk failed"),
        (errno.ENOTDIR, "a file stands where a folder is needed"),
        (errno.ENAMETOOLONG, "too long"),
        (errno.EISDIR, "cannot be written"),
        (errno.ELOOP, "cannot be written"),
    ],
)
def test_what_a_disk_refuses_is_an_error_for_people(tmp_path, number, said):
    with pytest.raises(TextmillError, match=said) as caught, disk_errors(tmp_path):
        raise OSError(number, "as the system says it")
    assert caught.value.where == str(tmp_path)
    assert caught.value.advice


def test_other_system_errors_pass(tmp_path):
    with pytest.raises(OSError, match="odd"), disk_errors(tmp_path):
        raise OSError(errno.ECHILD, "odd")


def test_the_nearest_folder_that_exists(tmp_path):
    (tmp_path / "file").write_text("")
    assert existing_parent(tmp_path / "file" / "a" / "b") == tmp_path
