"""The stacks of an LALR(1) parser as values."""

from __future__ import annotations

from dataclasses import dataclass, field

from lmppl.constraints.grammars.lalr_tables import END, LalrTable

MAX_STACKS = 200_000


@dataclass(eq=False)
class Stack:
    """A state of the parser on top of what is below it. Equal to itself only; made once, while known.

    Attributes:
        state: Of the parser.
        below: None for the first.
        depth: How many are below.
        following: Stacks by token, as far as they are known.
    """

    state: int
    below: Stack | None
    depth: int
    following: dict[int, Stack | None] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Stack of {self.depth + 1} on state {self.state}>"


class LalrParser:
    """The stacks of one table."""

    def __init__(self, table: LalrTable):
        self.table = table
        self._stacks: dict[tuple[int, Stack | None], Stack] = {}
        self._num_rules = sum(map(len, table.reductions)) + 1
        self.initial = self.pushed(0, None)

    def after(self, stack: Stack, token: int) -> Stack | None:
        """Gives the stack after a token, or None if the parser refuses it."""
        if token not in stack.following:
            after = self._reduced(stack, token)
            if after is not None and token != END:
                after = self.pushed(self.table.shifts[after.state][token], after)
            stack.following[token] = after
        return stack.following[token]

    def ends(self, stack: Stack) -> bool:
        """Says whether the text may end after what a stack has read."""
        return self.after(stack, END) is not None

    def _reduced(self, stack: Stack, token: int) -> Stack | None:
        """Applies rules until the token can be shifted, or the text is complete."""
        most = (stack.depth + 2) * self._num_rules  # a parser that goes round in circles never answers
        for _ in range(most):
            if token in self.table.shifts[stack.state]:
                return stack
            rule = self.table.reductions[stack.state].get(token)
            if rule is None:
                return None
            name, length = rule
            for _ in range(length):
                assert stack.below is not None
                stack = stack.below
            stack = self.pushed(self.table.gotos[stack.state][name], stack)
            if token == END and stack.state == self.table.end:
                return stack
        return None

    def pushed(self, state: int, below: Stack | None) -> Stack:
        key = (state, below)
        if key not in self._stacks:
            if len(self._stacks) >= MAX_STACKS:
                self._stacks.clear()
            self._stacks[key] = Stack(state, below, 0 if below is None else below.depth + 1)
        return self._stacks[key]
