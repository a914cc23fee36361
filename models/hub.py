"""Where a model's files lie: a folder, or the cache of a Hugging Face download."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lmppl.errors import InvalidInputError, InvalidTypeError, MissingExtraError, ModelNotFoundError

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_FILES = ["*.json", "*.safetensors", "*.jinja"]
_OTHER_FILES = ["*/*", "consolidated*"]  # subfolders and copies in other layouts
_TIMEOUT = 10.0  # seconds for the hub to answer


def find_folder(name: str | os.PathLike[str], revision: str | None) -> Path:
    """Gives the folder of a model, downloading it if `name` is a hub id.

    Raises:
        ModelNotFoundError: No such folder, and no such model on the hub or no way to reach it.
        InvalidTypeError: `name` is neither a string nor a path.
        InvalidInputError: A revision of a local folder.
    """
    if not isinstance(name, str | os.PathLike):
        raise InvalidTypeError(f"A model is named by a folder or a hub id, not by {name!r}.")
    text = os.fspath(name)
    folder = Path(text).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise InvalidInputError(
                f"{text!r} is a folder; revision={revision!r} is for hub ids only. Leave it out."
            )
        return folder.resolve()
    if not isinstance(name, str) or not _HUB_ID.fullmatch(text) or folder.exists():
        what = "is a file" if folder.exists() else "is not there"
        raise ModelNotFoundError(
            f"No model folder {text!r}: {folder.absolute()} {what}. Expected a folder with config.json, "
            "safetensors and tokenizer.json, or a hub id such as 'Qwen/Qwen3-0.6B'."
        )
    return _downloaded(text, revision)


def _downloaded(hub_id: str, revision: str | None) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            GatedRepoError,
            HfHubHTTPError,
            HFValidationError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ImportError as error:
        raise MissingExtraError(
            f"{hub_id!r} is no folder here; fetching it from the hub needs: pip install huggingface_hub"
        ) from error
    try:
        return Path(
            snapshot_download(
                hub_id,
                revision=revision,
                allow_patterns=_FILES,
                ignore_patterns=_OTHER_FILES,
                etag_timeout=_TIMEOUT,
            )
        )
    except GatedRepoError as error:
        advice = "its owner wants to be asked: accept the terms on its page and run `hf auth login`"
        raise ModelNotFoundError(_not_found(hub_id, advice, error)) from error
    except RevisionNotFoundError as error:
        raise ModelNotFoundError(_not_found(hub_id, f"it has no revision {revision!r}", error)) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ModelNotFoundError(
            _not_found(hub_id, "the hub has no such model (or it is private)", error)
        ) from error
    except (HfHubHTTPError, OSError) as error:
        advice = "the hub cannot be reached and the model is not in the local cache; check the connection"
        raise ModelNotFoundError(_not_found(hub_id, advice, error)) from error


def _not_found(hub_id: str, why: str, error: Exception) -> str:
    reason = str(error).strip().splitlines()
    return (
        f"No model {hub_id!r}. As a folder: {Path(hub_id).absolute()} is not there. As a hub id: {why}"
        f"{f' ({reason[0]})' if reason else ''}. Pass an existing folder or hub id; lp.load() without a name "
        "gives the small model that ships with lmppl."
    )
