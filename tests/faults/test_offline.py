"""Nothing touches the network: the whole pipeline runs where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest


def no_network_possible() -> bool:
    command = ["unshare", "-n", "true"]
    return (
        shutil.which("unshare") is not None
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


@pytest.mark.slow
@pytest.mark.skipif(not no_network_possible(), reason="a network namespace cannot be made here")
def test_a_quickstart_without_a_network(tmp_path, texts):
    result = subprocess.run(
        [
            "unshare",
            "-n",
            sys.executable,
            "-m",
            "textmill",
            "quickstart",
            "--corpus",
            str(texts),
            "--minutes",
            "0.05",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert "bits per byte" in result.stdout


@pytest.mark.slow
def test_no_module_opens_a_connection(tmp_path, texts):
    """Every connection that Python code could make goes through socket.connect; none is made."""
    code = (
        "import socket, sys\n"
        "def refuse(*_, **__): raise SystemExit('a connection was opened')\n"
        "socket.socket.connect = socket.socket.connect_ex = socket.create_connection = refuse\n"
        "from textmill.cli.main import app\n"
        f"sys.argv = ['textmill', 'quickstart', '--corpus', {str(texts)!r}, '--minutes', '0.05', '--quiet']\n"
        "app(standalone_mode=False)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False, timeout=300
    )
    assert result.returncode == 0, result.stderr
    assert "bits per byte" in result.stdout
