"""What a run costs, counted and not timed: transfers, waits, calls of the model, compilations."""

from __future__ import annotations

import numpy as np
import numpyro.distributions as dist
import pytest

import lmppl as lp
from lmppl.inference import device_sites

PROMPT = "### words\nred\n### sentence\n"
WORDS = lp.regex("[a-z ]{2,}")


def site(lm, prompt=PROMPT, constraint=WORDS, **options):
    text = lm(prompt, **{"max_tokens": 8, **options})
    return lp.sample("x", text if constraint is None else text & constraint)


METHOD = lp.SMC(6, ess_threshold=1.0)


def diagnostics(lm, *args, method=METHOD, key=0, **options):
    posterior = lp.infer(site, lm, *args, method=method, key=key, **options)
    longest = max(len(trace.texts["x"].tokens) for trace in posterior.traces if "x" in trace)
    return posterior.diagnostics, longest


@pytest.mark.parametrize(("num_particles", "max_tokens"), [(1, 8), (6, 2), (6, 8), (20, 30)])
def test_the_device_is_waited_for_once_a_site(lm, max_tokens, num_particles):
    counts, _ = diagnostics(lm, max_tokens=max_tokens, method=lp.SMC(num_particles))
    assert counts.num_transfers == counts.num_synchronisations == 1
    assert 1 <= counts.num_forwards <= max_tokens
    assert counts.text_sites["x"].startswith("device")
    assert "over-approximate" not in counts.text_sites["x"]


@pytest.mark.parametrize("proposal", [lp.Auto(), lp.AWRS(lookahead=2)], ids=["mask", "awrs"])
def test_candidates_of_an_automaton_are_checked_without_a_transfer(lm, proposal):
    counts, longest = diagnostics(lm, method=lp.SMC(6, proposal, ess_threshold=0.0))
    assert counts.num_transfers == 1
    assert counts.num_forwards == longest - 1  # the prompt gives the first token
    assert (counts.num_checks > 0) == (proposal != lp.Auto())


def test_a_check_on_the_host_costs_one_transfer_a_token(lm):
    """As long as 16 candidates suffice, which they do where nearly all are accepted."""
    nearly_all = lp.check("few q", prefix=lambda text: text.count("q") < 3)
    method = lp.SMC(6, lp.AWRS(lookahead=1), ess_threshold=0.0)
    counts, longest = diagnostics(lm, PROMPT, nearly_all, method=method)
    assert counts.text_sites["x"].startswith("host")
    assert counts.text_sites["x"].endswith("; over-approximate: check('few q')")
    assert counts.num_forwards == longest - 1  # the prompt gives the first token
    assert counts.num_transfers == counts.num_synchronisations == longest


def test_more_candidates_cost_more_transfers_and_no_forward(lm):
    rare = lp.check("no e", prefix=lambda text: not set(text) & set("etaoinsrh "))
    method = lp.SMC(6, lp.AWRS(lookahead=4), ess_threshold=0.0)
    counts, _ = diagnostics(lm, PROMPT, rare, method=method, max_tokens=4)
    assert counts.num_transfers > counts.num_forwards
    assert counts.num_forwards <= 5


def test_long_strings_come_back_every_few_seconds(lm, monkeypatch):
    monkeypatch.setattr(device_sites, "_SECONDS_A_CALL", 0.0)
    monkeypatch.setattr(device_sites, "_LEAST_STEPS_A_CALL", 3)
    counts, longest = diagnostics(lm, method=lp.SMC(6, ess_threshold=0.0))
    assert counts.num_forwards == longest - 1  # the prompt gives the first token
    assert counts.num_transfers == -(-longest // 3)


# Compilations. Each case is warmed by a first run, and then by nothing else.

PROPOSALS = [lp.Auto(), lp.AWRS(lookahead=2)]
OTHER_PROMPTS = ["### words\nblue\n### sentence\n", "### words\na red car\n### sentence\n"]


@pytest.mark.parametrize("proposal", PROPOSALS, ids=["auto", "awrs"])
@pytest.mark.parametrize("constraint", [None, WORDS, lp.check("few e", prefix=lambda s: s.count("e") < 2)])
def test_a_second_run_compiles_nothing(lm, constraint, proposal):
    method = lp.SMC(6, proposal, ess_threshold=1.0)
    first, _ = diagnostics(lm, PROMPT, constraint, method=method, key=0)
    assert constraint is None or first.num_resamplings  # so that there is nothing left to be met first
    for key in (1, 2):
        counts, _ = diagnostics(lm, PROMPT, constraint, method=method, key=key)
        assert counts.num_compilations == 0


def test_the_first_run_of_another_kind_compiles(lm):
    """So that the zeros of the other tests mean something."""
    counts, _ = diagnostics(lm, method=lp.SMC(6, lp.AWRS(lookahead=7, max_checks=77)))
    assert counts.num_compilations > 0


def test_neither_do_prompts_constraints_and_numbers_of_similar_size(lm):
    diagnostics(lm, method=lp.SMC(20), key=0)
    similar = {
        "a prompt of similar length": lambda: diagnostics(lm, OTHER_PROMPTS[0], method=lp.SMC(20)),
        "another": lambda: diagnostics(lm, OTHER_PROMPTS[1], method=lp.SMC(20)),
        "more particles": lambda: diagnostics(lm, method=lp.SMC(24)),
        "fewer": lambda: diagnostics(lm, method=lp.SMC(17)),
        "a constraint": lambda: diagnostics(lm, PROMPT, lp.regex("[a-m ]{3,}[.]?"), method=lp.SMC(20)),
        "tokens": lambda: diagnostics(lm, max_tokens=9, method=lp.SMC(20)),
        "temperature": lambda: diagnostics(lm, temperature=0.7, method=lp.SMC(20)),
        "threshold": lambda: diagnostics(lm, method=lp.SMC(20, ess_threshold=0.9)),
    }
    compiled = {name: run()[0].num_compilations for name, run in similar.items()}
    assert compiled == dict.fromkeys(similar, 0)


def test_prompts_that_differ_between_particles_compile_once(lm):
    def program(key):
        which = int(lp.sample("which", dist.Categorical(probs=np.full(2, 0.5))))
        return lp.sample("x", lm(OTHER_PROMPTS[which], max_tokens=5) & WORDS)

    counts = [
        lp.infer(program, key, method=lp.SMC(12), key=key).diagnostics.num_compilations for key in range(4)
    ]
    assert counts[1:] == [0, 0, 0]


def test_rows_with_several_prompts_read_their_last_tokens_themselves(lm):
    """What one prompt gives holds for its rows alone: the program takes it where all have the same."""

    def program():
        which = int(lp.sample("which", dist.Categorical(probs=np.full(2, 0.5))))
        return lp.sample("x", lm(PROMPT + ("red", "blue and")[which], max_tokens=4))

    posterior = lp.infer(program, method=lp.SMC(8, ess_threshold=0.0), key=0)
    assert {int(trace["which"]) for trace in posterior.traces} == {0, 1}
    longest = max(len(trace.texts["x"].tokens) for trace in posterior.traces)
    assert posterior.diagnostics.num_forwards == longest


def test_rows_at_their_limit_need_no_program_of_their_own(lm, monkeypatch):
    programs = {}
    monkeypatch.setattr(lm.skeleton, "_compiled", programs, raising=False)
    nearly_all = lp.check("few q", prefix=lambda text: text.count("q") < 3)
    posterior = lp.infer(
        site, lm, PROMPT, nearly_all, max_tokens=2, method=lp.SMC(6, ess_threshold=0.0), key=0
    )
    assert any(len(trace.texts["x"].tokens) == 3 for trace in posterior.traces)  # two, and the end
    assert sum(key[0] == "propose" for key in programs if isinstance(key, tuple)) == 1
