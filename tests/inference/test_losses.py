"""Where mass goes: every lost particle is counted under its cause and site, and nothing hangs."""

import time

import numpy as np
import numpyro.distributions as dist
import pytest

import lmppl as lp

UNIFORM = np.full((4, 4), 0.25)
LM = lp.TableLM(["a", "b", "c", "<end>"], UNIFORM[0], UNIFORM)
ENDLESS = lp.TableLM(["a", "b", "<end>"], [0.5, 0.5, 0.0], [[0.5, 0.5, 0.0]] * 3)


def losses_of(program, method=None):
    with pytest.raises(lp.NoPosterior) as caught:
        lp.infer(program, method=method or lp.SMC(6))
    return caught.value


def test_an_unsatisfiable_constraint_is_named_with_its_site():
    error = losses_of(lambda: lp.sample("word", LM("a") & lp.regex("z+")))
    assert error.losses == {"constraint unsatisfiable": {"word": 6}}
    assert "6 constraint unsatisfiable at 'word'" in str(error)
    assert error.log_evidence == -np.inf


def test_a_check_that_refuses_everything_ends_in_a_dead_population():
    error = losses_of(lambda: lp.sample("word", LM("a") & lp.check("never", prefix=lambda s: False)))
    assert error.losses == {"constraint unsatisfiable": {"word": 6}}


def test_a_false_condition_is_named():
    error = losses_of(lambda: lp.constrain("impossible", False))
    assert error.losses == {"constrain false": {"impossible": 6}}
    assert "max_tokens" not in str(error)


def test_more_losses_than_particles_are_explained():
    def program():
        lp.constrain("half", lp.sample("x", dist.Bernoulli(0.5)) == 1)
        lp.constrain("impossible", False)

    error = losses_of(program, lp.SMC(8, ess_threshold=1.0))
    assert error.losses["constrain false"]["impossible"] == 8
    assert error.losses["constrain false"]["half"] > 0
    assert "took the place of others" in str(error)
    assert "took the place" not in str(losses_of(lambda: lp.constrain("impossible", False)))


def test_a_factor_of_minus_infinity_is_a_false_condition():
    assert losses_of(lambda: lp.factor("f", -np.inf)).losses == {"constrain false": {"f": 6}}


def test_a_string_that_cannot_end_at_the_limit_is_truncated():
    error = losses_of(lambda: lp.sample("word", ENDLESS("a", max_tokens=3)))
    assert error.losses == {"truncated": {"word": 6}}
    assert "raise max_tokens" in str(error)


def test_a_check_that_takes_too_long_loses_the_particle():
    def forever(text):
        while True:
            time.sleep(0.001)

    error = losses_of(lambda: lp.sample("word", LM("a") & lp.check("forever", prefix=forever, timeout=0.05)))
    assert error.losses == {"check timed out": {"word": 6}}


def test_a_masked_check_that_takes_too_long_loses_the_particle():
    def forever(text):
        while True:
            time.sleep(0.001)

    program = lambda: lp.sample("word", LM("a") & lp.check("forever", prefix=forever, timeout=0.05))  # noqa: E731
    assert losses_of(program, lp.SMC(3, proposal=lp.Mask())).losses == {"check timed out": {"word": 3}}


def test_a_check_that_never_returns_is_asked_a_few_times_only():
    calls = []

    def forever(text):
        calls.append(text)
        while True:
            time.sleep(0.001)

    error = losses_of(lambda: lp.sample("word", LM("a") & lp.check("forever", prefix=forever, timeout=0.05)))
    assert error.losses == {"check timed out": {"word": 6}}
    assert len(calls) <= 2


def test_bytes_that_are_no_text_are_undecodable():
    lm = ByteTable()
    error = losses_of(lambda: lp.sample("word", lm("a", max_tokens=1) & NonEmpty()))
    assert error.losses == {"undecodable": {"word": 6}}


def test_losses_of_a_living_posterior_are_counted_over_the_whole_run():
    def program():
        number = lp.sample("n", dist.Categorical(probs=np.array([0.5, 0.5])))
        lp.constrain("one", bool(number == 1))
        return int(number)

    posterior = lp.infer(program, method=lp.SMC(64))
    lost = posterior.losses["constrain false"]["one"]
    assert 0 < lost < 64
    assert posterior.probability(1) == pytest.approx(1.0)


def test_a_check_that_raises_is_an_error_and_never_false():
    def broken(text):
        raise ValueError("boom")

    with pytest.raises(lp.CheckError, match="'broken'") as caught:
        lp.infer(lambda: lp.sample("word", LM("a") & lp.check("broken", prefix=broken)), method=lp.SMC(4))
    assert isinstance(caught.value.__cause__, ValueError)


def test_an_error_in_a_program_leaves_no_state_behind():
    def failing():
        lp.sample("x", LM("a", max_tokens=2))
        raise RuntimeError("the user's own")

    with pytest.raises(RuntimeError, match="the user's own"):
        lp.infer(failing, method=lp.SMC(4))
    with pytest.raises(lp.OutsideProgramError):
        lp.sample("x", LM("a"))
    assert lp.infer(lambda: lp.sample("x", LM("a", max_tokens=2)), method=lp.SMC(4)).log_evidence < 0


def test_finally_clauses_of_lost_particles_run():
    closed = []

    def program():
        number = lp.sample("n", dist.Bernoulli(0.5))
        try:
            lp.constrain("c", bool(number))
        finally:
            closed.append(int(number))
        return int(number)

    lp.infer(program, method=lp.SMC(32))
    assert 0 in closed


class NonEmpty(lp.Constraint):
    """Accepts every byte string but the empty one."""

    def initial(self):
        return b""

    def advance(self, state, data):
        return state + data

    def accepts(self, state):
        return bool(state)

    def describe(self):
        return "non-empty"

    def __eq__(self, other):
        return isinstance(other, NonEmpty)

    def __hash__(self):
        return hash(NonEmpty)


def ByteTable():  # noqa: N802
    """A table whose only continuation is a byte that begins a character and never finishes it."""
    lm = lp.TableLM(["a", "?", "<end>"], [0.0, 1.0, 0.0], [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    lm.vocabulary = lp.Vocabulary((b"a", b"\xc3", b""), lm.vocabulary.eos_ids)
    return lm
