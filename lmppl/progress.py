"""A progress bar that never touches a run: silent unless somebody is looking."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Progress:
    """Is told what a run does. This one shows nothing."""

    def update(
        self, *, site: str, token: int = 0, alive: int = 0, effective_sample_size: float = 0.0
    ) -> None:
        """Takes note of one step.

        Args:
            site: The site's name.
            token: How many tokens of the site are drawn; 0 outside of text.
            alive: Particles with weight.
            effective_sample_size: Of all particles.
        """

    def compiling(self, what: str) -> None:
        """Takes note that a function is being traced, compiled or loaded; the next `update` ends it."""


@dataclass
class ProgressBar(Progress):
    """One line on stderr: site, token, live particles, effective sample size, tokens a second."""

    bar: Any = None
    tokens: int = 0
    started: float = field(default_factory=time.perf_counter)

    def update(
        self, *, site: str, token: int = 0, alive: int = 0, effective_sample_size: float = 0.0
    ) -> None:
        self.tokens += alive if token else 0
        speed = self.tokens / max(time.perf_counter() - self.started, 1e-9)
        at = f" token {token}" if token else ""
        self.bar.set_description_str(f"{site}{at}", refresh=False)
        self.bar.set_postfix_str(
            f"{alive} alive, ESS {effective_sample_size:.1f}, {speed:.0f} tokens/s", refresh=False
        )
        self.bar.update(1)

    def compiling(self, what: str) -> None:
        shown = f"compiling {what} ..."
        if self.bar.desc != shown:
            self.bar.set_description_str(shown, refresh=True)  # at once: nothing else happens meanwhile


_SHOWN: ContextVar[Progress | None] = ContextVar("lmppl_progress", default=None)


def tell_compiling(what: str) -> None:
    """Tells the bar of the run under way, if there is one, what is being compiled for it."""
    shown = _SHOWN.get()
    if shown is not None:
        shown.compiling(what)


@contextmanager
def progress_bar(wanted: bool | None) -> Iterator[Progress]:
    """Gives a bar, or something silent; within the body it is that of the run under way.

    Args:
        wanted: None shows a bar where stderr is a terminal or a notebook listens.
    """
    shown = wanted if wanted is not None else (sys.stderr.isatty() or _in_notebook())
    if not shown:
        yield Progress()
        return
    from tqdm.auto import tqdm

    bar = tqdm(
        desc="starting",
        unit=" steps",
        leave=False,
        mininterval=0.2,
        bar_format="{desc}{postfix} [{elapsed}]",
    )
    made = ProgressBar(bar)
    before = _SHOWN.set(made)
    try:
        yield made
    finally:
        _SHOWN.reset(before)
        bar.close()


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"
