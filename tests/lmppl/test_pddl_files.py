"""What is read of PDDL, and how they refuse the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmppl.constraints.domains.planning.pddl_files import parse_domain, parse_goal, parse_problem, read_plan
from lmppl.errors import PDDLError

KITCHEN = """
(define (domain kitchen)
  (:requirements :strips :typing)
  (:types food tool - thing
          place)
  (:constants table - place)
  (:predicates (at ?x - thing ?p - place) (sliced ?f - food))
  (:action slice
    :parameters (?f - food ?k - tool)
    :precondition (and (at ?f table) (at ?k table))
    :effect (and (sliced ?f) (not (at ?f table)) (at ?f table))))
"""
DINNER = """
(define (problem dinner) (:domain kitchen)
  (:objects Apple - food knife - tool shelf - place)
  (:init (at apple table) (at knife table))   ; a comment ( with a parenthesis
  (:goal (sliced apple)))
"""
GOAL_TASK = parse_problem(parse_domain(KITCHEN), DINNER)


def test_types_constants_and_comments_are_read() -> None:
    assert GOAL_TASK.objects_of("thing") == ("apple", "knife")
    assert GOAL_TASK.objects_of("place") == ("table", "shelf")
    assert GOAL_TASK.objects_of("object") == ("table", "apple", "knife", "shelf")
    assert set(GOAL_TASK.actions) == {"(slice apple knife)"}
    assert GOAL_TASK.init == {"(at apple table)", "(at knife table)"}


def test_what_is_deleted_and_added_holds_afterwards() -> None:
    assert GOAL_TASK.final(("(slice apple knife)",)) == {*GOAL_TASK.init, "(sliced apple)"}


def test_a_task_does_not_contain_the_goal_of_its_file() -> None:
    without = DINNER.replace("(:goal (sliced apple))", "")
    assert parse_problem(parse_domain(KITCHEN), without) == GOAL_TASK
    assert parse_goal(GOAL_TASK, DINNER) == {"(sliced apple)"}


@pytest.mark.parametrize("text", ["(sliced apple)", "(and (sliced apple))", "(AND\n (Sliced APPLE))"])
def test_goals_are_read_in_any_layout(text: str) -> None:
    assert parse_goal(GOAL_TASK, text) == {"(sliced apple)"}


def test_a_plan_is_one_action_a_line_with_comments(tmp_path: Path) -> None:
    path = tmp_path / "dinner.plan"
    path.write_text("; first\n(Slice apple  knife) ; done\n\n; cost = 1 (unit cost)\n")
    assert read_plan(path) == ("(slice apple knife)",)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("food tool - thing", "- thing", r"^kitchen:4: a '-' stands between names and their type"),
        ("food tool - thing", "food (tool) - thing", r"^kitchen:4: expected a name and found '\('"),
        (":strips :typing", ":strips :adl", r"^kitchen:3: :adl is not supported"),
        ("- food))", "- food)) (:functions (cost))", r"^kitchen:7: \(:functions \.\.\.\) is not read here"),
        ("(and (at ?f table)", "(and (or (at ?f table))", r"^kitchen:10: \(or \.\.\.\) is not read"),
        (
            "(and (at ?f table)",
            "(and (not) (at ?f table)",
            r"^kitchen:10: a \(not \.\.\.\) is about one fact",
        ),
        ("(and (at ?f table)", "(and (not (= ?f))", r"^kitchen:10: \(= \?f\) has 1 arguments; '=' takes 2"),
        ("(at ?k table)", "(at ?q table)", r"^kitchen:10: '\?q' in \(at \?q table\) is not a parameter"),
        ("(at ?k table)", "(at ?k)", r"^kitchen:10: \(at \?k\) has 1 arguments; 'at' takes 2"),
        ("(at ?k table)", "(near ?k table)", r"^kitchen:10: \(near .*one of the predicates at, sliced"),
        (":effect", ":observe", r"^kitchen:8: :observe of an action is not supported"),
        ("(domain kitchen)", "(problem kitchen)", r"^kitchen:2: expected \(define \(domain NAME\)"),
        ("(at ?f table))))", "(at ?f table)))))", r"^kitchen:11: a '\)' that closes nothing"),
        ("(at ?f table))))", "(at ?f table)))", r"^kitchen:2: this '\(' is never closed"),
    ],
)
def test_a_domain_that_cannot_be_read_is_refused_with_its_line(old: str, new: str, message: str) -> None:
    assert KITCHEN.count(old) == 1
    with pytest.raises(PDDLError, match=message):
        parse_domain(KITCHEN.replace(old, new), "kitchen")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("(:domain kitchen)", "(:domain blocks)", "^dinner:2: a problem of 'blocks', and the"),
        ("(at knife table)", "(at spoon table)", r"^dinner:4: 'spoon' in \(at spoon table\) is not an"),
        ("(at knife table)", "(at table knife)", r"^dinner:4: an object in \(at table knife\)"),
        ("(at knife table)", "at", r"^dinner:4: expected '\(' and found 'at'"),
        ("(:goal", "(:metric", r"^dinner:5: \(:metric \.\.\.\) is not read here"),
        ("(:init (at apple table) (at knife table))", "", r"^dinner: the problem has no \(:init"),
    ],
)
def test_a_problem_that_cannot_be_read_is_refused_with_its_line(old: str, new: str, message: str) -> None:
    assert DINNER.count(old) == 1
    with pytest.raises(PDDLError, match=message):
        parse_problem(parse_domain(KITCHEN), DINNER.replace(old, new), "dinner")


@pytest.mark.parametrize(
    "text", ["", "(sliced apple) (and)", "(sliced knife)", "(or (sliced apple))", "apple"]
)
def test_a_goal_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(PDDLError, match=r"^goal:"):
        parse_goal(GOAL_TASK, text)
