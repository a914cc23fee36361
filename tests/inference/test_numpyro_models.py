"""Plain NumPyro models run unmodified, and their evidence is what mathematics says."""

import concurrent.futures
import functools
import math
import os
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers

import lmppl as lp
from lmppl import distributions
from lmppl.testing import assert_unbiased

DATA = jnp.array([0.3, -0.4, 1.1, 0.9])


def conjugate(y=None):
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    with numpyro.plate("data", 4):
        numpyro.sample("y", dist.Normal(mean, 0.5), obs=y)
    numpyro.deterministic("twice", 2 * mean)


def log_normal_evidence(y, prior_variance=1.0, variance=0.25):
    """Log density of `y` under N(0, variance I + prior_variance 1 1^T)."""
    covariance = variance * np.eye(len(y)) + prior_variance
    _, log_determinant = np.linalg.slogdet(covariance)
    quadratic = y @ np.linalg.solve(covariance, y)
    return -0.5 * (quadratic + log_determinant + len(y) * math.log(2 * math.pi))


def test_the_evidence_of_a_conjugate_model_is_unbiased():
    """False-alarm rate 1e-6."""
    expected = math.exp(log_normal_evidence(np.asarray(DATA, float)))
    found = [
        math.exp(lp.infer(conjugate, DATA, method=lp.SMC(64), key=key).log_evidence) for key in range(40)
    ]
    assert_unbiased(found, expected, failure_rate=1e-6)
    forgetful = DATA.at[2:].set(0.0)  # the mutant: half of the data forgotten
    found = [
        math.exp(lp.infer(conjugate, forgetful, method=lp.SMC(64), key=key).log_evidence) for key in range(30)
    ]
    with pytest.raises(AssertionError, match="standard errors"):
        assert_unbiased(found, expected, failure_rate=1e-6)


def test_the_posterior_of_a_conjugate_model_is_right():
    posterior = lp.infer(conjugate, DATA, method=lp.SMC(4096), key=0)
    precision = 1 + 4 / 0.25
    mean = float(DATA.sum()) / 0.25 / precision
    assert posterior.marginal("mean").mean() == pytest.approx(mean, abs=0.03)
    assert posterior.marginal("twice").mean() == pytest.approx(
        2 * posterior.marginal("mean").mean(), rel=1e-5
    )
    assert set(posterior.traces[0]) == {"mean", "twice"}
    assert "y" in posterior.traces[0].observed


def test_enumeration_of_a_finite_numpyro_model_is_exact():
    def model():
        coin = numpyro.sample("coin", dist.Bernoulli(0.25))
        numpyro.sample(
            "flips", dist.Bernoulli(jnp.where(coin == 1, 0.9, 0.2)).expand([3]), obs=jnp.array([1, 1, 0])
        )
        numpyro.factor("tilt", float(np.log(2.0)) * float(coin))
        return int(coin)

    exact = lp.infer(model, method=lp.Enumerate())
    heads, tails = 0.25 * 0.9**2 * 0.1 * 2, 0.75 * 0.2**2 * 0.8
    assert exact.log_evidence == pytest.approx(math.log(heads + tails), abs=1e-5)
    assert exact.probability(1) == pytest.approx(heads / (heads + tails), abs=1e-5)


def test_latents_in_a_plate_are_drawn_with_its_shape():
    def model():
        with numpyro.plate("people", 3):
            return numpyro.sample("height", dist.Normal(1.7, 0.1))

    posterior = lp.infer(model, method=lp.SMC(8))
    assert posterior.traces[0]["height"].shape == (3,)


def test_handlers_inside_a_model_are_respected():
    def model():
        with handlers.scale(scale=2.0):
            numpyro.sample("y", dist.Normal(0.0, 1.0), obs=0.5)
        with handlers.mask(mask=False):
            numpyro.sample("z", dist.Normal(0.0, 1.0), obs=0.5)

    one = float(dist.Normal(0.0, 1.0).log_prob(0.5))
    assert lp.infer(model, method=lp.SMC(4)).log_evidence == pytest.approx(2 * one, abs=1e-5)


def test_statements_of_both_kinds_mix_and_branch_in_python():
    def model():
        if numpyro.sample("which", dist.Bernoulli(0.5)):
            lp.observe("o", dist.Normal(0.0, 1.0), 0.0)
        else:
            numpyro.sample("o", dist.Normal(3.0, 1.0), obs=0.0)
        return None

    posterior = lp.infer(model, method=lp.SMC(512))
    assert posterior.marginal("which")[1] == pytest.approx(1 / (1 + math.exp(-4.5)), abs=0.02)


def test_unsupported_primitives_are_refused_by_name():
    def with_param():
        numpyro.param("p", 0.0)

    def with_subsample():
        with numpyro.plate("data", 10, subsample_size=2):
            numpyro.sample("x", dist.Normal(0.0, 1.0))

    with pytest.raises(lp.InvalidInputError, match=r"numpyro.param\('p'\)"):
        lp.infer(with_param, method=lp.SMC(2))
    with pytest.raises(lp.InvalidInputError, match="random subsample"):
        lp.infer(with_subsample, method=lp.SMC(2))


def test_numpyro_s_own_stack_is_left_as_it_was():
    def failing():
        with numpyro.plate("data", 2):
            numpyro.sample("x", dist.Normal(0.0, 1.0))
            raise RuntimeError("in a plate")

    with handlers.seed(rng_seed=0):
        before = list(numpyro.primitives._PYRO_STACK)
        with pytest.raises(RuntimeError, match="in a plate"):
            lp.infer(failing, method=lp.SMC(4))
        assert before == numpyro.primitives._PYRO_STACK


@pytest.mark.parametrize(
    "family",
    [
        lambda i: dist.Normal(float(i), 1.0 + i),
        lambda i: dist.LogNormal(0.0, 0.5 + i),
        lambda i: dist.Categorical(probs=np.array([0.2, 0.3 + 0.1 * i, 0.5 - 0.1 * i], np.float32)),
        lambda i: dist.Dirichlet(np.ones(3, np.float32) + i),
        lambda i: dist.Normal(np.zeros(2, np.float32), 1.0 + i).to_event(1),
        lambda i: dist.MixtureSameFamily(
            dist.Categorical(probs=np.array([0.5, 0.5], np.float32)),
            dist.Normal(np.array([0.0, 1.0 + i], np.float32), 1.0),
        ),
    ],
    ids=["normal", "log-normal", "categorical", "dirichlet", "event", "mixture"],
)
def test_stacked_draws_and_scores_are_those_of_each_distribution_alone(family):
    members = [family(i) for i in range(3)]
    keys = np.arange(6, dtype=np.uint32).reshape(3, 2)
    values, log_probs = distributions.draw(members, keys)
    for i, member in enumerate(members):
        (alone,), _ = distributions.draw([member], keys[i : i + 1])
        np.testing.assert_allclose(values[i], alone, rtol=1e-5)
        assert log_probs[i] == pytest.approx(float(jnp.sum(member.log_prob(values[i]))), abs=1e-4)
    np.testing.assert_allclose(distributions.log_probs(members, values), log_probs, atol=1e-4)


def test_a_run_inside_a_run_is_not_seen_by_the_outer_one():
    def inner():
        numpyro.sample("o", dist.Normal(0.0, 1.0), obs=0.5)
        return int(numpyro.sample("n", dist.Bernoulli(0.5)))

    def outer():
        chance = lp.infer(inner, method=lp.Enumerate()).probability(1)
        numpyro.sample("o", dist.Normal(0.0, 1.0), obs=chance)

    expected = float(dist.Normal(0.0, 1.0).log_prob(0.5))
    assert lp.infer(outer, method=lp.SMC(4)).log_evidence == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("weight", [jnp.nan, jnp.inf])
@pytest.mark.parametrize("method", [lp.SMC(2), lp.Enumerate()], ids=str)
def test_a_factor_that_is_no_log_weight_is_an_error(weight, method):
    with pytest.raises(lp.InvalidInputError, match="'f'"):
        lp.infer(lambda: numpyro.factor("f", weight), method=method)


def test_sample_shapes_are_respected():
    posterior = lp.infer(
        lambda: numpyro.sample("x", dist.Normal(0.0, 1.0), sample_shape=(3,)), method=lp.SMC(2)
    )
    assert posterior.traces[0]["x"].shape == (3,)


def test_a_masked_latent_is_refused():
    def model():
        with handlers.mask(mask=False):
            numpyro.sample("x", dist.Bernoulli(0.3))

    with pytest.raises(lp.InvalidInputError, match="latent 'x'"):
        lp.infer(model, method=lp.SMC(2))


def test_a_latent_that_a_handler_fixes_counts_by_its_density():
    def model():
        with handlers.substitute(data={"x": jnp.array(0.5)}):
            return float(numpyro.sample("x", dist.Normal(0.0, 1.0)))

    posterior = lp.infer(model, method=lp.SMC(4))
    assert posterior.values == [0.5] * 4
    assert posterior.log_evidence == pytest.approx(float(dist.Normal(0.0, 1.0).log_prob(0.5)), abs=1e-5)


def test_runs_in_several_threads_do_not_disturb_each_other():
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(lp.infer, conjugate, DATA, method=lp.SMC(16), key=key) for key in range(6)]
        found = [run.result().log_evidence for run in runs]
    assert found == [lp.infer(conjugate, DATA, method=lp.SMC(16), key=key).log_evidence for key in range(6)]


LATE = """
import sys
{first}
import lmppl as lp

lm = lp.TableLM(["a", "b", "."], [0.5, 0.3, 0.2], [[0.2, 0.3, 0.5], [0.4, 0.1, 0.5], [0.0, 0.0, 1.0]])

def text():
    return lp.sample("text", lm("", max_tokens=2))

def model():
    said = lp.sample("text", lm("", max_tokens=2))
    import numpyro

    bias = numpyro.sample("bias", numpyro.distributions.Normal(0.0, 1.0))
    numpyro.factor("length", 0.5 * len(said))
    return round(float(bias), 3)

for method in (lp.SMC(4), lp.IS(4)):
    lp.infer(text, method=method, progress=False)
print("numpyro" in sys.modules)
for method in ({methods},):
    print(lp.infer(model, method=method, progress=False).log_evidence)
print("numpyro" in sys.modules)
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """Gives what a process of its own prints; the later ones find the programs that the first compiled."""
    programs = {
        "LMPPL_COMPILE_CACHE": str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }

    @functools.cache
    def said(first, methods):
        code = LATE.format(first=first, methods=methods)
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=os.environ | programs, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    return said


@pytest.mark.parametrize(("method", "number"), [("lp.SMC(4)", 0), ("lp.IS(4)", 1)])
def test_a_program_may_be_the_first_to_import_numpyro_and_loses_no_site(method, number, said):
    was_there, late, is_there = said("", method)
    assert (was_there, is_there) == ("False", "True")
    assert late == said("import numpyro", "lp.SMC(4), lp.IS(4)")[1 + number]
