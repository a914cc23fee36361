"""Potentials by themselves: what they say, how they combine, their laws, and what is refused."""

import math
import time

import numpy as np
import pytest
from drawn_tables import drawn_table

import lmppl as lp
from lmppl.potentials.evaluation import log_weights
from lmppl.testing import check_potential

LM = drawn_table(0, ["a", "b", "ab"])
SAMPLES = ["", "ab", "abba", "bb", "né"]


def count_b(text):
    return 0.5 * text.count("b")


def no_bb(text):
    return -math.inf if "bb" in text else 0.0


def enumerated(text):
    return lp.infer(lambda: lp.sample("x", text), method=lp.Enumerate())


LAWFUL = [
    lp.potential("prefix only", prefix=count_b),
    lp.potential("complete only", complete=count_b),
    lp.potential("both", prefix=no_bb, complete=count_b),
    lp.potential("not asked about candidates", prefix=no_bb, hard=False),
    lp.potential("in batches", prefix=lambda texts: [no_bb(text) for text in texts], batch=True, hard=True),
    lp.potential("product", prefix=count_b) & lp.regex("[ab]*") & lp.potential("other", complete=no_bb),
    lp.expert(LM("a", max_tokens=3), power=0.5),
    lp.expert(LM("a", stop="ba") & lp.regex("a*b*")),
]


@pytest.mark.parametrize("potential", LAWFUL, ids=lambda p: p.describe())
def test_potentials_keep_the_laws(potential):
    check_potential(potential, SAMPLES, atol=1e-4)


class Own(lp.Potential):
    """A potential with its answers in a dictionary, by string; 0.0 for all others."""

    def __init__(self, prefix=None, complete=None, support=None):
        self._prefix, self._complete = prefix or {}, complete or {}
        self._support = support

    def prefix(self, data):
        return self._prefix.get(data, 0.0)

    def complete(self, data):
        return self._complete.get(data, 0.0)

    def describe(self):
        return "own"

    def support(self):
        return self._support


class Moody(Own):
    """Says something else each time."""

    def __init__(self):
        super().__init__()
        self.asked = 0

    def complete(self, data):
        self.asked += 1
        return float(self.asked)


class Swapped(Own):
    """Its batch gives the answers in another order."""

    def complete_batch(self, data):
        return [self.complete(one) for one in reversed(list(data))]


class Short(Own):
    """Its batch forgets one."""

    def prefix_batch(self, data):
        return [0.0] * (len(data) - 1)


@pytest.mark.parametrize(
    ("potential", "law"),
    [
        (Own(prefix={b"a": -math.inf}), "no string has mass that begins with b'a'"),
        (Own(complete={b"ab": math.inf}), "complete gives numbers"),
        (Own(prefix={b"a": math.nan}), "prefix gives numbers"),
        (Own(prefix={b"a": "1"}), "prefix gives numbers"),
        (Own(complete={b"a": True}), "complete gives numbers"),
        (Moody(), "complete_batch says of each what complete says"),
        (Swapped(complete={b"a": 1.0}), "complete_batch says of each what complete says"),
        (Short(), "prefix_batch gives one answer for each"),
        (Own(support=lp.regex("a*")), "the support accepts every string with mass"),
        (Own(complete={data.encode(): -math.inf for data in ("ab", "b")}), "at least one sample has mass"),
    ],
)
def test_a_broken_law_is_named(potential, law):
    with pytest.raises(AssertionError, match=law):
        check_potential(potential, ["ab", "b"])


def test_a_potential_joined_with_itself_counts_twice():
    once = lp.potential("b", complete=count_b)
    assert (once & once).complete(b"bb") == 2.0
    assert (LM("a") & once & once).log_prob("b") == pytest.approx(LM("a").log_prob("b") + 1.0)


@pytest.mark.parametrize(
    "text",
    [
        lambda p: LM("a", max_tokens=3) & (p & lp.regex("[ab]{1,}")),
        lambda p: LM("a", max_tokens=3) & (lp.regex("[ab]{1,}") & p),
        lambda p: LM("a", max_tokens=3) & p & lp.regex("[ab]{1,}"),
    ],
    ids=["potential first", "constraint first", "one by one"],
)
def test_potentials_and_constraints_combine_in_any_order(text):
    made = text(lp.potential("b", complete=count_b))
    assert made.constraint == lp.regex("[ab]{1,}")
    assert made.log_prob("") == -math.inf
    assert made.log_prob("b") == pytest.approx(LM("a", max_tokens=3).log_prob("b") + 0.5)


def test_a_check_and_a_potential_of_the_same_function_do_not_share_answers():
    def says_one(text):
        return 1.0

    assert lp.potential("same", complete=says_one).complete(b"a") == 1.0
    state = lp.check("same", complete=says_one).initial()
    with pytest.raises(lp.CheckError, match="True or False"):
        lp.check("same", complete=says_one).accepts(state)


def test_functions_are_asked_about_a_text_once():
    asked = []

    def reward(texts):
        asked.extend(texts)
        return [0.0] * len(texts)

    potential = lp.potential("counted", complete=reward, batch=True)
    for _ in range(2):
        log_weights("complete", [(potential, data) for data in (b"a", b"b", b"a")])
    assert asked == ["a", "b"]


def test_an_unfinished_character_is_not_shown_and_bytes_that_are_no_text_have_no_mass():
    potential = lp.potential("shown", prefix=lambda text: float(len(text)))
    assert potential.prefix("né".encode()[:2]) == 1.0
    assert potential.complete("né".encode()[:2]) == -math.inf
    assert potential.prefix(b"\xff") == -math.inf


def test_an_expert_scores_canonical_tokens_whatever_was_drawn():
    expert = lp.expert(LM("b"), power=0.5)
    assert expert.complete(b"ab") == pytest.approx(0.5 * LM("b").log_prob("ab"))
    assert expert.complete(b"abc") == -math.inf  # no token spells c


def test_a_prefix_that_the_expert_cannot_spell_yet_may_still_have_mass():
    pairs = drawn_table(2, ["aa", "b"])
    expert = lp.expert(pairs("b"))
    assert expert.prefix(b"a") > -math.inf
    assert expert.complete(b"aa") > -math.inf


# Losses.


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("method", [lp.SMC(6), lp.IS(6), lp.SMC(6, proposal=lp.Mask())])
def test_when_all_is_excluded_the_losses_name_the_potential(hard, method):
    nothing = lp.potential("nothing", prefix=lambda text: -math.inf, hard=hard)
    with pytest.raises(lp.NoPosterior, match=r"potential\('nothing'\)") as caught:
        lp.infer(lambda: lp.sample("x", LM("a", max_tokens=3) & nothing), method=method, key=0)
    assert caught.value.losses == {"no mass under potential('nothing')": {"x": 6}}


def test_enumerate_finds_no_posterior_where_all_is_excluded():
    with pytest.raises(lp.NoPosterior):
        enumerated(LM("a", max_tokens=3) & lp.potential("nothing", complete=lambda text: -math.inf))


@pytest.mark.parametrize("batch", [False, True])
def test_a_potential_that_does_not_answer_in_time_is_lost_mass(batch):
    def slow(asked):
        time.sleep(5)
        return [0.0] * len(asked) if batch else 0.0

    potential = lp.potential(f"slow {batch}", complete=slow, batch=batch, timeout=0.05)
    with pytest.raises(lp.NoPosterior) as caught:
        lp.infer(lambda: lp.sample("x", LM("a", max_tokens=1) & potential), method=lp.IS(4), key=0)
    assert "check timed out" in caught.value.losses
    with pytest.raises(lp.CheckError, match="took too long"):
        (LM("a") & potential).log_prob("a")


# Wrong input.


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lp.potential("nothing"), "weighs nothing"),
        (lambda: lp.potential("", complete=count_b), "needs a name"),
        (lambda: lp.potential("x", complete=3), "`complete=` of the potential 'x' is a function"),
        (lambda: lp.potential("x", complete=count_b, timeout=0), "timeout"),
        (lambda: lp.potential("x", complete=count_b, batch=1), "`batch=`.*True or False"),
        (lambda: lp.expert(LM), "text distribution"),
        (lambda: lp.expert(LM("a"), power="1"), "expects a number"),
        (lambda: lp.expert(LM("a"), power=-1.0), "above 0"),
        (lambda: lp.expert(LM("a"), power=math.inf), "finite"),
        (lambda: lp.expert(LM("a")) & "b", "joins a potential"),
        (lambda: LM("a") & count_b, "a constraint such as .* or a potential"),
        (lambda: lp.local(LM("a") & lp.expert(LM("b"))), "Put it outside"),
        (lambda: check_potential(lp.regex("a"), ["a"]), "tests a Potential"),
        (lambda: check_potential(Own(), []), "no samples"),
    ],
)
def test_wrong_input_is_named(make, message):
    with pytest.raises(lp.LmpplError, match=message):
        make()


def test_a_potential_is_no_distribution():
    with pytest.raises(lp.InvalidTypeError, match="is a potential, not a distribution"):
        lp.infer(lambda: lp.sample("x", lp.expert(LM("a"))), method=lp.IS(1), key=0)


@pytest.mark.parametrize("value", [math.nan, math.inf, True, "1.0", None, np.zeros(2)])
@pytest.mark.parametrize("batch", [False, True])
def test_what_is_no_log_weight_is_an_error_that_names_the_potential(value, batch):
    potential = lp.potential(
        "odd", complete=lambda asked: [value] * len(asked) if batch else value, batch=batch
    )
    with pytest.raises(lp.CheckError, match="'odd'.*returned .* 'a'"):
        (LM("a") & potential).log_prob("a")
    with pytest.raises(lp.CheckError, match="'odd'"):
        lp.infer(lambda: lp.sample("x", LM("a", max_tokens=1) & potential), method=lp.IS(2), key=0)


@pytest.mark.parametrize("answers", [0.0, [0.0, 0.0]])
def test_a_batch_must_have_one_answer_for_each_text(answers):
    potential = lp.potential("short", complete=lambda texts: answers, batch=True)
    with pytest.raises(lp.CheckError, match=r"has `batch=True`.*it must return 3 times a number of nats"):
        log_weights("complete", [(potential, b"a"), (potential, b"b"), (potential, b"c")])


def test_a_potential_that_raises_is_an_error():
    potential = lp.potential("broken", complete=lambda text: 1 / 0)
    with pytest.raises(lp.CheckError, match="'broken' raised ZeroDivisionError"):
        (LM("a") & potential).log_prob("a")

    class Broken(Own):
        def complete(self, data):
            return 1 / 0

    with pytest.raises(lp.CheckError, match="own raised ZeroDivisionError"):
        (LM("a") & Broken()).log_prob("a")
