"""What is compiled for GPUs, computed on a CPU, draws what the programs for CPUs draw."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmppl as lp
from lmppl.inference import step_programs, text_runs, text_steps, token_machines, token_reading
from lmppl.models import FlaxLM, attention, kv_cache, products

pytestmark = pytest.mark.once

PLACES = (token_machines, token_reading, attention, kv_cache, products)
PROMPT = "### words\nred\n### sentence\n"
FEW_E = lp.check("few e", prefix=lambda text: text.count("e") < 3)
SITES = {
    "mask": lambda lm: lm(PROMPT, max_tokens=8) & lp.regex("[a-z ]{4,}"),
    "search": lambda lm: lm(PROMPT, max_tokens=8, stop="t") & lp.regex("([a-z]{1,4} ?)*"),
    "local": lambda lm: lp.local(lm(PROMPT, max_tokens=5, stop=" a") & lp.choices(["The red", "The blue"])),
    "host": lambda lm: lm(PROMPT, max_tokens=8, stop=" b") & FEW_E,
    "host, limit": lambda lm: lm(PROMPT, max_tokens=3) & FEW_E,
}


class OwnPrograms(FlaxLM):
    """A model whose compiled programs are not those of its kind."""


def drawn(lm, site, monkeypatch, for_gpu):
    """Runs a site twice, the second prompt longer by the first string, noise drawn as on a GPU."""
    own = OwnPrograms("own programs", lm.config, lm.params, lm.codec)
    with monkeypatch.context() as patch:
        patch.setattr(text_runs, "prefers_noise", lambda: True)
        for place in PLACES:
            patch.setattr(place, "on_cpu", lambda: not for_gpu)

        def program():
            first = lp.sample("x", SITES[site](own))
            return first, lp.sample("y", own(PROMPT + first + "\n", max_tokens=3))

        proposal = lp.AWRS() if site == "search" else lp.Auto()
        return lp.infer(program, method=lp.SMC(12, proposal, ess_threshold=0.9), key=2)


def assert_same(found, expected):
    assert found.values == expected.values
    np.testing.assert_allclose(found.log_weights, expected.log_weights, atol=1e-3)
    assert found.losses == expected.losses
    assert found.diagnostics.num_resamplings == expected.diagnostics.num_resamplings
    assert found.diagnostics.text_sites == expected.diagnostics.text_sites


@pytest.mark.parametrize("site", SITES)
def test_they_draw_the_same(lm, site, monkeypatch):
    cpu, gpu = (drawn(lm, site, monkeypatch, for_gpu) for for_gpu in (False, True))
    assert cpu.diagnostics.num_resamplings > 0 or site == "local"
    assert_same(gpu, cpu)


def test_a_prompt_whose_last_token_is_read_twice_is_caught(lm, monkeypatch):
    cpu = drawn(lm, "host", monkeypatch, for_gpu=False)
    read = token_reading.read_tokens
    monkeypatch.setattr(text_steps, "read_tokens", lambda *args: read(*args[:-1], jnp.bool_(True)))
    gpu = drawn(lm, "host", monkeypatch, for_gpu=True)
    with pytest.raises(AssertionError):
        assert_same(gpu, cpu)


def test_loops_are_put_into_graphs_unless_the_user_has_said_what_is(lm, monkeypatch):
    assert step_programs._whole_loops(lm) is None or jax.default_backend() == "gpu"
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    options = step_programs._whole_loops(lm)
    assert options
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_enable_command_buffer=")
    assert step_programs._whole_loops(lm) is None
    monkeypatch.undo()
    counted = jax.jit(
        lambda n: jax.lax.while_loop(lambda i: i < n, lambda i: i + 1, 0), compiler_options=options
    )
    assert counted(3) == 3  # XLA knows these options
