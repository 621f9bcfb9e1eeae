"""What Ray reads from the environment when it is imported; this file does not import it."""

from __future__ import annotations

import logging
import os
from pathlib import Path


def prepare(address: str | None = None) -> None:
    """Before Ray is imported: settings for a program whose terminal is its own, and the token of a cluster far away."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")  # the store remembers what is done, not Tune
    os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # this program's priority; 15 below it, any other work starves it
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # a failed task is a row; its log is not for every eye
    if (address or "").startswith("ray://") and _has_token():
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # a client does not look for one by itself
    if _folder_of_tokens() is None:
        os.environ["HOME"] = "/nonexistent"  # Ray's import asks for a home; nothing is kept there


def _has_token() -> bool:
    """Whether a token for a cluster is at hand where Ray looks for it."""
    named = any(name in os.environ for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    folder = _folder_of_tokens()
    return named or (folder is not None and (folder / "auth_token").is_file())


def _folder_of_tokens() -> Path | None:
    """``~/.ray``; ``None`` for a user without a home."""
    try:
        return Path.home() / ".ray"
    except RuntimeError:
        return None
