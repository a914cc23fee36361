"""The planner of the examples against states worked out by hand and against exhaustive search."""

from __future__ import annotations

import dataclasses
import itertools
import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from planning import distances, plan_length, states_ahead

from lmppl.constraints.domains.planning.pddl_files import parse_domain, parse_goal, parse_problem
from lmppl.constraints.domains.planning.shortest_plans import shortest_plan
from lmppl.constraints.domains.planning.strips import Goal, State, Task
from lmppl.errors import PlanError

DOMAIN_FILE = Path(__file__).resolve().parents[2] / "examples" / "blocksworld" / "domain.pddl"
DOMAIN = parse_domain(DOMAIN_FILE.read_text())


def table(*blocks: str) -> Task:
    """Gives a task in which all blocks stand on the table."""
    facts = {"(arm-empty)"} | {f"({word} {block})" for block in blocks for word in ("on-table", "clear")}
    return Task(DOMAIN, tuple((block, "block") for block in blocks), frozenset(facts))


def goal(*facts: str) -> Goal:
    return frozenset(facts)


def test_actions_change_what_they_say_and_nothing_else() -> None:
    task = table("a", "b")
    held = {"(holding a)", "(on-table b)", "(clear b)"}
    assert task.final(("(pick-up a)",)) == held
    stacked = {"(on a b)", "(on-table b)", "(clear a)", "(arm-empty)"}
    assert task.final(("(pick-up a)", "(stack a b)")) == stacked
    assert task.final(("(pick-up a)", "(stack a b)", "(unstack a b)")) == held
    assert task.final(("(pick-up a)", "(put-down a)")) == task.init


def test_a_task_is_a_value() -> None:
    assert table("a", "b") == table("a", "b")
    assert hash(table("a", "b")) == hash(table("a", "b"))
    task = table("a", "b").after(("(pick-up a)",))
    assert pickle.loads(pickle.dumps(task)) == task
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.init = frozenset()  # type: ignore[misc]


def test_an_impossible_step_is_named_with_what_it_lacks() -> None:
    plan = ("(pick-up a)", "(pick-up b)")
    with pytest.raises(PlanError, match=r"^Step 2, \(pick-up b\), cannot be .* needs \(arm-empty\),"):
        table("a", "b").final(plan)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("(push a)", r"the domain 'blocksworld' has pick-up, put-down, stack, unstack"),
        ("(stack a)", r"expected \(stack block block\), and got the arguments a\."),
        ("(pick-up c)", r"expected \(pick-up block\), and got the arguments c\."),
    ],
)
def test_an_unknown_step_is_answered_by_what_there_is(step: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        table("a", "b").final((step,))


@pytest.mark.parametrize(
    ("start", "wanted", "steps"),
    [
        ((), goal("(on a b)"), 2),
        ((), goal("(on a b)", "(on b c)"), 4),
        ((), goal("(on-table a)"), 0),
        ((), goal(), 0),
        ((), goal("(holding a)", "(on b c)"), 3),
        # Turning a tower of three upside down.
        (("(pick-up b)", "(stack b c)", "(pick-up a)", "(stack a b)"), goal("(on c b)", "(on b a)"), 6),
        # Sussman's anomaly: c on a and b on the table; serving either conjunct first undoes it.
        (("(pick-up c)", "(stack c a)"), goal("(on a b)", "(on b c)"), 6),
    ],
)
def test_known_problems_have_their_known_length(start: tuple[str, ...], wanted: Goal, steps: int) -> None:
    task = table("a", "b", "c").after(start)
    plan = shortest_plan(task, wanted)
    assert plan is not None
    assert len(plan) == steps == plan_length(task, wanted)
    assert wanted <= task.final(plan)


@pytest.mark.parametrize(
    "impossible",
    [goal("(on a b)", "(on b a)"), goal("(on a a)"), goal("(holding a)", "(holding b)"), goal("(likes a b)")],
)
def test_a_goal_that_cannot_be_reached_has_no_plan(impossible: Goal) -> None:
    assert plan_length(table("a", "b", "c"), impossible) is None


def test_as_many_states_are_reached_as_there_are_arrangements() -> None:
    # Arrangements of n blocks in stacks: 1, 3, 13, 73; with one in the hand, n times those of n - 1.
    assert [len(distances(table(*"abcd"[:n]))) for n in (1, 2, 3, 4)] == [1 + 1, 3 + 2, 13 + 9, 73 + 52]


def test_too_many_states_are_refused() -> None:
    with pytest.raises(ValueError, match=r"more than 100 states.*fewer objects"):
        distances(table(*"abcd"), max_states=100)


@pytest.mark.parametrize("start", [(), ("(pick-up b)",), ("(pick-up b)", "(stack b c)")])
def test_shortest_plans_agree_with_exhaustive_search_for_goals_of_two_facts(start: tuple[str, ...]) -> None:
    task = table("a", "b", "c").after(start)
    steps = distances(task)
    for wanted in map(frozenset, itertools.combinations(task.facts, 2)):
        exact = min((number for state, number in steps.items() if wanted <= state), default=None)
        assert plan_length(task, wanted) == exact, wanted


def test_a_plan_takes_no_step_that_a_negative_precondition_forbids() -> None:
    domain = parse_domain("""
        (define (domain door) (:requirements :strips :negative-preconditions)
          (:predicates (locked) (inside))
          (:action enter :parameters () :precondition (not (locked)) :effect (inside))
          (:action unlock :parameters () :precondition (locked) :effect (not (locked))))""")
    locked = Task(domain, (), frozenset({"(locked)"}))
    assert shortest_plan(locked, goal("(inside)")) == ("(unlock)", "(enter)")
    assert distances(locked) == {goal("(locked)"): 0, goal(): 1, goal("(inside)"): 2}


def test_states_ahead_are_those_with_a_shortest_way_through_the_plan() -> None:
    task, plan = table("a", "b", "c"), ("(pick-up a)", "(stack a b)")
    here = task.final(plan)
    expected = {ways[-1] for ways in shortest_ways(task) if here in ways}
    assert set(states_ahead(task, plan)) == expected
    assert here in expected
    assert task.init not in expected


def shortest_ways(task: Task) -> Iterator[tuple[State, ...]]:
    """Gives every shortest way to every state, by listing all ways that visit no state late."""
    steps = distances(task)

    def extend(way: tuple[State, ...]) -> Iterator[tuple[State, ...]]:
        yield way
        for action in task.actions.values():
            if action.needs <= way[-1]:
                reached = action.apply(way[-1])
                if steps[reached] == len(way):
                    yield from extend((*way, reached))

    return extend((task.init,))


def test_recorded_problems_are_read_and_solved(test_data: Path) -> None:
    folder = test_data / "planetarium"
    domain = parse_domain((folder / "domains" / "blocksworld.pddl").read_text())
    solved = 0
    for line in (folder / "blocksworld.jsonl").read_text().splitlines():
        text = json.loads(line)["problem_pddl"]
        task = parse_problem(domain, text)
        wanted = parse_goal(task, text)
        assert wanted
        assert task.init <= set(task.facts)
        if len(task.objects) <= 4:
            plan = shortest_plan(task, wanted)
            assert plan is not None
            assert wanted <= task.final(plan)
            assert len(plan) == min(n for state, n in distances(task).items() if wanted <= state)
            solved += 1
    assert solved >= 10


def test_recorded_domains_are_read(test_data: Path) -> None:
    files = sorted((test_data / "planetarium" / "domains").glob("*.pddl"))
    names = {parse_domain(path.read_text(), path.name).name for path in files}
    assert {"blocksworld", "gripper", "rover", "floor-tile"} <= names
