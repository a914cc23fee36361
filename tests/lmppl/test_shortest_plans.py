"""`lp.plan`, and the dead ends of `lp.pddl_plan`, against exhaustive search."""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from drawn_bytes import Draws
from drawn_planning_tasks import DrawnTask, drawn_task, written

import lmppl as lp
from lmppl.constraints.domains.planning import dead_ends, packed_tasks, shortest_plans
from lmppl.constraints.domains.planning.dead_ends import Outlook, is_reversible
from lmppl.constraints.domains.planning.packed_tasks import Budget, OverBudget, PackedAction, PackedTask
from lmppl.constraints.domains.planning.pddl_files import read_goal, read_task
from lmppl.constraints.domains.planning.pddl_plans import Plan
from lmppl.constraints.domains.planning.strips import Goal, Task
from lmppl.errors import InvalidInputError, InvalidTypeError, PDDLError, PlanError, PlanSearchLimit

BLOCKS = Path(__file__).resolve().parents[2] / "examples" / "blocksworld" / "domain.pddl"
TOWER = """
(define (problem tower) (:domain blocksworld) (:objects a b c - block)
  (:init (arm-empty) (on c a) (clear c) (on-table a) (on-table b) (clear b)) (:goal (and (on a b) (on b c))))
"""
ROAD = """
(define (domain road) (:requirements :strips)
  (:predicates (at ?x) (road ?x ?y))
  (:action go :parameters (?x ?y) :precondition (and (at ?x) (road ?x ?y))
    :effect (and (at ?y) (not (at ?x)))))
"""
STARS = """
(define (problem stars) (:domain road) (:objects a b c d e)
  (:init (at a) (road a b) (road b a) (road a c) (road c d) (road d c) (road b e)) (:goal (at e)))
"""


def all_blocks(number: int, goal: str) -> str:
    """Writes a problem in which all blocks stand on the table."""
    names = [f"b{i}" for i in range(number)]
    facts = " ".join(f"(on-table {name}) (clear {name})" for name in names)
    objects = " ".join(names)
    return (
        f"(define (problem p) (:domain blocksworld) (:objects {objects} - block) "
        f"(:init (arm-empty) {facts}) (:goal {goal}))"
    )


def test_a_problem_that_would_take_gigabytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_tasks, "MAX_BITS", 1_000)
    problem = all_blocks(11, "(on-table b1)")
    with pytest.raises(
        PDDLError, match=r"264 actions over \d+ facts; at most 1,000 pairs .* Use fewer objects"
    ):
        lp.plan(BLOCKS, problem)
    with pytest.raises(PDDLError, match="264 actions"):
        lp.pddl_plan(BLOCKS, problem)


def distances(task: Task) -> dict[frozenset[str], int]:
    """Gives all states with the steps that they take, on sets of facts."""
    found, todo = {task.init: 0}, deque([task.init])
    while todo:
        facts = todo.popleft()
        for action in task.actions.values():
            if action.can_be_taken(facts) and (after := action.apply(facts)) not in found:
                found[after] = found[facts] + 1
                todo.append(after)
    return found


def drawn(number: int) -> DrawnTask:
    return drawn_task(Draws(random.Random(number).randbytes(60)))


def read(drawn_one: DrawnTask) -> tuple[Task, Goal]:
    task = read_task(drawn_one.domain_text(), drawn_one.problem_text())
    return task, read_goal(drawn_one.problem_text(), task)


def test_a_plan_is_a_shortest_one() -> None:
    plan = lp.plan(BLOCKS, TOWER)
    assert plan is not None
    assert len(plan) == 6  # Sussman's anomaly
    assert {"(on a b)", "(on b c)"} <= read_task(BLOCKS, TOWER).final(plan)
    assert lp.plan(BLOCKS, TOWER, "(and (on c a))") == ()
    assert lp.plan(BLOCKS, TOWER, "(clear a)", after=("(unstack c a)",)) == ()
    assert lp.plan(BLOCKS, TOWER, "(on c b)", after=("(unstack c a)",)) == ("(stack c b)",)
    assert lp.plan(BLOCKS, TOWER, "(and (on a b) (on b a))") is None


def test_what_a_planner_cannot_use_is_refused() -> None:
    with pytest.raises(PDDLError, match="'d' in"):
        lp.plan(BLOCKS, TOWER, "(and (on a d))")
    with pytest.raises(PlanError, match="Step 1"):
        lp.plan(BLOCKS, TOWER, after=("(unstack a c)",))
    with pytest.raises(InvalidInputError, match="max_states >= 1"):
        lp.plan(BLOCKS, TOWER, max_states=0)
    with pytest.raises(InvalidInputError, match="seconds > 0"):
        lp.plan(BLOCKS, TOWER, timeout=0)
    for wrong in ("5", True):
        with pytest.raises(InvalidTypeError, match="seconds for `timeout=`"):
            lp.plan(BLOCKS, TOWER, timeout=wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match="sequence of steps"):
        lp.plan(BLOCKS, TOWER, after="(unstack c a)")
    with pytest.raises(InvalidInputError, match="max_states >= 0"):
        lp.pddl_plan(BLOCKS, TOWER, max_states=-1)


def test_a_search_ends_at_its_limits() -> None:
    cycle = "(and (on b0 b1) (on b1 b2) (on b2 b0))"
    problem = all_blocks(8, cycle)  # no two of the three facts exclude each other
    with pytest.raises(PlanSearchLimit, match="among 1,000 states.*max_states="):
        lp.plan(BLOCKS, problem, max_states=1_000)
    with pytest.raises(PlanSearchLimit, match=r"in 0.01 s.*timeout="):
        lp.plan(BLOCKS, problem, timeout=0.01)
    assert lp.plan(BLOCKS, all_blocks(4, cycle)) is None


def test_a_program_asks_for_plans() -> None:
    @lp.program
    def steps_of_a_drawn_goal(lm: lp.LanguageModel) -> int | None:
        goal = lp.sample("goal", lm("", max_tokens=1) & lp.choices(["(on a b)", "(on a a)"]))
        plan = lp.cached(lp.plan, BLOCKS, TOWER, goal, timeout=60)
        return None if plan is None else len(plan)

    lm = lp.TableLM(["(on a b)", "(on a a)", "<end>"], [0.25, 0.75, 0.0], [[0.0, 0.0, 1.0]] * 3)
    posterior = lp.infer(steps_of_a_drawn_goal, lm, method=lp.Enumerate(), key=0)
    assert posterior.answers() == pytest.approx({4: 0.25, None: 0.75})


@pytest.mark.parametrize("first", range(0, 300, 100))
def test_plans_of_drawn_problems_agree_with_exhaustive_search(first: int) -> None:
    solved = 0
    for number in range(first, first + 100):
        drawn_one = drawn(number)
        steps = drawn_one.distances(400)
        if steps is None:
            continue
        plan = lp.plan(drawn_one.domain_text(), drawn_one.problem_text())
        least = min((taken for state, taken in steps.items() if drawn_one.is_reached(state)), default=None)
        assert (None if plan is None else len(plan)) == least
        solved += plan is not None and len(plan) > 0
    assert solved > 10


@pytest.mark.parametrize("listed", [20_000, 5, 0])
def test_no_state_from_which_the_goal_is_reached_is_a_dead_end(listed: int) -> None:
    number_dead = number_exact = 0
    for number in range(200):
        wrong, dead, exact = judged(drawn(number), listed, PackedTask)
        assert not wrong
        number_dead += dead
        number_exact += exact
    assert number_dead > 100
    assert number_exact > (150 if listed else 30)


def judged(drawn_one: DrawnTask, listed: int, pack: type[PackedTask]) -> tuple[int, int, bool]:
    """Counts states that are told wrongly, and dead ends that are told; and says whether that is exact."""
    steps = drawn_one.distances(400)
    if steps is None:
        return 0, 0, False
    task, goal = read(drawn_one)
    packed = pack(task)
    outlook = Outlook(packed, packed.goal(goal), listed)
    hopeful = drawn_one.hopeful(steps)
    wrong = dead = 0
    for state in steps:
        is_open = outlook.is_open(packed.state(frozenset(map(written, state))))
        wrong += (state in hopeful) > is_open or (outlook.is_exact and is_open != (state in hopeful))
        dead += not is_open
    return wrong, dead, outlook.is_exact


class AddsNothingNew(PackedTask):
    """A mutant: what an action adds is not held to go together with what it keeps."""

    def pairs(self, state: int, budget: Budget) -> list[int]:
        together = super().pairs(state, budget)
        return [state if state >> number & 1 else each & 1 << number for number, each in enumerate(together)]


class ForgetsDeletions(PackedTask):
    """A mutant: nothing is ever undone."""

    def __init__(self, task: Task):
        super().__init__(task)
        self.actions = tuple(action._replace(keeps=-1) for action in self.actions)


@pytest.mark.parametrize("mutant", [AddsNothingNew, ForgetsDeletions])
def test_a_mutant_that_misjudges_dead_ends_is_caught(mutant: type[PackedTask]) -> None:
    assert any(judged(drawn(number), listed, mutant)[0] for number in range(200) for listed in (20_000, 0))


def may_follow(other: PackedAction, action: PackedAction, known: int, possible: int) -> bool:
    """A mutant: what an action can be taken after, undoes that one."""
    return not other.needs & ~(known & action.keeps | action.adds)


def takes_back(other: PackedAction, action: PackedAction, known: int, possible: int) -> bool:
    """A mutant: what takes back the added facts that were not there for sure undoes an action."""
    return may_follow(other, action, known, possible) and not action.adds & other.keeps & ~known


@pytest.mark.parametrize("mutant", [lambda *said: True, may_follow, takes_back])
def test_a_mutant_that_misjudges_what_undoes_an_action_is_caught(
    mutant: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lmppl.constraints.domains.planning.dead_ends._undoes", mutant)
    assert any(judged(drawn(number), 20_000, PackedTask)[0] for number in range(200))


def test_actions_that_another_undoes_are_told_from_those_that_none_does() -> None:
    def told(domain: str | Path, problem: str) -> bool:
        return is_reversible(PackedTask(read_task(domain, problem)), Budget(1_000))

    assert told(BLOCKS, TOWER)
    assert not told(ROAD, STARS)
    assert told(ROAD, STARS.replace("(road a c)", "(road a c) (road c a) (road e b)"))
    never = STARS.replace("(road a c)", "").replace("(road b e)", "")  # what lies beyond is not reached
    assert told(ROAD, never)


def test_a_way_that_leads_nowhere_is_refused_however_much_is_listed() -> None:
    for listed in (20_000, 3, 0):
        plan = lp.pddl_plan(ROAD, STARS, max_states=listed)
        assert plan.advance(plan.initial(), b"(go a b)\n(go b") is not None
        assert plan.advance(plan.initial(), b"(go a c") is None
        assert plan.viable_is_exact == (listed >= 5)


def test_recorded_problems_are_told_exactly_or_over_approximated(test_data: Path) -> None:
    folder = test_data / "planetarium"
    domain = (folder / "domains" / "blocksworld.pddl").read_text()
    lines = (folder / "blocksworld.jsonl").read_text().splitlines()
    small = 0
    for line in lines[::2]:
        problem = json.loads(line)["problem_pddl"]
        task = read_task(domain, problem)
        goal = read_goal(problem, task)
        if len(task.objects) > 4:
            continue
        packed = PackedTask(task)
        steps = distances(task)
        least = min(taken for facts, taken in steps.items() if goal <= facts)
        found = lp.plan(domain, problem)
        assert found is not None
        assert len(found) == least
        for listed in (20_000, 0):
            outlook = Outlook(packed, packed.goal(goal), listed)
            assert all(outlook.is_open(packed.state(facts)) for facts in steps)  # all steps can be undone
            assert outlook.is_exact or not listed
        small += 1
    assert small > 15


def test_problems_with_very_many_states_are_answered_soon() -> None:
    goal = "(and " + " ".join(f"(on b{i} b{i + 1})" for i in range(19)) + ")"
    plan = lp.pddl_plan(BLOCKS, all_blocks(20, goal))
    assert plan.advance(plan.initial(), b"(pick-up b3)\n(stack b3 b4)") is not None
    assert plan.advance(plan.initial(), b"(pick-up b3)\n(pick-up") is None
    with pytest.raises(PDDLError, match="No plan reaches"):
        lp.pddl_plan(BLOCKS, all_blocks(20, "(and (on b0 b1) (on b2 b1))"))


def in_a_row(number: int) -> tuple[Task, Goal, PackedTask]:
    goal = "(and " + " ".join(f"(on b{i} b{i + 1})" for i in range(number - 1)) + ")"
    task = read_task(BLOCKS, all_blocks(number, goal))
    return task, read_goal(goal, task), PackedTask(task)


def test_each_part_of_the_work_ends_when_its_tests_are_spent() -> None:
    _, wanted, packed = in_a_row(6)
    goal = packed.goal(wanted)
    assert goal is not None
    assert packed.cost is not None
    after = packed.actions[0].adds
    rounds = Budget(1_000_000)
    packed.rounds(packed.init, goal, rounds)
    assert rounds.spent > len(packed.actions)  # more than one round
    undone = Budget(1_000_000)
    assert is_reversible(packed, undone)
    assert undone.spent >= len(packed.actions)
    pairs = Budget(packed.cost)  # what was found out with all actions takes fewer with those that are left
    assert packed.pairs(packed.init, pairs) == packed.together
    possible = sum(each.bit_count() for each in packed.together)
    assert pairs.spent > possible / 2  # each pair that is added counts
    for work in (
        lambda: packed.pairs(packed.init, Budget(pairs.spent - 1)),
        lambda: packed.rounds(packed.init, goal, Budget(rounds.spent - 1)),
        lambda: shortest_plans.some_plan(packed, goal, 1_000, Budget(1_000)),
    ):
        with pytest.raises(OverBudget):
            work()
    assert not is_reversible(packed, Budget(undone.spent - 1))
    impossible = packed.goal(frozenset(("(on b0 b1)", "(on b2 b1)")))
    assert impossible is not None
    assert not packed.may_reach(after, impossible, Budget(1_000_000))
    assert packed.may_reach(after, impossible, Budget(10))


def test_the_tests_of_a_task_are_bounded_and_so_is_what_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    budgets = []

    class Recorded(Budget):
        def __init__(self, most: int):
            super().__init__(most)
            budgets.append(self)

    _, wanted, full = in_a_row(6)
    goal = full.goal(wanted)
    assert Outlook(full, goal, 20_000).is_exact
    for module in (packed_tasks, dead_ends):
        monkeypatch.setattr(module, "MAX_TESTS", 500)
        monkeypatch.setattr(module, "Budget", Recorded)
    _, _, packed = in_a_row(6)
    assert packed.cost is None
    assert len(packed.actions) > len(full.actions)  # those of a block on itself stay
    assert not Outlook(packed, goal, 20_000).is_exact
    assert not Outlook(full, goal, 20_000).is_exact
    assert 3 < len(budgets) < 10
    assert {budget.most for budget in budgets} <= {0, 500}
    assert all(budget.spent < 500 + 2 * len(packed.actions) for budget in budgets)
    budgets.clear()
    monkeypatch.setattr(dead_ends, "MAX_TESTS", 5_000)  # enough to tell that all can be undone
    Outlook(full, goal, 20_000)
    assert [budget.most for budget in budgets] == [0, 5_000, 5_000]


@pytest.mark.parametrize("most", [0, 30, 300])
def test_few_tests_make_no_state_a_dead_end_that_is_none(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (packed_tasks, dead_ends):
        monkeypatch.setattr(module, "MAX_TESTS", most)
    monkeypatch.setattr(dead_ends, "ASKED_TESTS", most)
    assert not any(judged(drawn(number), 20_000, PackedTask)[0] for number in range(200))


def many_ways(monkeypatch: pytest.MonkeyPatch, share: int) -> tuple[Plan, Outlook, list[int]]:
    """Gives plans through one of 40 roads, the last, what is told about them, and a list to which the granted
    tests are added whenever h2 is asked about a state.

    `share` is how many of them one question may be about.
    """
    places = [f"p{i}" for i in range(10, 50)]
    roads = " ".join(f"(road a {place})" for place in places)
    problem = (
        f"(define (problem many) (:domain road) (:objects a e {' '.join(places)}) "
        f"(:init (at a) {roads} (road {places[-1]} e)) (:goal (at e)))"
    )
    task = read_task(ROAD, problem)
    packed = PackedTask(task)
    assert packed.cost is not None
    monkeypatch.setattr(dead_ends, "ASKED_TESTS", 2 * packed.cost * share + packed.cost)
    asked: list[int] = []

    def may_reach(state: int, goal: int, budget: Budget) -> bool:
        asked.append(budget.most)
        return PackedTask.may_reach(packed, state, goal, budget)

    goal = read_goal(problem, task)
    monkeypatch.setattr(packed, "may_reach", may_reach)
    outlook = Outlook(packed, packed.goal(goal), 0)
    monkeypatch.setattr(PackedTask, "of", lambda task: packed)
    monkeypatch.setattr(Outlook, "of", lambda *given: outlook)
    asked.clear()
    return Plan(task, goal, 0), outlook, asked


@pytest.mark.parametrize("share", [0, 1, 5, 40])
def test_a_question_asks_h2_about_few_states(share: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, outlook, asked = many_ways(monkeypatch, share)
    assert not plan.viable_is_exact
    assert plan.advance(plan.initial(), b"(") is not None
    assert len(asked) == share
    assert sum(asked) <= dead_ends.ASKED_TESTS
    assert outlook.is_open(0) == (share == 0)  # nothing holds
    assert (plan.advance(plan.initial(), b"(go a p10") is None) == (share > 0)
    assert (plan.advance(plan.initial(), b"(go a p1") is None) == (share >= 10)  # ten dead ends
    assert plan.advance(plan.initial(), b"(go a p49)\n(go p49 e)") is not None


def test_what_is_told_does_not_depend_on_what_was_asked_before(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [f"(go a p{i})" for i in range(10, 50)]
    prefixes = sorted({step[:size] for step in steps for size in range(len(step) + 1)})
    told = []
    for order in range(4):
        monkeypatch.setattr(dead_ends, "MAX_REMEMBERED", 3 if order % 2 else 4_096)
        plan, _, _ = many_ways(monkeypatch, 5)
        random.Random(order).shuffle(prefixes)
        told.append({text: plan.advance(plan.initial(), text.encode()) is not None for text in prefixes})
    assert all(each == told[0] for each in told)
    assert 0 < sum(told[0].values()) < len(prefixes)
    assert all(told[0][text[:-1]] for text in prefixes if text and told[0][text])


@pytest.mark.parametrize("slow", ["read_task", "read_goal", "packing", "search"])
def test_the_time_limit_includes_all_work(slow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    begun = []
    monkeypatch.setattr(shortest_plans, "time", SimpleNamespace(monotonic=lambda: clock.now))

    def slowed(work: str, function: Callable) -> Callable:
        def called(*arguments: object) -> object:
            begun.append(work)
            clock.now += 10 * (work == slow)
            return function(*arguments)

        return called

    monkeypatch.setattr(shortest_plans, "read_task", slowed("read_task", shortest_plans.read_task))
    monkeypatch.setattr(shortest_plans, "read_goal", slowed("read_goal", shortest_plans.read_goal))
    monkeypatch.setattr(PackedTask, "of", slowed("packing", PackedTask.of))
    monkeypatch.setattr(shortest_plans, "searched", slowed("search", shortest_plans.searched))
    with pytest.raises(PlanSearchLimit, match=r"in 5 s.*timeout="):
        lp.plan(BLOCKS, TOWER, timeout=5)
    assert begun[-1] == ("read_goal" if slow == "read_task" else slow)  # what comes after is not begun
    clock.now = 0
    assert lp.plan(BLOCKS, TOWER, timeout=20) is not None
