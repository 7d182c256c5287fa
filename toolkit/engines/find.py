"""Where a model is: the embedded one, a directory, or a download of a hub id."""

from __future__ import annotations

from pathlib import Path

from toolkit.engines import checkpoint, embedded
from toolkit.errors import InputError

_HUB_PATTERNS = ["*.safetensors", "*.json", "*.jinja", "tokenizer.model", "merges.txt", "README.md"]


def is_local(name: str) -> bool:
    """Whether this model is on disk already, so that naming it costs nothing."""
    return embedded.prepared().is_dir() if name == embedded.NAME else Path(name).is_dir()


def check(name: str, *, trust_remote_code: bool = False) -> bool:
    """Whether the model was found on this machine, complete and with a chat template; False: a hub id, not looked up.

    Nothing is made or downloaded. Raises InputError where no engine could load it.
    """
    if name == embedded.NAME and not embedded.prepared().is_dir():
        embedded.packaged()
        return True
    path = embedded.prepared() if name == embedded.NAME else Path(name).expanduser()
    if not path.is_dir():
        _check_hub_id(name)
        return False
    checkpoint.verify(path, trust_remote_code=trust_remote_code)
    if not checkpoint.has_template(path):
        raise InputError(
            "the model has no chat template", where=path, remedy="name an instruct model, or add chat_template.jinja"
        )
    return True


def resolve(name: str) -> Path:
    """The directory of a model: the embedded one, a path, or a download of a hub id."""
    if name == embedded.NAME:
        return embedded.prepare()
    path = Path(name).expanduser()
    if path.is_dir():
        return path.resolve()
    _check_hub_id(name)
    return _download(name)


def licence(path: Path) -> str | None:
    """What the card of the model in this directory calls its licence; None where nothing does."""
    if path == embedded.prepared():
        return embedded.LICENCE
    from huggingface_hub.repocard import metadata_load

    try:
        said = (metadata_load(path / "README.md") or {}).get("license")
    except Exception:  # no card, or one that YAML or the hub would not read either
        return None
    return str(said) if said else None


def _check_hub_id(name: str) -> None:
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise InputError(f"no model {name!r}", remedy=f"name a directory, a hub id, or {embedded.NAME!r}")


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=_HUB_PATTERNS))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise InputError(
            f"no model {name!r}: neither a directory nor to be had from the hub ({type(error).__name__})",
            remedy="check the name, log in, or name a directory or 'smollm2-135m-instruct'",
        ) from error
