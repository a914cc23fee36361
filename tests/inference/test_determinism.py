"""One key fixes a run: nothing that only looks at it changes a draw, nor do other particles."""

import numpy as np
import numpyro.distributions as dist
import pytest
from drawn_tables import drawn_table

import lmppl as lp

LM = drawn_table(5)


@lp.program
def program():
    scale = lp.sample("scale", dist.LogNormal(0.0, 0.5))
    first = lp.sample("first", LM("a", max_tokens=4) & lp.check("no cc", prefix=lambda s: "cc" not in s))
    lp.observe("length", dist.Normal(float(len(first)), scale), 2.0)
    second = lp.sample("second", LM(first, max_tokens=3) & lp.regex("[ab]*"))
    return first, second


def same(one, other):
    assert one.values == other.values
    assert one.traces == other.traces
    np.testing.assert_array_equal(one.log_weights, other.log_weights)
    assert one.log_evidence == other.log_evidence


def test_the_same_key_gives_the_same_posterior_with_and_without_progress_bar_and_viewer(tmp_path, capsys):
    method = lp.SMC(16, ess_threshold=1.0)
    plain = lp.infer(program, method=method, key=7, progress=False)
    shown = lp.infer(program, method=method, key=7, progress=True)
    assert capsys.readouterr().err != ""
    shown.viewer(tmp_path / "page.html")
    same(plain, shown)


def test_another_key_gives_another_posterior():
    assert (
        lp.infer(program, method=lp.SMC(16), key=1).traces
        != lp.infer(program, method=lp.SMC(16), key=2).traces
    )


@pytest.mark.parametrize("proposal", [lp.Auto(), lp.AWRS(), lp.AWRS(rounds=2), lp.Mask()], ids=str)
def test_under_importance_sampling_a_particle_does_not_depend_on_the_number_of_others(proposal):
    one = lp.infer(program, method=lp.IS(1, proposal=proposal), key=3)
    many = lp.infer(program, method=lp.IS(16, proposal=proposal), key=3)
    assert one.traces[0] == many.traces[0]
    assert one.log_weights[0] == pytest.approx(many.log_weights[0], abs=1e-5)
    assert len({trace["scale"] for trace in many.traces}) == 16


def test_what_is_drawn_does_not_depend_on_how_many_rows_are_padding(request):
    def program():
        return lp.sample("x", LM("a", max_tokens=4) & lp.regex("(ab|b|ca)*"))

    method = lp.SMC(6, ess_threshold=1.0)
    few = lp.infer(program, method=method, key=4)
    request.getfixturevalue("few_programs")
    many = lp.infer(program, method=method, key=4)
    assert many.diagnostics.num_resamplings > 0
    assert many.traces == few.traces
    np.testing.assert_allclose(many.log_weights, few.log_weights, atol=1e-5)


def test_a_progress_bar_is_silent_where_nobody_looks(capsys):
    lp.infer(program, method=lp.SMC(4), key=0)
    assert capsys.readouterr().err == ""
