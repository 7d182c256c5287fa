"""Models as folders for others, and the Hugging Face hub: export-model, push, push-model, pull, pull-model.

Nothing else of the toolkit sends anything anywhere. Repositories are private unless --public says otherwise.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from toolkit.commands.common import DEFAULT, JsonOption, StoreOption, end, reading, say, writing
from toolkit.commands.judges import stored_model
from toolkit.commands.sets import Reference
from toolkit.engines.checkpoint import promote
from toolkit.errors import InputError
from toolkit.errors import writing as file_errors
from toolkit.exchange import card
from toolkit.exchange.checkpoints import NAME as SEAL
from toolkit.exchange.checkpoints import Sealed, check_checkpoint, export_checkpoint, refuse_existing
from toolkit.exchange.exporting import export_pairs
from toolkit.exchange.hub import download, upload
from toolkit.exchange.importing import import_pairs
from toolkit.exchange.manifest import read_manifest
from toolkit.pairs.versions import check_name, resolve
from toolkit.records import Model
from toolkit.trust.paths import copy_file, inside, refuse_links
from toolkit.trust.safe_files import PREFIX, locked, scratch

ModelName = Annotated[str, typer.Argument(help="A stored model: its name, RUN/NAME or id.")]
Repo = Annotated[str, typer.Argument(help="OWNER/NAME on the hub.")]
Public = Annotated[bool, typer.Option("--public", help="Let everybody read it; it is private otherwise.")]
Revision = Annotated[str, typer.Option(help="Branch, tag or commit; the main branch by default.")]


def export_model(
    model: ModelName,
    target: Annotated[Path, typer.Argument(help="Folder to write; it must not be there yet.")],
    store: StoreOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """A checkpoint as a folder that others load, with a model card: export-model temporal/M_2 m2."""
    end(lambda: _export_model(model, target, store, as_json))


def push(
    reference: Reference, repo: Repo, public: Public = False, store: StoreOption = DEFAULT, as_json: JsonOption = False
) -> None:
    """A version as a data set of the hub, with card and manifest: push guided@1 me/guided."""
    end(lambda: _push(reference, (repo, public), store, as_json))


def push_model(
    model: ModelName, repo: Repo, public: Public = False, store: StoreOption = DEFAULT, as_json: JsonOption = False
) -> None:
    """A checkpoint as a model of the hub, with a model card: push-model temporal/M_2 me/m2."""
    end(lambda: _push_model(model, (repo, public), store, as_json))


def pull(
    repo: Repo,
    name: Annotated[str, typer.Argument(help="Name of the pair set.")],
    revision: Revision = "",
    store: StoreOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """A pushed version back into a store, checked against its fingerprint: pull me/guided guided."""
    end(lambda: _pull((repo, revision), name, store, as_json))


def pull_model(
    repo: Repo,
    target: Annotated[Path, typer.Argument(help="Folder to write; it must not be there yet.")],
    revision: Revision = "",
    as_json: JsonOption = False,
) -> None:
    """A pushed checkpoint as a folder, checked against its digests: pull-model me/m2 m2."""
    end(lambda: _pull_model((repo, revision), target, as_json))


def _exported(name: str, target: Path, path: Path) -> tuple[Model, Path]:
    from toolkit.reporting.model_card import model_card

    with reading(path) as store:
        model = stored_model(store, name)
        if model is None:
            raise InputError(f"no stored model is called {name!r}", remedy="`toolkit sql 'FROM models'` lists them")
        text = model_card(store, model, path.parent)
    source = inside(path.parent, model.path, model.name) if model.training else path.parent / model.path
    return model, export_checkpoint(model, source, target, text)


def _export_model(name: str, target: Path, path: Path, as_json: bool) -> None:
    model, folder = _exported(name, target, path)
    row = {"model": model.id, "name": model.name, "path": str(folder), "weights": model.weights}
    say(f"{model.name} ({model.id}) in {folder}; read its card before you pass it on", row, as_json=as_json)


def _push(reference: str, where: tuple[str, bool], path: Path, as_json: bool) -> None:
    repo, public = where
    with tempfile.TemporaryDirectory(prefix="push-") as made:
        folder = Path(made) / "set"
        with writing(path, "push") as (store, _):
            version = resolve(store, reference)
            export_pairs(store, version.id, folder, "parquet")
        manifest = read_manifest(folder)
        assert manifest is not None  # it was written two lines above
        (folder / card.NAME).write_text(card.card(manifest, card.from_hub(repo)), encoding="utf-8")
        said = f"{version.id}, fingerprint {version.fingerprint}"
        url = upload(folder, repo, "dataset", public=public, message=said)
    row = {"set": version.id, "pairs": version.size, "fingerprint": version.fingerprint, "repo": repo, "url": url}
    say(f"{version.id}: {version.size} pairs in {repo}: {url}", {**row, "public": public}, as_json=as_json)


def _push_model(name: str, where: tuple[str, bool], path: Path, as_json: bool) -> None:
    repo, public = where
    with scratch(path.parent, "push") as aside:  # a checkpoint may not fit into /tmp
        model, folder = _exported(name, aside / "model", path)
        url = upload(folder, repo, "model", public=public, message=f"{model.name} ({model.id})")
    row = {"model": model.id, "name": model.name, "weights": model.weights, "repo": repo, "url": url, "public": public}
    say(f"{model.name} ({model.id}) in {repo}: {url}", row, as_json=as_json)


def _pull(what: tuple[str, str], name: str, path: Path, as_json: bool) -> None:
    repo, revision = what
    check_name(name)
    with tempfile.TemporaryDirectory(prefix="pull-") as folder:
        download(repo, "dataset", Path(folder), revision)
        if read_manifest(Path(folder)) is None:
            raise InputError(f"{repo} was not pushed by the toolkit", remedy=f"toolkit import {repo} {name}")
        with writing(path, "pull", new=True) as (store, launch):
            made, found, _ = import_pairs(store, folder, name, launch, message=f"pulled from {repo}")
    row = {"set": made.id, "pairs": len(made.pairs), "fingerprint": made.fingerprint, "known": found, "repo": repo}
    known = "is there already as" if found else "is"
    say(f"{repo} {known} {made.id}: {len(made.pairs)} pairs, fingerprint {made.fingerprint}", row, as_json=as_json)


def _pulled(what: tuple[str, str], partial: Path, target: Path) -> Sealed:
    """Download, check, and keep what the seal names alone. A download that broke off goes on at the next call."""
    repo, revision = what
    refuse_existing(target)
    refuse_links(partial)
    download(repo, "model", partial, revision)
    sealed = check_checkpoint(partial)
    with scratch(target.parent, "pull") as aside:
        complete = aside / "new"
        complete.mkdir()
        for name in (*sealed.files, SEAL, card.NAME):
            if (partial / name).is_symlink():
                copy_file(partial, name, complete / name)
            elif (partial / name).is_file():
                (partial / name).rename(complete / name)
        promote(complete, target)
    shutil.rmtree(partial)
    return sealed


def _pull_model(what: tuple[str, str], target: Path, as_json: bool) -> None:
    repo, revision = what
    target = target.expanduser().resolve()
    refuse_existing(target)
    key = hashlib.sha256(f"{repo} {revision} {target.name}".encode()).hexdigest()
    partial = target.parent / f"{PREFIX}download-{key}"
    with file_errors(target):
        partial.mkdir(parents=True, exist_ok=True)
        with locked(partial):
            sealed = _pulled(what, partial, target)
    row = {"model": sealed.model, "name": sealed.name, "weights": sealed.weights, "path": str(target), "repo": repo}
    say(f"{sealed.name} ({sealed.model}) in {target}; use it with --model {target}", row, as_json=as_json)
