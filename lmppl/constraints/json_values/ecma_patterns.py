"""Regular expressions of JSON Schema, which are JavaScript's (ECMA-262), in Python's syntax."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import accumulate

from lmppl.constraints.json_values.unicode_properties import members
from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.regex_syntax import Written
from lmppl.constraints.regular.regular_expression import compiled
from lmppl.errors import ConstraintError

# Zs of Unicode, the byte order mark, tab, and what ends lines; what is between them.
_SPACE = r"\t-\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
_NO_SPACE = (
    r"\x00-\x08\x0e-\x1f!-\x9f\xa1-\u167f\u1681-\u1fff\u200b-\u2027\u202a-\u202e\u2030-\u205e\u2060-\u2fff"
    r"\u3001-\ufefe\uff00-\U0010ffff"
)
_CONTROLS = {"t": r"\t", "n": r"\n", "v": r"\x0b", "f": r"\x0c", "r": r"\r"}
_COUNT = re.compile(r"\{[0-9]+(?:,[0-9]*)?\}")
_CODE = re.compile(r"u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})")


@lru_cache(512)
def containing(pattern: str) -> ByteAutomaton:
    """Gives the texts in which a pattern of JavaScript (with its flag `u`) matches somewhere.

    Raises:
        ConstraintError: It is no pattern, or uses what is not regular or not known here:
            back-references, some Unicode properties, or escapes that JavaScript does not define.
    """
    pieces = _Reader(pattern).pieces()
    begin = "(?s:.*)(?:"
    starts = accumulate((len(text) for _, text in pieces), initial=len(begin))
    places = ((0, 0), *zip(starts, (at for at, _ in pieces), strict=False))
    source = f"{begin}{''.join(text for _, text in pieces)})(?s:.*)"
    return compiled(source, re.ASCII, look_around=True, written=Written(pattern, places))


class _Reader:
    """A position in a pattern."""

    def __init__(self, pattern: str):
        self.pattern = pattern
        self.at = 0
        self.open_groups: list[int] = []

    def pieces(self) -> list[tuple[int, str]]:
        """Gives what the parts of the pattern become, and where they stand."""
        pieces: list[tuple[int, str]] = []
        while self.at < len(self.pattern):
            pieces.append((self.at, self.piece()))
        if self.open_groups:
            self.at = self.open_groups[-1]
            raise self.refusal("a group without end")
        return pieces

    def piece(self) -> str:
        character = self.pattern[self.at]
        if character == "\\":
            return self.escape(in_class=False)
        if character == "[":
            return self.character_class()
        if character == "(":
            self.open_groups.append(self.at)
            return self.group()
        if character == ")":
            if not self.open_groups:
                raise self.refusal("a ')' that ends no group")
            self.open_groups.pop()
        if character in "*+?{":
            return self.quantifier()
        self.at += 1
        fixed = {".": r"[^\n\r\u2028\u2029]", "^": r"\A", "$": r"\Z", "|": "|", ")": ")"}
        return fixed.get(character) or _literal(character)

    def quantifier(self) -> str:
        start = self.at
        if self.pattern[start] == "{":
            match = _COUNT.match(self.pattern, start)
            if match is None:
                raise self.refusal("a brace that is no count; write it as \\{")
            self.at = match.end()
        else:
            self.at += 1
        if self.pattern.startswith("?", self.at):
            self.at += 1
        found = self.pattern[start : self.at]
        if self.pattern[self.at : self.at + 1] in ("*", "+", "?"):
            raise self.refusal("a quantifier of a quantifier")
        return found

    def group(self) -> str:
        rest = self.pattern[self.at :]
        if named := re.match(r"\(\?<[A-Za-z_$][\w$]*>", rest):
            self.at += named.end()
            return "(?:"
        if rest.startswith("(?:"):
            self.at += 3
            return "(?:"
        if look := re.match(r"\(\?<?[=!]", rest):
            self.at += look.end()
            return look[0]
        if rest.startswith("(?"):
            raise self.refusal("an unknown group")
        self.at += 1
        return "(?:"

    def character_class(self) -> str:
        self.at += 1
        negated = self.pattern.startswith("^", self.at)
        self.at += negated
        pieces: list[str] = []
        while not self.pattern.startswith("]", self.at):
            low = self.class_member()
            pieces.append(low)
            if self.pattern.startswith("-", self.at) and not self.pattern.startswith("-]", self.at):
                self.at += 1
                high = self.class_member()
                if not (_is_one(low) and _is_one(high)):
                    raise self.refusal("a range between classes; write the hyphen as \\-")
                pieces += ["-", high]
        self.at += 1
        if not pieces:
            return r"[\x00-\U0010ffff]" if negated else r"[^\x00-\U0010ffff]"
        return f"[{'^' if negated else ''}{''.join(pieces)}]"

    def class_member(self) -> str:
        """Reads a character in a class, or a class in it."""
        character = self.pattern[self.at : self.at + 1]
        if not character:
            raise self.refusal("a class without end")
        if character == "\\":
            return self.escape(in_class=True)
        self.at += 1
        return _literal(character)

    def escape(self, in_class: bool) -> str:
        letter = self.pattern[self.at + 1 : self.at + 2]
        if match := _CODE.match(self.pattern, self.at + 1):
            return self.code(match)
        if letter in ("p", "P") and (named := re.match(r"\{([\w=]+)\}", self.pattern[self.at + 2 :])):
            return self.unicode_property(named[1], letter == "P", in_class)
        if letter == "c" and re.match("[A-Za-z]", self.pattern[self.at + 2 : self.at + 3]):
            self.at += 3
            return f"\\x{ord(self.pattern[self.at - 1]) % 32:02x}"
        if letter == "0" and self.pattern[self.at + 2 : self.at + 3] not in tuple("0123456789"):
            self.at += 2
            return r"\x00"
        if letter and letter in "dDwW":
            found = "\\" + letter
        elif letter and letter in "sS":
            inside = _SPACE if letter == "s" else _NO_SPACE
            found = inside if in_class else f"[{inside}]"
        elif letter in _CONTROLS:
            found = _CONTROLS[letter]
        elif letter == "b" and in_class:
            found = r"\x08"
        elif letter and letter in "bB" and not in_class:
            found = "\\" + letter
        elif letter.isascii() and letter and not letter.isalnum():
            found = _literal(letter)
        else:
            raise self.refusal(f"the escape \\{letter}")
        self.at += 2
        return found

    def unicode_property(self, name: str, negated: bool, in_class: bool) -> str:
        inside = members(name, negated)
        if inside is None:
            raise self.refusal(f"the unknown property {name!r}")
        self.at += len(name) + len("\\p{}")
        if in_class:
            return inside
        return f"[{inside}]" if inside else r"[^\x00-\U0010ffff]"

    def code(self, match: re.Match[str]) -> str:
        self.at = match.end()
        code = int(match[1] or match[2] or match[3], 16)
        low = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})").match(self.pattern, self.at)
        if match[2] and 0xD800 <= code < 0xDC00 and low:
            self.at = low.end()
            code = 0x10000 + ((code - 0xD800) << 10) + (int(low[1], 16) - 0xDC00)
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise self.refusal("a code that is no character")
        return f"\\U{code:08x}"

    def refusal(self, feature: str) -> ConstraintError:
        return ConstraintError(f"the pattern {self.pattern[:60]!r} uses {feature}, at position {self.at}")


def _is_one(member: str) -> bool:
    """Says whether a member of a class, in Python's syntax, is one character."""
    return len(member) == 1 or bool(re.fullmatch(r"\\(?:[fnrtv]|x..|U.{8})", member))


def _literal(character: str) -> str:
    return f"\\U{ord(character):08x}" if not character.isalnum() or not character.isascii() else character
