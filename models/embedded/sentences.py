"""Short English sentences from a small grammar, each with the words that it was asked to use."""

from __future__ import annotations

import random

from lmppl.models.embedded.documents import Document, sections

_SUBJECTS = (
    "dog", "cat", "bird", "farmer", "teacher", "child", "king", "queen", "fox", "horse", "sailor", "baker",
    "doctor", "robot", "wizard", "girl", "boy", "old man", "old woman", "neighbour",
)  # fmt: skip
_ADJECTIVES = (
    "small", "big", "old", "young", "red", "happy", "sad", "quiet", "clever", "tired", "brave", "hungry",
    "kind",
)  # fmt: skip
_ACTIONS = (  # a verb, and the things that it is done to
    ("eats", ("apple", "cake", "bread", "soup", "fish")),
    ("reads", ("book", "letter", "map", "poem", "story")),
    ("carries", ("basket", "lamp", "bag", "box", "flag")),
    ("paints", ("wall", "door", "boat", "picture", "chair")),
    ("finds", ("key", "coin", "ring", "shell", "stone")),
    ("builds", ("house", "bridge", "boat", "tower", "wall")),
    ("buys", ("hat", "coat", "lamp", "bread", "book")),
    ("opens", ("door", "window", "box", "letter", "gate")),
    ("sees", ("ship", "star", "cloud", "mountain", "river")),
)
_MOTIONS = ("sleeps", "runs", "sings", "waits", "walks", "plays", "rests", "works", "dances", "sits")
_PLACES = (
    "in the garden", "in the kitchen", "at the market", "near the river", "on the hill", "in the forest",
    "at school", "by the sea", "in the city", "under the tree", "on the bridge", "at home",
)  # fmt: skip
_TIMES = (
    "in the morning",
    "at night",
    "every day",
    "today",
    "after lunch",
    "on Sunday",
    "in winter",
    "before dawn",
)


def sentence_document(rng: random.Random) -> Document:
    """Draws a sentence and two to four of its content words, in any order, as the prompt."""
    text, content = _draw_sentence(rng)
    words = rng.sample(content, min(len(content), rng.randint(2, 4)))
    return Document("sentences", sections({"words": ", ".join(words)}, "sentence"), text, text)


def _draw_sentence(rng: random.Random) -> tuple[str, list[str]]:
    subject = rng.choice(_SUBJECTS)
    adjective = rng.choice(_ADJECTIVES) if rng.random() < 0.5 and " " not in subject else ""
    content = [subject, adjective]
    parts = [rng.choice(("The", "A")), adjective, subject]
    if parts[0] == "A" and (adjective or subject)[0] in "aeiou":
        parts[0] = "An"
    if rng.random() < 0.65:
        verb, things = rng.choice(_ACTIONS)
        thing = rng.choice(things)
        parts += [verb, "the", thing]
        content += [verb, thing]
    else:
        parts.append(rng.choice(_MOTIONS))
        content.append(parts[-1])
    if rng.random() < 0.6:
        parts.append(rng.choice(_PLACES))
        content.append(parts[-1].split()[-1])
    if rng.random() < 0.4:
        parts.append(rng.choice(_TIMES))
        content.append(parts[-1].split()[-1])
    return " ".join(filter(None, parts)) + ".", list(filter(None, content))
