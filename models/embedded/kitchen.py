"""Kitchen goals: an English wish over typed objects, and what it asks for in PDDL."""

from __future__ import annotations

import random
from collections.abc import Mapping

from lmppl.models.embedded.documents import Document, sections
from lmppl.models.embedded.goals import Conjunct, render

TYPES: Mapping[str, tuple[str, ...]] = {
    "food": ("apple", "bread", "carrot", "cheese", "egg", "fish", "lemon", "onion", "potato", "rice",
             "tomato", "soup"),
    "container": ("bowl", "pan", "pot", "plate", "basket", "jar", "box", "cup"),
    "place": ("counter", "table", "shelf", "sink", "stove"),
    "appliance": ("oven", "fridge", "microwave", "kettle", "toaster"),
}  # fmt: skip
"""The types that a kitchen may list, and the objects of each."""

SIGNATURES: Mapping[str, tuple[str, ...]] = {
    "in": ("food", "container"),
    "at": ("container", "place"),
    "washed": ("food",),
    "sliced": ("food",),
    "cooked": ("food",),
    "open": ("appliance",),
    "closed": ("appliance",),
    "turned-on": ("appliance",),
    "turned-off": ("appliance",),
}
"""The types of the arguments of each predicate."""

_PHRASES = {
    "in": ("put the {0} in the {1}", "the {0} goes in the {1}", "place the {0} into the {1}",
           "i want the {0} in the {1}", "the {0} should be in the {1}", "fill the {1} with the {0}"),
    "at": ("put the {0} on the {1}", "the {0} should be on the {1}", "bring the {0} to the {1}",
           "leave the {0} at the {1}", "move the {0} to the {1}"),
    "washed": ("wash the {0}", "rinse the {0}", "the {0} should be washed", "make sure the {0} is clean"),
    "sliced": ("slice the {0}", "cut the {0}", "chop the {0}", "the {0} should be in slices"),
    "cooked": ("cook the {0}", "i want the {0} cooked", "the {0} has to be done", "heat the {0} until done"),
    "open": ("open the {0}", "leave the {0} open", "the {0} should be open"),
    "closed": ("close the {0}", "shut the {0}", "keep the {0} closed", "the {0} must be closed"),
    "turned-on": ("turn on the {0}", "switch the {0} on", "start the {0}", "turn the {0} on"),
    "turned-off": ("turn off the {0}", "switch the {0} off", "stop the {0}", "turn the {0} off"),
}  # fmt: skip
_JOINTS = (" and ", ", and ", ", then ", "; ", ", ")

_OPEN_WORDS = {
    # what is said: which facts it may mean, "?" being any listed object of the right type
    "put the {food} away": (("in", "{food}", "?"),),
    "put the {food} in something": (("in", "{food}", "?"),),
    "put some food in the {container}": (("in", "?", "{container}"),),
    "fill the {container}": (("in", "?", "{container}"),),
    "put the {container} somewhere": (("at", "{container}", "?"),),
    "move the {container}": (("at", "{container}", "?"),),
    "prepare the {food}": (("washed", "{food}"), ("sliced", "{food}"), ("cooked", "{food}")),
    "get the {food} ready": (("washed", "{food}"), ("sliced", "{food}"), ("cooked", "{food}")),
    "wash something": (("washed", "?"),),
    "cook something": (("cooked", "?"),),
    "slice some of the food": (("sliced", "?"),),
    "put something on the {place}": (("at", "?", "{place}"),),
    "see to the {appliance}": (
        ("open", "{appliance}"),
        ("closed", "{appliance}"),
        ("turned-on", "{appliance}"),
    ),
}


def kitchen_document(rng: random.Random) -> Document:
    """Draws a wish and its goal; one wish in four is underspecified, its label uniform over the meanings."""
    objects = _draw_objects(rng)
    words, goal, templates = (_underspecified if rng.random() < 0.25 else _literal)(rng, objects)
    return _document("kitchen", rng, objects, words, goal, templates)


def kitchen_reversed_document(rng: random.Random) -> Document:
    """Draws a goal and, as the target, a wish that asks for it."""
    objects = _draw_objects(rng)
    words, goal, templates = (_underspecified if rng.random() < 0.25 else _literal)(rng, objects)
    return _document("kitchen reversed", rng, objects, words, goal, templates)


def _document(
    domain: str,
    rng: random.Random,
    objects: dict[str, list[str]],
    words: str,
    goal: tuple[Conjunct, ...],
    templates: tuple[str, ...],
) -> Document:
    lines = [f"{' '.join(names)} - {kind}" for kind, names in objects.items()]
    listed = {"objects": "\n".join(rng.sample(lines, len(lines)))}
    pddl = render(goal)
    words += rng.choices(("", "."), weights=(85, 15))[0]
    if domain == "kitchen":
        return Document(domain, sections({**listed, "goal": words}, "pddl"), pddl, pddl, templates)
    return Document(domain, sections({**listed, "pddl": pddl}, "goal"), words, pddl, templates)


def _draw_objects(rng: random.Random) -> dict[str, list[str]]:
    sizes = {"food": (2, 5), "container": (1, 3), "place": (1, 3), "appliance": (1, 3)}
    return {kind: rng.sample(TYPES[kind], rng.randint(*sizes[kind])) for kind in TYPES}


def _literal(
    rng: random.Random, objects: dict[str, list[str]]
) -> tuple[str, tuple[Conjunct, ...], tuple[str, ...]]:
    facts: dict[tuple[str, str], Conjunct] = {}
    for _ in range(rng.choices((1, 2, 3), weights=(45, 38, 17))[0]):
        predicate = rng.choice(list(SIGNATURES))
        arguments = [rng.choice(objects[kind]) for kind in SIGNATURES[predicate]]
        slot = predicate.replace("closed", "open").replace("-off", "-on")
        facts[slot, arguments[0]] = (predicate, *arguments)
    chosen = rng.sample(list(facts.values()), len(facts))
    templates = [rng.choice(_PHRASES[predicate]) for predicate, *_ in chosen]
    clauses = [template.format(*fact[1:]) for template, fact in zip(templates, chosen, strict=True)]
    return rng.choice(_JOINTS).join(clauses), tuple(chosen), tuple(templates)


def _underspecified(
    rng: random.Random, objects: dict[str, list[str]]
) -> tuple[str, tuple[Conjunct, ...], tuple[str, ...]]:
    template = rng.choice(list(_OPEN_WORDS))
    named = {kind: rng.choice(names) for kind, names in objects.items()}
    meanings = [m for fact in _OPEN_WORDS[template] for m in _fillings(fact, named, objects)]
    return template.format(**named), (rng.choice(meanings),), (template,)


def _fillings(fact: Conjunct, named: dict[str, str], objects: dict[str, list[str]]) -> list[Conjunct]:
    """Gives the facts that a pattern may mean: one for each object that `?` may be."""
    predicate, *arguments = fact
    filled = [argument.format(**named) for argument in arguments]
    if "?" not in filled:
        return [(predicate, *filled)]
    hole = filled.index("?")
    return [
        (predicate, *filled[:hole], name, *filled[hole + 1 :])
        for name in objects[SIGNATURES[predicate][hole]]
    ]
