"""The formats of strings, as regular expressions after the RFCs that JSON Schema names."""

from __future__ import annotations

from functools import lru_cache

from lmppl.constraints.json_values.time_formats import date_time_text, time_text
from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.regular_expression import compiled

# RFC 3339 with the Gregorian calendar's leap years.
_LEAP = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
DATE = (
    "(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    f"|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP}-02-29)"
)
"""The expression of a date."""

# RFC 3339, appendix A.
_TIME_SPAN = "T(?:[0-9]+H(?:[0-9]+M(?:[0-9]+S)?)?|[0-9]+M(?:[0-9]+S)?|[0-9]+S)"
_DAYS = "(?:[0-9]+D|[0-9]+M(?:[0-9]+D)?|[0-9]+Y(?:[0-9]+M(?:[0-9]+D)?)?)"
_DURATION = f"P(?:{_DAYS}(?:{_TIME_SPAN})?|{_TIME_SPAN}|[0-9]+W)"

# RFC 3986, appendix A; RFC 3987, section 2.2.
_HEX = "[0-9a-fA-F]"
_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"(?:{_BYTE}\.){{3}}{_BYTE}"
_GROUP = f"{_HEX}{{1,4}}"
_LAST = f"(?:{_GROUP}:{_GROUP}|{_IPV4})"
_IPV6 = (
    "(?:"
    + "|".join(
        [f"(?:{_GROUP}:){{6}}{_LAST}", f"::(?:{_GROUP}:){{5}}{_LAST}"]
        + [
            f"(?:(?:{_GROUP}:){{0,{before}}}{_GROUP})?::(?:{_GROUP}:){{{4 - before}}}{_LAST}"
            for before in range(5)
        ]
        + [f"(?:(?:{_GROUP}:){{0,5}}{_GROUP})?::{_GROUP}", f"(?:(?:{_GROUP}:){{0,6}}{_GROUP})?::"]
    )
    + ")"
)
_MARKS = r"!$&'()*+,;="
_PLAIN = r"A-Za-z0-9\-._~"
_ABOVE_ASCII = r"\xa0-\ud7ff\uf900-\ufdcf\ufdf0-\uffef" + "".join(
    rf"\U000{plane:x}{'1' if plane == 14 else '0'}000-\U000{plane:x}fffd" for plane in range(1, 15)
)
_PRIVATE = r"\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd"
_PERCENT = f"%{_HEX}{{2}}"


def _reference(more: str, private: str) -> tuple[str, str]:
    """Gives the patterns of absolute references and of all references.

    Args:
        more: Characters that may stand wherever letters may.
        private: Those that may stand in a query besides.
    """
    one = f"(?:[{_PLAIN}{_MARKS}:@{more}]|{_PERCENT})"
    without_colon = f"(?:[{_PLAIN}{_MARKS}@{more}]|{_PERCENT})"
    name = f"(?:[{_PLAIN}{_MARKS}{more}]|{_PERCENT})*"
    user = f"(?:[{_PLAIN}{_MARKS}:{more}]|{_PERCENT})*"
    bracketed = rf"\[(?:{_IPV6}|[vV]{_HEX}+\.[{_PLAIN}{_MARKS}:]+)\]"
    authority = f"//(?:{user}@)?(?:{bracketed}|{name})(?::[0-9]*)?(?:/{one}*)*"
    rooted = f"/(?:{one}+(?:/{one}*)*)?"
    query = rf"(?:\?(?:[{_PLAIN}{_MARKS}:@/?{more}{private}]|{_PERCENT})*)?"
    tail = rf"{query}(?:#(?:[{_PLAIN}{_MARKS}:@/?{more}]|{_PERCENT})*)?"
    full = rf"[A-Za-z][A-Za-z0-9+.\-]*:(?:{authority}|{rooted}|{one}+(?:/{one}*)*|){tail}"
    relative = f"(?:{authority}|{rooted}|{without_colon}+(?:/{one}*)*|){tail}"
    return full, f"{full}|{relative}"


_URI, _URI_REFERENCE = _reference("", "")
_IRI, _IRI_REFERENCE = _reference(_ABOVE_ASCII, _PRIVATE)

# RFC 6570, section 2, with erratum 6937: the apostrophe is a literal.
_VARIABLE = rf"(?:\w|{_PERCENT})(?:\.?(?:\w|{_PERCENT}))*(?::[1-9][0-9]{{0,3}}|\*)?"
_TEMPLATE = (
    rf"(?:[!#$&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~{_ABOVE_ASCII}{_PRIVATE}]|{_PERCENT}"
    rf"|\{{[+#./;?&=,!@|]?{_VARIABLE}(?:,{_VARIABLE})*\}})*"
)

# RFC 5321, section 4.1.2 and 4.1.3.
_ATOM = r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9\-]*[A-Za-z0-9])?"
_QUOTED = r'"(?:[ !#-\[\]-~]|\\[ -~])*"'
_LITERAL = rf"\[(?:{_IPV4}|[Ii][Pp][Vv]6:{_IPV6}|[A-Za-z0-9\-]*[A-Za-z0-9]:[!-Z^-~]+)\]"
_EMAIL = rf"(?:{_ATOM}(?:\.{_ATOM})*|{_QUOTED})@(?:{_LABEL}(?:\.{_LABEL})*|{_LITERAL})"

_POINTER = r"(?:/(?:[^~/]|~[01])*)*"  # RFC 6901

_PATTERNS = {
    "date": DATE,
    "duration": _DURATION,
    "email": _EMAIL,
    "ipv4": _IPV4,
    "ipv6": _IPV6,
    "iri": _IRI,
    "iri-reference": _IRI_REFERENCE,
    "json-pointer": f"(?s:{_POINTER})",
    "relative-json-pointer": rf"(?s:(?:0|[1-9][0-9]*)(?:#|{_POINTER}))",
    "uri": _URI,
    "uri-reference": _URI_REFERENCE,
    "uri-template": f"(?a:{_TEMPLATE})",
    "uuid": f"{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}",
}

FORMATS = (*sorted((*_PATTERNS, "date-time", "time")),)
"""Those that can be enforced."""

NOT_REGULAR = {
    "hostname": "labels that begin with 'xn--' must be well-formed by tables of Unicode",
    "idn-email": "international labels must be well-formed by tables of Unicode",
    "idn-hostname": "international labels must be well-formed by tables of Unicode",
    "regex": "whether a regular expression is one is no question for a finite automaton",
}
"""Those that JSON Schema defines and no automaton can judge."""


@lru_cache(32)
def format_text(name: str) -> ByteAutomaton:
    """Gives the texts of a format."""
    if name == "time":
        return time_text()
    return date_time_text(compiled(DATE)) if name == "date-time" else compiled(_PATTERNS[name])
