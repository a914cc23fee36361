"""The automata that a model's text sites have used: their tables and masks stay on the device."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from lmppl.compilation import compiled
from lmppl.constraints.regular.ended_automaton import DEAD, EndedAutomaton, ended_automaton_of
from lmppl.device_layout import WHOLE, layout_of
from lmppl.inference.token_machines import MachineTables, MaskCache, join, new_mask_cache
from lmppl.language_model import LanguageModel

_FREE = tuple(filter(None, [ended_automaton_of(None, None)]))  # a table is never empty
_MOST_KEPT = 8  # of one model; each has at most 64 MB of masks, and most have far less


@dataclass
class Machine:
    """Automata in one table, and the masks of the states that were visited.

    Attributes:
        tables: On the device.
        starts: The state of the empty string of each automaton.
        masks: None while a site uses them: what is given to a compiled call is used up.
    """

    tables: MachineTables
    starts: dict[EndedAutomaton, int]
    masks: MaskCache | None = None

    def take_masks(self, lm: LanguageModel, num_rows: int) -> MaskCache:
        """Gives the masks, to be put back into `masks` after use."""
        masks, self.masks = self.masks, None
        layout = layout_of(lm)
        num_rows //= layout.num_parts  # every part of the rows has masks of its own
        if masks is None or masks.key_of.shape[-1] < num_rows:
            masks = layout.one_each(new_mask_cache(self.tables, len(lm.vocabulary), num_rows))
        return masks

    def start(self, automaton: EndedAutomaton | None) -> int:
        """Gives the state of the empty string; that of no automaton is dead, and nobody looks at it."""
        return DEAD if automaton is None else self.starts[automaton]


def machine_of(lm: LanguageModel, automata: Sequence[EndedAutomaton]) -> Machine:
    """Gives the machine of some automata, made once for as long as it is among the last that were used."""
    kept: OrderedDict[tuple[EndedAutomaton, ...], Machine] = compiled(lm, "machines", OrderedDict)
    distinct = tuple(dict.fromkeys(automata)) or _FREE
    machine = kept.get(distinct)
    if machine is None:
        tables, starts = join(distinct)
        tables = layout_of(lm).placed(tables, WHOLE)
        machine = Machine(tables, dict(zip(distinct, starts.tolist(), strict=True)))
        kept[distinct] = machine
        if len(kept) > _MOST_KEPT:
            kept.popitem(last=False)
    kept.move_to_end(distinct)
    return machine
