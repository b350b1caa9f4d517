"""Keep the model libraries from writing hints, progress bars and members' prompts into the log."""

from __future__ import annotations

from types import ModuleType

import transformers.utils.logging


def silence() -> None:
    """Let transformers and diffusers log errors only. Called before diffusers is imported it quiets that as well."""
    _only_errors(transformers.utils.logging)
    import diffusers.utils.logging

    _only_errors(diffusers.utils.logging)


def _only_errors(logging: ModuleType) -> None:
    logging.set_verbosity_error()
    logging.disable_progress_bar()
