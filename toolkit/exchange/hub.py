"""The Hugging Face hub: a folder goes up, into a private repository unless said otherwise, and comes down.

Who may is huggingface_hub's business (HF_TOKEN, or its own login): no key is read or kept here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from toolkit.errors import InputError, ToolkitError

Kind = Literal["dataset", "model"]


def upload(folder: Path, repo: str, kind: Kind, *, public: bool, message: str) -> str:
    """Make the folder all that the repository holds, as one commit; its address. Raises InputError.

    A repository that is there already keeps its visibility; a public one is refused unless `public` says so.
    """
    with _boundary(repo):
        from huggingface_hub import HfApi

        api = HfApi()
        api.create_repo(repo, repo_type=kind, private=not public, exist_ok=True)
        if not public and not api.repo_info(repo, repo_type=kind).private:
            raise InputError(f"{repo} is public", remedy="add --public if all may read it, or name another repository")
        done = api.upload_folder(
            repo_id=repo, repo_type=kind, folder_path=folder, commit_message=message, delete_patterns="*"
        )
        return str(done.commit_url)


def download(repo: str, kind: Kind, folder: Path, revision: str = "") -> None:
    """The repository's files in this folder, as they are on its main branch or at a revision. Raises InputError."""
    with _boundary(repo):
        from huggingface_hub import HfApi

        HfApi().snapshot_download(repo, repo_type=kind, revision=revision or None, local_dir=folder)


@contextmanager
def _boundary(repo: str) -> Iterator[None]:
    """What the hub, the network and huggingface_hub say, as one error of ours without a key in it."""
    try:
        yield
    except ToolkitError:
        raise
    except Exception as error:  # its errors have no common base, and those of the network below it change by version
        problem = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
        raise InputError(
            f"the hub and {repo}: {problem}",
            remedy="check the name (OWNER/NAME), the network, and who is logged in: HF_TOKEN, or `hf auth login`",
        ) from None
