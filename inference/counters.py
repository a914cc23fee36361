"""What a run counts while it goes on."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Counters:
    """Counts of one run; `Diagnostics` says what each means."""

    num_tokens: int = 0
    num_checks: int = 0
    num_forwards: int = 0
    num_transfers: int = 0
    num_synchronisations: int = 0
    num_replays: int = 0
    check_seconds: float = 0.0
    cache_bytes: int = 0
    text_sites: dict[str, str] = field(default_factory=dict)
