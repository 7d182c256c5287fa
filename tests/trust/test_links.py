"""A link out of its folder is neither followed nor written through; of code, what auto_map names alone is copied."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from toolkit.commands import demo
from toolkit.commands.status import _training
from toolkit.config import parse
from toolkit.engines import checkpoint, embedded, toy
from toolkit.errors import InputError, OutputError, RecipeError
from toolkit.exchange.checkpoints import check_checkpoint, export_checkpoint
from toolkit.lab import Lab
from toolkit.provenance import capture
from toolkit.records import Model
from toolkit.store.database import Store
from toolkit.training.making import _alone
from toolkit.trust import paths
from toolkit.trust.paths import check_links, copy_file, inside

SECRET = "OPENAI_API_KEY=not-for-strangers"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "environ").write_text(SECRET)
    return tmp_path / "private" / "environ"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return toy.make(tmp_path / "model")


def stored(folder: Path) -> Model:
    digests = checkpoint.weights_digest(folder), checkpoint.template_digest(folder)
    return Model("M_1", str(folder), *digests)


@pytest.mark.parametrize("name", ["merges.txt", "vocab.json", "extra.safetensors", "notes.py", "sub/deep"])
def test_a_checkpoint_with_a_link_that_leaves_it_is_refused(name: str, folder: Path, secret: Path) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).symlink_to(secret)
    with pytest.raises(InputError, match="is a link that leads out of its folder"):
        checkpoint.verify(folder)
    with pytest.raises(InputError, match="is a link that leads out of its folder"):
        export_checkpoint(stored(toy.make(folder.with_name("same"))), folder, folder.with_name("out"), "card")
    assert not folder.with_name("out").exists()
    for copied in (lambda: copy_file(folder, name, folder.parent / "copy"),):
        with pytest.raises(InputError, match="leads out"):
            copied()


def test_links_inside_the_folder_and_a_snapshots_own_blobs_are_followed(folder: Path, tmp_path: Path) -> None:
    (folder / "alias.json").symlink_to("config.json")
    checkpoint.verify(folder)
    repository = tmp_path / "models--me--m"
    blobs, snapshot = repository / "blobs", repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    shutil.copytree(folder, blobs)
    for file in blobs.iterdir():
        (snapshot / file.name).symlink_to(f"../../blobs/{file.name}")
    checkpoint.verify(snapshot)
    out = export_checkpoint(stored(snapshot), snapshot, tmp_path / "out", "card")
    assert not any(path.is_symlink() for path in out.iterdir()) and check_checkpoint(out).name == "M_1"


def test_a_pretended_snapshot_reaches_no_further_than_its_blobs(folder: Path, secret: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "x" / "snapshots" / "abc"
    shutil.copytree(folder, snapshot)
    (tmp_path / "x" / "blobs").symlink_to(secret.parent)
    (snapshot / "merges.txt").symlink_to("../../blobs/environ")
    with pytest.raises(InputError, match="leads out"):
        check_links(snapshot)


def test_a_pipe_in_a_checkpoint_is_refused_instead_of_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "merges.txt")
    with pytest.raises(InputError, match=r"n(o|ot an) ordinary file"):
        checkpoint.verify(folder)


@pytest.mark.parametrize("key", ["vocab_file", "merges_file", "fast_tokenizer_files"])
def test_a_tokenizers_settings_name_no_file_elsewhere(key: str, folder: Path, secret: Path) -> None:
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    for name in (str(secret), "../private/environ"):
        path.write_text(json.dumps({**settings, key: [name] if key.endswith("s") else name}))
        with pytest.raises(InputError, match="is a file outside of this folder"):
            checkpoint.verify(folder)
    path.write_text(json.dumps({**settings, key: "/somewhere/of/another/machine.json"}))
    checkpoint.verify(folder)


def test_a_trained_checkpoint_gets_no_file_through_a_link(folder: Path, secret: Path, tmp_path: Path) -> None:
    (folder / "merges.txt").symlink_to(secret)
    (tmp_path / "trained").mkdir()
    with pytest.raises(InputError, match="leads out"):
        checkpoint.adopt_tokenizer(folder, tmp_path / "trained")
    assert SECRET not in "".join(file.read_text(errors="replace") for file in (tmp_path / "trained").iterdir())


def test_code_is_exported_only_where_auto_map_names_it_and_other_files_never(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "modeling_x.Model", "AutoConfig": "../up.C", "T": [None, "mod_y.T"]}
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("modeling_x.py", "mod_y.py", "setup.py", ".env", "pytorch_model.bin", "mod.py"):
        (folder / name).write_text("x = 1")
    out = export_checkpoint(stored(folder), folder, tmp_path / "out", "card")
    names = {path.name for path in out.iterdir()}
    assert {"modeling_x.py", "mod_y.py"} <= names and not names & {"setup.py", ".env", "pytorch_model.bin", "mod.py"}
    (out / "setup.py").write_text("x = 1")
    seal = json.loads((out / "checkpoint.json").read_text())
    for name in ("setup.py", "../private/environ"):
        (out / "checkpoint.json").write_text(json.dumps({**seal, "files": {**seal["files"], name: "0"}}))
        with pytest.raises(InputError, match=r"not part of a checkpoint|not a path inside this folder"):
            check_checkpoint(out)


def test_a_trained_model_lies_next_to_its_store(folder: Path, tmp_path: Path) -> None:
    for path in (str(folder), "../model"):
        with pytest.raises(InputError, match="not in its folder"):
            inside(tmp_path / "stores", path, "M_1")
    recipe = parse({"engine": {"kind": "scripted"}, "trainer": {"device": "cpu"}})
    with (
        Lab(recipe, Store(tmp_path / "s.duckdb"), capture("x", {}), planning=True) as lab,
        pytest.raises(InputError, match="not in its folder"),
    ):
        lab.path(Model("M_1", "../../x", "w", "t", "parent", "training"))


def test_a_finished_checkpoint_is_never_replaced(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("a year of work")
    with pytest.raises(OutputError, match="not a checkpoint that the toolkit finished"):
        checkpoint.promote(folder, tmp_path / "mine")
    assert (tmp_path / "mine" / "notes").read_text() == "a year of work" and folder.is_dir()


@pytest.mark.parametrize("name", ["lock", "pairs.jsonl", "trainer.log", "steps.jsonl", "checkpoint"])
def test_a_training_writes_through_no_link(name: str, secret: Path, tmp_path: Path) -> None:
    work = tmp_path / "trainings" / "id"
    work.mkdir(parents=True)
    (work / name).symlink_to(secret)
    with pytest.raises(InputError, match="is a link"), _alone(work):
        pass
    assert secret.read_text() == SECRET


def test_the_demo_runs_no_program_and_takes_no_recipe_that_lies_there(tmp_path: Path, secret: Path) -> None:
    recipe = demo._written(tmp_path / "s.duckdb")
    assert 'python = "scripted"' in recipe.read_text(), "no program of the folder is the trainer"
    assert demo._written(tmp_path / "s.duckdb") == recipe
    recipe.write_text(recipe.read_text().replace("scripted", "evil"))
    with pytest.raises(RecipeError, match="not the recipe that the demo writes"):
        demo._written(tmp_path / "s.duckdb")
    shutil.rmtree(tmp_path / "demo")
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "demo.toml").symlink_to(secret)
    with pytest.raises(InputError, match="is a link"):
        demo._written(tmp_path / "s.duckdb")
    assert secret.read_text() == SECRET


def test_a_cached_model_that_another_user_placed_in_a_shared_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path))
    final = toy.make(embedded.prepared())
    assert embedded.prepare() == final
    tmp_path.chmod(0o1777)
    assert embedded.prepare() == final
    status = final.stat()
    other = SimpleNamespace(st_uid=status.st_uid + 12345, st_mode=status.st_mode)
    monkeypatch.setattr(paths.Path, "stat", lambda path, **_: other if path == final else os.stat(path))
    with pytest.raises(InputError, match="another user"):
        embedded.prepare()


def test_status_waits_for_no_pipe_in_the_place_of_a_log(tmp_path: Path) -> None:
    (tmp_path / "trainings" / "x").mkdir(parents=True)
    os.mkfifo(tmp_path / "trainings" / "x" / "steps.jsonl")
    assert _training(tmp_path) is None
