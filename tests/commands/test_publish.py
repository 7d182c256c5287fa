"""Models as folders, and both kinds of things to a hub and back, by the real client against a hub on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.exchange.fake_hub import TOKEN, FakeHub
from toolkit.config import Recipe
from toolkit.engines import checkpoint
from toolkit.errors import InputError
from toolkit.exchange.checkpoints import check_checkpoint, export_checkpoint
from toolkit.lab import Lab
from toolkit.provenance import capture
from toolkit.recipes.temporal import temporal
from toolkit.records import Item, Model, Score
from toolkit.reporting.model_card import model_card
from toolkit.store.database import Store


@pytest.fixture
def trained(tmp_path: Path, scripted_recipe: Callable[..., Recipe]) -> Model:
    """M_1 of a run of one iteration, measured on four questions of one exam."""
    recipe = scripted_recipe(iterations=1)
    with Lab(recipe, Store(tmp_path / "s.duckdb"), capture("mine", recipe.resolved())) as lab:
        model = temporal(lab, recipe)
        items = [Item(model.id, "exam", "right", str(i), {"shots": 2}, value=float(i > 0)) for i in range(4)]
        lab.store.add(items, launch=lab.launch.id)
        lab.store.add([Score(model.id, "exam", "right", {"shots": 2}, 0.75, 4)], launch=lab.launch.id)
    return model


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    made = FakeHub()
    yield made
    made.close()


def typed(folder: Path, hub: FakeHub, *words: str, code: int = 0) -> str:
    line = [sys.executable, "-m", "toolkit", *words]
    environment = {**os.environ, **hub.environment, "HF_HOME": str(folder / "hf")}
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, (words, done.stdout, done.stderr)
    assert TOKEN not in done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def test_an_exported_model_is_the_stored_one_with_a_card_of_its_facts(trained: Model, tmp_path: Path) -> None:
    with Store(tmp_path / "s.duckdb", read_only=True) as store:
        text = model_card(store, trained, tmp_path)
    folder = export_checkpoint(trained, tmp_path / trained.path, tmp_path / "out", text)
    assert checkpoint.weights_digest(folder) == trained.weights
    assert check_checkpoint(folder).model == trained.id
    assert not (folder / checkpoint.OUTCOME).exists()
    for fact in (trained.id, trained.weights, "tiny-model", "guided@1", "learning_rate", "## Limits", "M_0"):
        assert fact in text, fact
    assert "| exam right | 0.75 | [0.3006, 0.9544], Wilson | 4 |" in text
    assert "not known to the toolkit; find it" in text
    assert str(tmp_path) not in text
    with pytest.raises(InputError, match="is there already"):
        export_checkpoint(trained, tmp_path / trained.path, tmp_path / "out", text)


def test_the_licence_and_id_of_a_base_model_come_from_its_card(
    trained: Model, tmp_path: Path, tiny_model: Path
) -> None:
    snapshot = tmp_path / "hub" / "models--some--base" / "snapshots" / "1"
    snapshot.mkdir(parents=True)
    (snapshot / "README.md").write_text("---\nlicense: mit\n---\n# base\n")
    with Store(tmp_path / "s.duckdb") as store:
        store.query("UPDATE model SET path = ? WHERE name = 'M_0'", [str(snapshot)])
        text = model_card(store, trained, tmp_path)
    assert text.startswith("---\n")
    assert "license: mit\n" in text.split("---")[1]
    assert "base_model: some/base\n" in text.split("---")[1]
    assert "Licence of the base model: mit" in text
    (snapshot / "README.md").write_text('---\nlicense: "mit\\n\\n# Mine [x](http://a) <img src=x>"\n---\n')
    with Store(tmp_path / "s.duckdb") as store:
        text = model_card(store, trained, tmp_path).split("---", 2)[2]
    assert "\n# Mine" not in text and "](" not in text and "<img" not in text


def test_a_changed_checkpoint_is_neither_exported_nor_taken(trained: Model, tmp_path: Path) -> None:
    folder = export_checkpoint(trained, tmp_path / trained.path, tmp_path / "out", "# card\n")
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    with pytest.raises(InputError, match=r"config\.json of M_1 changed"):
        check_checkpoint(folder)
    stored = tmp_path / trained.path / "model.safetensors"
    stored.write_bytes(stored.read_bytes()[:-1] + b"\x07")
    with pytest.raises(InputError, match="the weights of M_1"):
        export_checkpoint(trained, tmp_path / trained.path, tmp_path / "other", "# card\n")
    assert not (tmp_path / "other").exists()


def test_a_set_goes_to_the_hub_in_private_and_comes_back_as_it_was(
    trained: Model, tmp_path: Path, hub: FakeHub
) -> None:
    store = ["--store", str(tmp_path / "s.duckdb"), "--json"]
    sent = json.loads(typed(tmp_path, hub, "push", "guided@1", "me/guided", *store))
    kept = hub.repositories["dataset me/guided"]
    assert kept.private
    assert set(kept.files) == {"pairs.parquet", "manifest.json", "README.md"}
    assert b"load_dataset('me/guided'" in kept.files["README.md"]
    other = ["--store", str(tmp_path / "other.duckdb"), "--json"]
    back = json.loads(typed(tmp_path, hub, "pull", "me/guided", "mine", *other))
    assert (back["set"], back["fingerprint"], back["pairs"]) == ("mine@1", sent["fingerprint"], sent["pairs"])
    kept.files["manifest.json"] = kept.files["manifest.json"].replace(sent["fingerprint"].encode(), b"0" * 24)
    told = typed(tmp_path, hub, "pull", "me/guided", "again", *other, code=3)
    assert "has drifted" in told
    kept.private = False
    assert "me/guided is public" in typed(tmp_path, hub, "push", "guided@1", "me/guided", *store, code=3)
    assert all(TOKEN.encode() not in path.read_bytes() for path in tmp_path.glob("*.duckdb*"))


def test_a_model_goes_to_the_hub_and_comes_back_as_it_was(trained: Model, tmp_path: Path, hub: FakeHub) -> None:
    store = ["--store", str(tmp_path / "s.duckdb"), "--json"]
    sent = json.loads(typed(tmp_path, hub, "push-model", "mine/M_1", "me/m1", *store))
    kept = hub.repositories["model me/m1"]
    assert kept.private
    assert {"README.md", "checkpoint.json", "config.json", "model.safetensors", "tokenizer.json"} <= set(kept.files)
    assert not list(tmp_path.glob(".push-*"))
    back = json.loads(typed(tmp_path, hub, "pull-model", "me/m1", "back", "--json"))
    assert back["weights"] == sent["weights"] == trained.weights
    assert checkpoint.weights_digest(tmp_path / "back") == trained.weights
    assert not (tmp_path / "back" / ".cache").exists()
    kept.files["model.safetensors"] = kept.files["model.safetensors"][:-1] + b"\x07"
    told = typed(tmp_path, hub, "pull-model", "me/m1", "changed", code=3)
    assert "model.safetensors of M_1 changed" in told
    assert not (tmp_path / "changed").exists()


def test_what_a_hub_refuses_is_one_error(tmp_path: Path, hub: FakeHub) -> None:
    told = typed(tmp_path, hub, "pull", "me/nothing", "mine", code=3)
    assert "the hub and me/nothing" in told
    assert "remedy: " in told


def test_a_hostile_repository_puts_nothing_outside_and_nothing_more_into_the_folder(
    trained: Model, tmp_path: Path, hub: FakeHub
) -> None:
    """Names that leave the folder, programs and pickles beside the weights, a seal that names what lies elsewhere."""
    typed(tmp_path, hub, "push-model", "mine/M_1", "me/m1", "--store", str(tmp_path / "s.duckdb"))
    kept = hub.repositories["model me/m1"]
    honest = dict(kept.files)
    for more in ("modeling_evil.py", "pytorch_model.bin", "sub/payload.pkl"):
        kept.files[more] = b"import os; os.mkdir('/tmp/evil')"
    typed(tmp_path, hub, "pull-model", "me/m1", "back")
    assert {path.name for path in (tmp_path / "back").rglob("*")} == set(honest)
    for name in ("../outside.txt", "/outside.txt", "sub/../../outside.txt"):
        kept.files = {**honest, name: b"x"}
        typed_any(tmp_path, hub, "pull-model", "me/m1", "other")
        assert not list(tmp_path.rglob("outside.txt")) and not Path("/outside.txt").exists()
    seal = json.loads(honest["checkpoint.json"])
    seal["files"]["../../s.duckdb"] = "0" * 64
    kept.files = {**honest, "checkpoint.json": json.dumps(seal).encode()}
    assert "is not a path inside this folder" in typed(tmp_path, hub, "pull-model", "me/m1", "third", code=3)
    assert not (tmp_path / "third").exists()


def typed_any(folder: Path, hub: FakeHub, *words: str) -> None:
    """The command, whatever its exit code; no traceback."""
    line = [sys.executable, "-m", "toolkit", *words]
    environment = {**os.environ, **hub.environment, "HF_HOME": str(folder / "hf")}
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
