"""`lp.pddl_goal` and `lp.pddl_plan` against brute force: every prefix of all short goals and plans."""

from __future__ import annotations

import itertools
import json
import pickle
import re
from pathlib import Path

import pytest
from viable_prefixes import accepted

import lmppl as lp
from lmppl.constraints.domains.planning.dead_ends import Outlook
from lmppl.constraints.domains.planning.packed_tasks import PackedTask
from lmppl.constraints.domains.planning.pddl_files import parse_goal, read_goal, read_task
from lmppl.constraints.domains.planning.strips import Goal, Task
from lmppl.constraints.protocol import Constraint
from lmppl.errors import PDDLError, PlanError
from lmppl.testing import check_constraint

BLOCKS = """
(define (domain blocks) (:requirements :strips)
  (:predicates (clear ?x) (on-table ?x) (arm-empty) (holding ?x) (on ?x ?y))
  (:action pickup :parameters (?a)
    :precondition (and (clear ?a) (on-table ?a) (arm-empty))
    :effect (and (holding ?a) (not (clear ?a)) (not (on-table ?a)) (not (arm-empty))))
  (:action putdown :parameters (?a) :precondition (holding ?a)
    :effect (and (clear ?a) (arm-empty) (on-table ?a) (not (holding ?a))))
  (:action stack :parameters (?a ?b) :precondition (and (clear ?b) (holding ?a))
    :effect (and (arm-empty) (clear ?a) (on ?a ?b) (not (clear ?b)) (not (holding ?a))))
  (:action unstack :parameters (?a ?b) :precondition (and (on ?a ?b) (clear ?a) (arm-empty))
    :effect (and (holding ?a) (clear ?b) (not (on ?a ?b)) (not (clear ?a)) (not (arm-empty)))))
"""
TWO = """
(define (problem two) (:domain blocks) (:objects a ab)
  (:init (arm-empty) (clear a) (clear ab) (on-table a) (on-table ab)) (:goal (on a ab)))
"""
ONE_WAY = """
(define (domain walk) (:requirements :strips :typing)
  (:types place agent)
  (:predicates (at ?who - agent ?where - place) (path ?from ?to - place) (done))
  (:action go :parameters (?w - agent ?f ?t - place) :precondition (and (at ?w ?f) (path ?f ?t))
    :effect (and (at ?w ?t) (not (at ?w ?f)))))
"""
FORK = """
(define (problem fork) (:domain walk) (:objects me - agent p q r - place)
  (:init (at me p) (path p q) (path p r)) (:goal (and (at me q))))
"""

LAMPS = """
(define (domain lamps) (:requirements :strips :negative-preconditions :equality)
  (:constants fuse) (:predicates (on ?x) (next ?x ?y))
  (:action press :parameters (?x) :precondition (and (not (on ?x)) (not (= ?x fuse))) :effect (on ?x))
  (:action pass :parameters (?x ?y)
    :precondition (and (on ?x) (not (on ?y)) (not (= ?x ?y)) (not (next ?y ?x)))
    :effect (and (on ?y) (not (on ?x))))
  (:action reset :parameters (?x ?y) :precondition (and (= ?x ?y) (on ?x)) :effect (not (on ?y))))
"""
TWO_LAMPS = """
(define (problem p) (:domain lamps) (:objects a b) (:init (next a fuse)) (:goal (and (on b) (on fuse))))
"""


def state_of(constraint: Constraint, text: str) -> object:
    return constraint.advance(constraint.initial(), text.encode())


@pytest.mark.parametrize(("domain", "problem"), [(BLOCKS, TWO), (ONE_WAY, FORK)])
def test_goals_are_the_conjunctions_of_facts(domain: str, problem: str) -> None:
    task = read_task(domain, problem)
    goal = lp.pddl_goal(domain, problem)
    assert goal.viable_is_exact
    assert goal.automaton() is not None
    texts = {f"(and {' '.join(facts)})" for n in (1, 2) for facts in itertools.product(task.facts, repeat=n)}
    prefixes = {text[:size] for text in texts for size in range(len(text) + 1)}
    more = {text[:-1] + " " for text in texts}  # a third one may follow
    for text in texts:
        assert accepted(goal, text)
        assert parse_goal(task, text)
    letters = "() aAbon-\n"
    for text in prefixes | {text + letter for text in prefixes for letter in letters}:
        said = text.count("(") - 1
        if said <= 2 and text not in more:
            assert (state_of(goal, text) is not None) == (text in prefixes), text
        assert accepted(goal, text) == (text in texts), text
    check_constraint(goal, [*sorted(texts)[:2], "(and)", "(or (done))"])


def test_a_goal_names_existing_objects_of_the_right_type() -> None:
    goal = lp.pddl_goal(ONE_WAY, FORK)
    assert accepted(goal, "(and (at me r) (done) (path q q))")
    for wrong in ("(and (at p r))", "(and (at you r))", "(and (path me r))", "(and (at me))", "(and (gone))"):
        assert not accepted(goal, wrong)
        with pytest.raises(PDDLError):
            parse_goal(read_task(ONE_WAY, FORK), wrong)


def test_many_objects_are_not_multiplied_out() -> None:
    objects = " ".join(f"block{i}" for i in range(2_000))
    goal = lp.pddl_goal(
        BLOCKS, f"(define (problem p) (:domain blocks) (:objects {objects}) (:init (arm-empty)))"
    )
    assert accepted(goal, "(and (on block1999 block0))")
    assert not accepted(goal, "(and (on block2000 block0))")


@pytest.mark.parametrize(("domain", "problem", "length"), [(BLOCKS, TWO, 3), (ONE_WAY, FORK, 2)])
def test_plans_are_those_that_a_simulator_can_carry_out(domain: str, problem: str, length: int) -> None:
    task = read_task(domain, problem)
    wanted = read_goal(problem, task)
    plan = lp.pddl_plan(domain, problem)
    assert plan.viable_is_exact
    final = {}  # of every plan that can be carried out, by brute force
    for steps in itertools.chain(*(itertools.product(task.actions, repeat=n) for n in range(length + 1))):
        try:
            final[steps] = task.final(steps)
        except PlanError:
            final[steps] = None
    hopeful = states_from_which(task, wanted)
    taken = {steps: facts for steps, facts in final.items() if facts in hopeful}
    longer = {
        (*steps, action.text)
        for steps, facts in taken.items()
        for action in task.actions.values()
        if action.can_be_taken(facts) and action.apply(facts) in hopeful
    }
    texts = {"\n".join(steps) for steps in {*taken, *longer}}
    prefixes = {text[:size] for text in texts for size in range(len(text) + 1)}
    for steps, facts in final.items():
        text = "\n".join(steps)
        assert accepted(plan, text) == (facts is not None and wanted <= facts), text
        for shown in {text[:size] for size in range(len(text) + 1)} | {text + "\n", text + "\n("}:
            assert (state_of(plan, shown) is not None) == (shown in prefixes), shown


def states_from_which(task: Task, wanted: Goal) -> set[frozenset[str]]:
    """Gives the states that are reached and from which a goal can be, by trying every action."""
    reached = {task.init: set()}
    todo = [task.init]
    while todo:
        facts = todo.pop()
        for action in task.actions.values():
            if action.can_be_taken(facts):
                after = action.apply(facts)
                reached[facts].add(after)
                if after not in reached:
                    reached[after] = set()
                    todo.append(after)
    hopeful = {facts for facts in reached if wanted <= facts}
    while more := {facts for facts, after in reached.items() if after & hopeful} - hopeful:
        hopeful |= more
    return hopeful


def lamps_after(steps: tuple[tuple[str, ...], ...]) -> set[str] | None:
    """Gives the lamps that burn after steps of the domain LAMPS, or None if one cannot be taken."""
    burning: set[str] = set()
    for name, x, *rest in steps:
        y = rest[0] if rest else ""
        allowed = {
            "press": not rest and x not in burning and x != "fuse",
            "pass": x in burning and y not in burning and x != y and (y, x) != ("a", "fuse"),
            "reset": x == y and x in burning,
        }
        if not allowed[name]:
            return None
        burning = (
            burning - {x} if name == "reset" else burning | {x} if name == "press" else burning - {x} | {y}
        )
    return burning


def test_negative_preconditions_and_equality_mean_what_they_say() -> None:
    objects = ("a", "b", "fuse")
    steps = [("press", x) for x in objects]
    steps += [(name, x, y) for name in ("pass", "reset") for x in objects for y in objects]
    plan = lp.pddl_plan(LAMPS, TWO_LAMPS)
    num_accepted = 0
    for taken in itertools.chain(*(itertools.product(steps, repeat=n) for n in range(4))):
        text = "\n".join(f"({' '.join(step)})" for step in taken)
        burning = lamps_after(taken)
        assert (state_of(plan, text) is not None) == (burning is not None), text
        assert accepted(plan, text) == (burning is not None and {"b", "fuse"} <= burning), text
        num_accepted += accepted(plan, text)
    assert num_accepted == 4
    task = read_task(LAMPS, TWO_LAMPS)
    with pytest.raises(PlanError, match=r"\(on a\) must not hold"):
        task.final(("(press a)", "(press a)"))
    with pytest.raises(PlanError, match="the same or different"):
        task.final(("(press fuse)",))


def test_a_step_into_a_dead_end_is_refused() -> None:
    plan = lp.pddl_plan(ONE_WAY, FORK)
    assert accepted(plan, "(go me p q)")
    assert state_of(plan, "(go me p q)\n") is None
    assert state_of(plan, "(go me p r") is None
    assert state_of(plan, "(go me p ") is not None
    stuck = FORK.replace("(path p q) (path p r)", "(path q r)")
    for listed in (20_000, 0):
        with pytest.raises(PDDLError, match=r"No plan reaches the goal \(at me q\)"):
            lp.pddl_plan(ONE_WAY, stuck, max_states=listed)


def test_a_plan_begins_with_a_step() -> None:
    plan = lp.pddl_plan(BLOCKS, TWO)
    assert state_of(plan, "\n") is None
    assert not accepted(plan, "\n(pickup a)\n(stack a ab)")


def test_a_goal_may_be_about_facts_without_arguments_alone() -> None:
    goal = lp.pddl_goal(
        "(define (domain d) (:predicates (up) (on ?x)))",
        "(define (problem p) (:domain d) (:objects ) (:init ))",
    )
    assert accepted(goal, "(and (up) (up))")
    assert not accepted(goal, "(and (on))")


def test_plans_keep_the_laws_and_are_values() -> None:
    plan = lp.pddl_plan(BLOCKS, TWO)
    good = "(pickup a)\n(stack a ab)"
    check_constraint(
        plan, [good, "(pickup ab)\n(putdown ab)\n" + good, good + "\n", "(pickup a)(", "(stack a ab)"]
    )
    assert plan == lp.pddl_plan(BLOCKS, TWO)
    assert hash(plan) == hash(lp.pddl_plan(BLOCKS, TWO))
    assert pickle.loads(pickle.dumps(plan)) == plan
    assert plan.viable_is_exact
    assert repr(plan) == "pddl_plan('blocks', goal='(on a ab)')"
    reached = TWO.replace("(:goal (on a ab))", "(:goal (clear a))")
    assert accepted(lp.pddl_plan(BLOCKS, reached), "")


def test_a_simulator_that_forgets_deletions_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(PackedTask):
        def __init__(self, task: Task):
            super().__init__(task)
            self.actions = tuple(action._replace(keeps=-1) for action in self.actions)

    monkeypatch.setattr(PackedTask, "of", Forgetful)
    monkeypatch.setattr(
        Outlook, "of", lambda task, goal, most: Outlook(Forgetful(task), Forgetful(task).goal(goal), most)
    )
    plan = lp.pddl_plan(BLOCKS, TWO)
    assert accepted(plan, "(pickup a)\n(pickup ab)\n(stack a ab)")  # wrong, and brute force says so
    with pytest.raises(AssertionError):
        test_plans_are_those_that_a_simulator_can_carry_out(BLOCKS, TWO, 3)


@pytest.mark.parametrize("make", [lp.pddl_goal, lp.pddl_plan])
def test_what_cannot_be_read_is_refused_with_its_line(make: object, tmp_path: Path) -> None:
    with pytest.raises(PDDLError, match=r"give Path\('blocks.pddl'\)"):
        make("blocks.pddl", TWO)
    with pytest.raises(PDDLError, match=r"domain .*missing.pddl' cannot be read: .*No such file"):
        make(tmp_path / "missing.pddl", TWO)
    with pytest.raises(PDDLError, match="domain:1: this '\\(' is never closed"):
        make("(define (domain d)", TWO)
    with pytest.raises(lp.errors.InvalidTypeError, match="or a Path to its file, not 3"):
        make(BLOCKS, 3)
    with pytest.raises(PDDLError, match=":adl is not supported"):
        make(BLOCKS.replace(":strips", ":adl"), TWO)
    (tmp_path / "d.pddl").write_text(BLOCKS)
    assert make(tmp_path / "d.pddl", TWO) == make(BLOCKS, TWO)


def test_hostile_domains_end_in_an_error() -> None:
    objects = " ".join(f"o{i}" for i in range(1_000))
    many = (
        f"(define (problem p) (:domain blocks) (:objects {objects}) (:init (arm-empty)) (:goal (on o1 o2)))"
    )
    with pytest.raises(PDDLError, match="1,000,000 ways to choose the 2 arguments of 'stack'"):
        lp.pddl_plan(BLOCKS, many)
    around = ONE_WAY.replace("(:types place agent)", "(:types place - agent agent - place)")
    assert accepted(lp.pddl_goal(around, FORK), "(and (at p me))")
    with pytest.raises(PDDLError, match="Nothing can be said"):
        lp.pddl_goal(
            "(define (domain d) (:predicates (on ?x)))",
            "(define (problem p) (:domain d) (:objects ) (:init ))",
        )


def test_goals_and_domains_from_elsewhere_are_read(test_data: Path) -> None:
    folder = test_data / "planetarium"
    lines = (folder / "blocksworld.jsonl").read_text().splitlines()[::8]
    for line in lines:
        problem = json.loads(line)["problem_pddl"]
        goal = lp.pddl_goal(folder / "domains" / "blocksworld.pddl", problem)
        text = re.sub(r"\s+", " ", problem[problem.index("(:goal ") + 7 : problem.rindex(")")].strip()[:-1])
        assert accepted(goal, text), text
        plan = lp.pddl_plan(folder / "domains" / "blocksworld.pddl", problem)
        first = plan.steps(plan.initial().facts).texts[0]
        assert plan.advance(plan.initial(), first) is not None
    for name in ("floor-tile", "gripper", "rover", "rover-single"):
        text = (folder / "domains" / f"{name}.pddl").read_text()
        with pytest.raises(PDDLError, match="problem"):
            lp.pddl_goal(text, "(define (problem p) (:domain elsewhere) (:objects) (:init))")
