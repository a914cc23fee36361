"""What can be asked of a posterior, and what it looks like."""

import collections
import contextvars

import numpy as np
import numpyro.distributions as dist
import pytest

import lmppl as lp
from lmppl import posterior as posteriors
from lmppl.inference.population import Population
from lmppl.posterior import NoAnswer, Posterior, frozen
from lmppl.traces import Trace


def posterior(values, weights, **options):
    traces = [Trace({"site": value}) for value in values]
    with np.errstate(divide="ignore"):
        return Posterior(list(values), traces, np.log(np.array(weights, float)), -1.5, 0.25, **options)


def test_equal_answers_are_pooled_and_sorted():
    found = posterior([frozenset("ab"), "x", frozenset("ba")], [1, 1.5, 1])
    assert list(found.answers().items()) == [
        (frozenset("ab"), pytest.approx(4 / 7)),
        ("x", pytest.approx(3 / 7)),
    ]
    assert found.probability("x") == pytest.approx(3 / 7)
    assert found.probability("never") == 0.0
    assert found.top(1)[0][0] == frozenset("ab")


@pytest.mark.parametrize("value", [[1, 2], {"a": [1]}, {1, 2}, np.array([1.0, 2.0]), ("a", [1])], ids=str)
def test_answers_need_not_be_hashable(value):
    found = posterior([value, "other", value], [1, 1, 2])
    assert found.probability(value) == pytest.approx(0.75)
    assert found.answers()[value] == pytest.approx(0.75)


def test_answers_may_be_no_number():
    found = posterior([float("nan"), np.float32("nan"), (1, float("nan")), 2.0], [1, 1, 1, 1])
    assert found.probability(float("nan")) == pytest.approx(0.5)
    assert "nan" in repr(found)
    assert "nan" in found._repr_html_()


def test_dead_particles_have_no_say():
    found = posterior(["a", NoAnswer("lost")], [1, 0])
    assert list(found.answers()) == ["a"]
    assert found.probability("a") == 1.0


def test_expectations_are_of_answers_or_of_a_site():
    found = posterior([1, 3], [1, 3])
    assert found.expect(lambda n: n) == pytest.approx(2.5)
    assert found.expect(lambda n: n == 3, site="site") == pytest.approx(0.75)
    np.testing.assert_allclose(found.expect(lambda n: np.array([n, 1.0])), [2.5, 1.0])


def test_marginals_name_unknown_sites():
    with pytest.raises(lp.UnknownSiteError, match="Did you mean 'site'"):
        posterior([1], [1]).marginal("sit")


def test_samples_follow_the_weights_and_the_key():
    found = posterior(["a", "b", "c"], [1, 0, 3])
    drawn = found.sample(0, 4000)
    assert drawn == found.sample(0, 4000)
    assert set(drawn) == {"a", "c"}
    assert abs(drawn.count("c") / 4000 - 0.75) < 5 * (0.75 * 0.25 / 4000) ** 0.5  # false-alarm rate 6e-7


def test_it_shows_as_text_and_html():
    found = posterior(["<b>", "x\ny"], [1, 3], losses={"truncated": {"goal": 3}})
    assert "3 truncated at 'goal'" in repr(found)
    assert "-1.500 +- 0.250" in repr(found)
    assert r"x\ny" in repr(found)
    page = found._repr_html_()
    assert "&lt;b&gt;" in page
    assert "<b>" not in page


def test_it_becomes_a_data_frame():
    frame = posterior(["a", "b"], [1, 3]).to_pandas()
    assert list(frame.columns) == ["answer", "probability", "log_weight", "site"]
    assert frame["probability"].sum() == pytest.approx(1.0)


def test_the_error_of_an_answer_is_that_of_independent_draws_when_weights_are_equal():
    found = posterior(["a"] * 25 + ["b"] * 75, [1] * 100)
    assert found.errors()["a"] == pytest.approx((0.25 * 0.75 / 100) ** 0.5)


def test_the_errors_of_answers_are_what_their_definition_says():
    values, weights = ["a", "b", "a", "c", "d"], np.array([1.0, 2.0, 4.0, 0.5, 0.0])
    shares = weights / weights.sum()
    defined = {}
    for answer in "abc":
        mine = np.array([value == answer for value in values])
        defined[answer] = np.sqrt(np.sum(shares**2 * (mine - shares[mine].sum()) ** 2))
    assert posterior(values, weights).errors() == pytest.approx(defined)


def test_many_different_answers_are_shown_in_time_that_grows_with_their_number(monkeypatch):
    calls = collections.Counter()
    monkeypatch.setattr(posteriors, "frozen", lambda value: calls.update(["frozen"]) or frozen(value))
    repr(posterior(list(range(500)), [1.0] * 500))
    assert calls["frozen"] < 20 * 500


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda found: found.top(-1), "top.* 0 or more, got -1"),
        (lambda found: found.top(1.5), "top.* int, got float"),
        (lambda found: found.sample(0, -1), "sample.* 0 or more, got -1"),
        (lambda found: found.sample(0, 1.5), "sample.* int, got float"),
        (lambda found: found.marginal(3), "name of a site, got int"),
    ],
)
def test_questions_that_make_no_sense_are_refused(ask, message):
    with pytest.raises(lp.LmpplError, match=message):
        ask(posterior(["a", "b"], [1, 1]))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda found: found.answers().mean(), r"mean\(\) is of numbers .* of apple it is 'apple', a str"),
        (lambda found: found.expect(str.upper), r"expect\(\) is of numbers .* of apple it is 'APPLE', a str"),
        (
            lambda found: found.expect(lambda text: [0.0] * len(text)),
            r"of one shape, but of fig it is \[0.0, 0.0",
        ),
    ],
)
def test_expectations_of_what_is_no_number_are_refused(ask, message):
    with pytest.raises(lp.InvalidTypeError, match=message):
        ask(posterior(["apple", "fig"], [2, 1]))


@pytest.mark.parametrize("write", [Posterior.save, Posterior.viewer])
def test_a_file_that_cannot_be_written_is_named(write, tmp_path):
    with pytest.raises(
        lp.InvalidInputError, match=r"missing/page' cannot be written: No such file or directory"
    ):
        write(posterior(["a"], [1]), tmp_path / "missing" / "page")


def test_a_page_is_written_whatever_the_answers_are_made_of(tmp_path):
    page = posterior(["\ud800", "é"], [1, 1]).viewer(tmp_path / "page.html")
    assert "é" in page.read_text(encoding="utf-8")


def test_it_is_saved_and_loaded_with_all_plain_values(tmp_path):
    values = [
        "a",
        1,
        2.5,
        None,
        True,
        (1, "b"),
        frozenset({"x"}),
        [1, {"k": (2,)}],
        np.float32(0.5),
        np.arange(3),
    ]
    found = posterior(values, np.arange(1, 11), losses={"truncated": {"goal": 3}}, method="SMC(10)")
    found.save(tmp_path / "run")
    again = lp.load_posterior(tmp_path / "run")
    assert [repr(value) for value in again.values] == [repr(value) for value in values]
    assert again.traces == found.traces
    np.testing.assert_array_equal(again.log_weights, found.log_weights)
    assert (again.log_evidence, again.losses, again.method) == (-1.5, {"truncated": {"goal": 3}}, "SMC(10)")


def test_what_cannot_be_saved_is_named_and_leaves_no_file(tmp_path):
    with pytest.raises(lp.InvalidTypeError, match="an answer holds object"):
        posterior([object()], [1]).save(tmp_path / "run")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"{}", b"\x1f\x8b damaged", b'{"format": "other"}'])
def test_damaged_files_are_refused(tmp_path, content):
    (tmp_path / "run").write_bytes(content)
    with pytest.raises(lp.InvalidInputError, match="run"):
        lp.load_posterior(tmp_path / "run")
    with pytest.raises(lp.InvalidInputError, match="no file"):
        lp.load_posterior(tmp_path / "missing")


def test_a_run_that_is_interrupted_gives_what_there_is_marked_partial():
    def program():
        number = lp.sample("n", dist.Categorical(probs=np.array([0.5, 0.5])))
        if number == 0:
            return "returned"
        lp.sample("m", dist.Normal(0.0, 1.0))
        raise KeyboardInterrupt

    found = lp.infer(program, method=lp.SMC(32))
    assert found.partial
    assert "interrupted" in repr(found)
    assert {str(value) for value in found.values} == {"returned", "(unfinished)"}
    assert "n" in found.traces[0]


def test_an_interrupt_while_the_posterior_is_made_does_not_lose_it(monkeypatch):
    def program():
        x = lp.sample("x", dist.Normal(0.0, 1.0))
        lp.twist("t", float(x))
        return float(x)

    expected = lp.infer(program, method=lp.SMC(4))
    calls = []

    def interrupted(population):
        calls.append(population)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return 0.0

    monkeypatch.setattr(Population, "log_evidence_error", property(interrupted))
    found = lp.infer(program, method=lp.SMC(4))
    assert len(calls) == 2
    assert not found.partial
    assert found.values == expected.values
    assert found.log_weights.tolist() == expected.log_weights.tolist() == [0.0] * 4


def test_a_run_that_is_interrupted_between_tokens_keeps_traces_and_weights_together():
    lm = lp.TableLM(["a", "b", "<end>"], [0.5, 0.5, 0.0], [[0.4, 0.4, 0.2]] * 3)
    asked = []

    def interrupt_late(text):
        asked.append(text)
        if len(text) > 3:
            raise KeyboardInterrupt
        return True

    def program():
        number = lp.sample("n", dist.Categorical(probs=np.array([0.9, 0.1])))
        lp.factor("prefer", 50.0 * float(number))
        return lp.sample("x", lm("a") & lp.check("late", prefix=interrupt_late))

    found = lp.infer(program, method=lp.SMC(64, ess_threshold=1.0))
    assert found.partial
    assert found.diagnostics.num_resamplings > 0
    assert found.marginal("n")[1] == pytest.approx(1.0)


def test_a_program_sees_the_callers_context():
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")
    assert lp.infer(lambda: variable.get(), method=lp.SMC(2)).values == ["set", "set"]


def test_large_log_weights_are_resampled_as_they_are():
    def program():
        x = lp.sample("x", dist.Bernoulli(0.5))
        lp.factor("big", -3e8 + 5.0 * float(x))
        lp.checkpoint("meet")
        lp.sample("y", dist.Normal(0.0, 1.0))
        return int(x)

    found = lp.infer(program, method=lp.SMC(64, ess_threshold=1.0))
    assert found.diagnostics.num_resamplings == 1
    assert found.probability(1) > 0.9
