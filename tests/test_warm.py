"""The warm process (helpers/warm.py) is not noticed: its forks end, speak and are stopped as a user's commands are."""

from __future__ import annotations

import signal
import subprocess

import pytest


@pytest.fixture
def run(warm, tmp_path):
    """A line of a shell that finds the warm commands first."""

    def run(line, **options):
        return subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            env={"PATH": f"{warm}:/usr/bin:/bin", "HERE": "there"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            **options,
        )

    return run


def test_streams_folder_environment_and_exit_code(run, tmp_path):
    code = "import os, sys; print(os.getcwd(), os.environ['HERE'], sys.argv, sys.stdin.read()); sys.exit(7)"
    done = run(f'printf in | python -c "{code}" a "b c" | tee out; exit ${{PIPESTATUS[1]}}')
    assert done.returncode == 7
    assert done.stdout == (tmp_path / "out").read_text() == f"{tmp_path} there ['-c', 'a', 'b c'] in\n"
    assert run("python -c 'raise SystemExit(\"no\")'").stderr == "no\n"
    failed = run("python - x <<< '1 / 0'")
    assert (failed.returncode, failed.stderr.splitlines()[-1]) == (1, "ZeroDivisionError: division by zero")


def test_a_script_a_module_and_another_python(run, tmp_path):
    (tmp_path / "beside.py").write_text("word = 'beside'\n")
    (tmp_path / "script.py").write_text(
        "import beside, sys; print(beside.word, __name__, __file__, sys.argv[1:])\n"
    )
    assert run("python script.py 1").stdout == "beside __main__ script.py ['1']\n"
    assert run("python -m beside").returncode == 0
    assert run("python -u -c 'print(1)'").stdout == "1\n"


def test_forks_know_nothing_of_each_other(run):
    run('python -c \'import textmill; textmill.changed = 1; open("left", "w")\'')
    assert (
        run("python -c 'import textmill; print(hasattr(textmill, \"changed\"))'; ls").stdout
        == "False\nleft\n"
    )


def test_who_is_killed_says_so(run):
    assert run("python -c 'import os; os.kill(os.getpid(), 9)'; exit $?").returncode == 128 + signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_arrive(run, number):
    code = 'import time; open("on", "w").write("on"); time.sleep(50)'
    wait = "until [ -s on ]; do sleep 0.05; done"
    done = run(f"set -m; python -c '{code}' & {wait}; kill -{int(number)} $!; wait $!; echo $?")
    assert done.stdout == f"{128 + number}\n"


def test_a_reader_that_goes_away(run):
    assert run("set -o pipefail; textmill recipe schema | head -c 10").stderr == ""
