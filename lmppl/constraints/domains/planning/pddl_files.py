"""Reads PDDL: STRIPS with types, negative preconditions and equality, and plans with one action a line.

What is not read (quantifiers, conditional effects, costs, ...) is refused with its line, never skipped.
The goal of a problem file is no part of a `Task`: `read_goal` reads it for whoever may know it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lmppl.constraints.domains.planning.strips import Domain, Goal, Operator, Pattern, Task, fact
from lmppl.errors import InvalidTypeError, PDDLError


@dataclass(frozen=True)
class Word:
    """One word of a PDDL text."""

    text: str
    where: str


@dataclass(frozen=True)
class Form:
    """One parenthesised list of a PDDL text."""

    items: tuple[Node, ...]
    where: str

    @property
    def head(self) -> str:
        """The first word, which says what the form is; empty where there is none."""
        return self.items[0].text if self.items and isinstance(self.items[0], Word) else ""


REQUIREMENTS = (":strips", ":typing", ":negative-preconditions", ":equality")
_EQUALITY = {"=": ("object", "object")}

Node = Word | Form
Typed = tuple[tuple[str, str], ...]


def read_task(domain: str | Path, problem: str | Path) -> Task:
    """Reads a domain and a problem, without the problem's goal. A str is the PDDL text, a Path its file."""
    return _task(*_source(domain, "domain"), *_source(problem, "problem"))


def read_plan(path: str | Path) -> tuple[str, ...]:
    """Reads a plan: one action a line, such as `(stack red blue)`; what follows a `;` is a comment."""
    forms = _parse(_contents(Path(path), "plan"), str(path))
    return tuple(fact(_words(_form(node))) for node in forms)


def read_goal(source: str | Path, task: Task) -> Goal:
    """Reads a goal: `(and ...)`, one fact, or a problem with a `(:goal ...)`; as text or as a file."""
    return parse_goal(task, *_source(source, "goal"))


def parse_domain(text: str, name: str = "domain") -> Domain:
    """Reads the text of a domain; `name` stands in errors."""
    title, sections = _definition(text, name, "domain")
    supertypes: Typed = ()
    constants: Typed = ()
    predicates: list[tuple[str, tuple[str, ...]]] = []
    operators: list[Operator] = []
    for form in sections:
        if form.head == ":requirements":
            _check_requirements(form)
        elif form.head == ":types":
            supertypes = _typed(form.items[1:])
        elif form.head == ":constants":
            constants = _typed(form.items[1:])
        elif form.head == ":predicates":
            predicates = [_predicate(node) for node in form.items[1:]]
        elif form.head == ":action":
            operators.append(_operator(form, dict(predicates), constants))
        else:
            raise _refusal(form, "A domain has :requirements, :types, :constants, :predicates, :action")
    return Domain(title, supertypes, tuple(predicates), tuple(operators), constants)


def parse_problem(domain: Domain, text: str, name: str = "problem") -> Task:
    """Reads the text of a problem of `domain`; a `(:goal ...)` in it is left unread."""
    _, sections = _definition(text, name, "problem")
    forms = {form.head: form for form in sections}
    for head in (":objects", ":init"):
        if head not in forms:
            raise PDDLError(f"{name}: the problem has no ({head} ...).")
    for form in sections:
        if form.head not in (":domain", ":requirements", ":objects", ":init", ":goal"):
            raise _refusal(form, "A problem has :domain, :requirements, :objects, :init, :goal")
    named = forms.get(":domain")
    if named and _words(named)[1:] != [domain.name]:
        wanted = " ".join(_words(named)[1:])
        raise PDDLError(f"{named.where}: a problem of {wanted!r}, and the domain file has {domain.name!r}.")
    task = Task(domain, _typed(forms[":objects"].items[1:]), frozenset())
    facts = [_ground_fact(task, _form(node)) for node in forms[":init"].items[1:]]
    return Task(domain, task.objects, frozenset(facts))


def parse_goal(task: Task, text: str, name: str = "goal") -> Goal:
    """Reads the text of a goal: a conjunction, one fact, or a problem with a `(:goal ...)`."""
    forms = _parse(text, name)
    if len(forms) != 1:
        raise PDDLError(f"{name}: expected one (and ...), fact or problem, and found {len(forms)} forms.")
    form = _form(forms[0])
    if form.head == "define":
        goals = [node for node in form.items if isinstance(node, Form) and node.head == ":goal"]
        if len(goals) != 1 or len(goals[0].items) != 2:
            raise PDDLError(f"{form.where}: the problem has no (:goal ...) with one condition.")
        form = _form(goals[0].items[1])
    return frozenset(_ground_fact(task, conjunct) for conjunct in _conjuncts(form))


@lru_cache(64)
def _task(domain: str, domain_name: str, problem: str, problem_name: str) -> Task:
    return parse_problem(parse_domain(domain, domain_name), problem, problem_name)


def _contents(path: Path, name: str) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PDDLError(f"The PDDL {name} {str(path)!r} cannot be read: {error}") from error


def _source(source: str | Path, name: str) -> tuple[str, str]:
    """Gives the text of a source, and the name that stands in errors."""
    if isinstance(source, Path):
        return _contents(source, name), str(source)
    if not isinstance(source, str):
        raise InvalidTypeError(
            f"A PDDL {name} is a str with its text, or a Path to its file, not {source!r}."
        )
    if "(" not in source:
        raise PDDLError(
            f"The {name} {source[:60]!r} is no PDDL text. If it is a file, give Path({source!r})."
        )
    return source, name


def _parse(text: str, name: str) -> tuple[Node, ...]:
    """Reads nested parentheses; words are lower-cased, as PDDL does not distinguish case."""
    open_forms: list[tuple[str, list[Node]]] = [(f"{name}:1", [])]
    for number, line in enumerate(text.splitlines(), start=1):
        where = f"{name}:{number}"
        for token in re.findall(r"[()]|[^\s()]+", line.split(";", 1)[0]):
            if token == "(":
                open_forms.append((where, []))
            elif token == ")":
                if len(open_forms) == 1:
                    raise PDDLError(f"{where}: a ')' that closes nothing.")
                start, items = open_forms.pop()
                open_forms[-1][1].append(Form(tuple(items), start))
            else:
                open_forms[-1][1].append(Word(token.lower(), where))
    if len(open_forms) > 1:
        raise PDDLError(f"{open_forms[-1][0]}: this '(' is never closed.")
    return tuple(open_forms[0][1])


def _definition(text: str, name: str, kind: str) -> tuple[str, tuple[Form, ...]]:
    """Gives the title and the sections of a `(define (kind title) ...)`."""
    forms = _parse(text, name)
    if len(forms) != 1 or _form(forms[0]).head != "define":
        raise PDDLError(f"{name}: expected one (define ({kind} ...) ...) and found something else.")
    sections = tuple(_form(node) for node in _form(forms[0]).items[1:])
    if not sections or sections[0].head != kind or len(sections[0].items) != 2:
        raise PDDLError(f"{_form(forms[0]).where}: expected (define ({kind} NAME) ...).")
    return _words(sections[0])[1], sections[1:]


def _check_requirements(form: Form) -> None:
    for requirement in _words(form)[1:]:
        if requirement not in REQUIREMENTS:
            raise PDDLError(f"{form.where}: {requirement} is not supported; {', '.join(REQUIREMENTS)} are.")


def _predicate(node: Node) -> tuple[str, tuple[str, ...]]:
    form = _form(node)
    return form.head, tuple(kind for _, kind in _typed(form.items[1:]))


def _operator(form: Form, predicates: dict[str, tuple[str, ...]], constants: Typed) -> Operator:
    if len(form.items) < 2 or len(form.items) % 2:
        raise PDDLError(f"{form.where}: expected (:action NAME :parameters ... :effect ...).")
    fields = {_word(key): value for key, value in zip(form.items[2::2], form.items[3::2], strict=True)}
    if unknown := set(fields) - {":parameters", ":precondition", ":effect"}:
        raise PDDLError(f"{form.where}: {', '.join(sorted(unknown))} of an action is not supported.")
    if ":effect" not in fields:
        raise PDDLError(f"{form.where}: the action {_word(form.items[1])!r} has no :effect.")
    parameters = _typed(_form(fields[":parameters"]).items) if ":parameters" in fields else ()
    names = {name for name, _ in (*parameters, *constants)}

    def pattern(part: Form) -> Pattern:
        return _checked(part, predicates, names.__contains__, "a parameter of this action")

    def condition(part: Form) -> Pattern:
        return _checked(part, predicates | _EQUALITY, names.__contains__, "a parameter of this action")

    conditions = _conjuncts(_form(fields[":precondition"])) if ":precondition" in fields else ()
    effects = _conjuncts(_form(fields[":effect"]))
    return Operator(
        name=_word(form.items[1]),
        parameters=parameters,
        needs=tuple(condition(part) for part in conditions if part.head != "not"),
        adds=tuple(pattern(part) for part in effects if part.head != "not"),
        deletes=tuple(pattern(_negated(part)) for part in effects if part.head == "not"),
        forbids=tuple(condition(_negated(part)) for part in conditions if part.head == "not"),
    )


def _negated(form: Form) -> Form:
    if len(form.items) != 2:
        raise PDDLError(
            f"{form.where}: a (not ...) is about one fact, and this is about {len(form.items) - 1}."
        )
    return _form(form.items[1])


def _ground_fact(task: Task, form: Form) -> str:
    known = {name for name, _ in (*task.objects, *task.domain.constants)}
    words = _checked(form, dict(task.domain.predicates), known.__contains__, "an object of the problem")
    text = fact(words)
    if not task.is_fact(words):
        kinds = " ".join(dict(task.domain.predicates)[words[0]])
        raise PDDLError(f"{form.where}: an object in {text} has the wrong type: ({words[0]} {kinds}).")
    return text


def _checked(
    form: Form, predicates: dict[str, tuple[str, ...]], is_known: Callable[[str], bool], expected: str
) -> Pattern:
    """Gives the words of a fact after comparing them with the predicates and names there are."""
    if form.head not in predicates:
        raise _refusal(form, f"Expected one of the predicates {', '.join(predicates)}")
    words = _words(form)
    if len(words) - 1 != len(predicates[form.head]):
        raise PDDLError(
            f"{form.where}: {fact(words)} has {len(words) - 1} arguments; {form.head!r} takes "
            f"{len(predicates[form.head])}."
        )
    for word in words[1:]:
        if not is_known(word):
            raise PDDLError(f"{form.where}: {word!r} in {fact(words)} is not {expected}.")
    return tuple(words)


def _conjuncts(form: Form) -> tuple[Form, ...]:
    if form.head == "and":
        return tuple(_form(node) for node in form.items[1:])
    return (form,) if form.items else ()


def _typed(nodes: Sequence[Node]) -> Typed:
    """Reads `a b - kind c` as pairs; what has no type is an `object`."""
    pairs: list[tuple[str, str]] = []
    untyped: list[str] = []
    words = iter(nodes)
    for node in words:
        if _word(node) != "-":
            untyped.append(_word(node))
            continue
        kind = next(words, None)
        if kind is None or not untyped:
            raise PDDLError(f"{node.where}: a '-' stands between names and their type.")
        pairs += [(name, _word(kind)) for name in untyped]
        untyped = []
    return (*pairs, *((name, "object") for name in untyped))


def _form(node: Node) -> Form:
    if isinstance(node, Form):
        return node
    raise PDDLError(f"{node.where}: expected '(' and found {node.text!r}.")


def _word(node: Node) -> str:
    if isinstance(node, Word):
        return node.text
    raise PDDLError(f"{node.where}: expected a name and found '('.")


def _words(form: Form) -> list[str]:
    return [_word(node) for node in form.items]


def _refusal(form: Form, expected: str) -> PDDLError:
    return PDDLError(f"{form.where}: ({form.head or '...'} ...) is not read here. {expected}.")
