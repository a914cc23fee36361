"""What is read is read once: prompts by all particles and sites, a string by whoever goes on from it."""

from __future__ import annotations

import functools
from collections import OrderedDict

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lmppl as lp
from lmppl.errors import NotEnoughMemory
from lmppl.inference import contexts, text_sites
from lmppl.inference.contexts import Contexts, common_length, common_prefix
from lmppl.inference.device_sites import DeviceSites
from lmppl.inference.host_sites import HostSites
from lmppl.scoring import path_log_probs

pytestmark = pytest.mark.once

LONG = "### words\nred blue green\n### sentence\n" * 3
WORDS = lp.regex("[a-z ]{3,}")
MANY = lp.regex("[a-z ]{60,}")
NOT_MANY = lp.check("few q", prefix=lambda text: text.count("q") < 2)


@pytest.fixture
def num_read(lm, monkeypatch):
    """Counts the tokens that are read before strings are drawn, padding left out."""
    monkeypatch.setitem(vars(lm).setdefault("_compiled", {}), "prefixes", OrderedDict())
    counts = []
    original, original_prefix = contexts.read, contexts._read_prefix

    def read(lm, prefix, cache, tokens):
        counts.append(sum(map(len, tokens)))
        return original(lm, prefix, cache, tokens)

    def read_prefix(lm, cache, tokens):
        counts.append(len(tokens))
        return original_prefix(lm, cache, tokens)

    monkeypatch.setattr(contexts, "_read_prefix", read_prefix)
    monkeypatch.setattr(text_sites, "read", read)
    return counts


def own_systematic(key, log_weights, num_draws):
    return lp.inference.systematic(key, log_weights, num_draws)


def assert_scored_as_by_a_full_pass(posterior, texts_of):
    """Compares each string's log-probabilities with those of one pass over its prompt and itself."""
    for trace, weight in zip(posterior.traces, posterior.weights, strict=True):
        if not weight:
            continue
        for name, text in texts_of(trace).items():
            record = trace.texts[name]
            full = path_log_probs([text], [record.tokens])[0]
            assert sum(record.token_log_probs) == pytest.approx(full, abs=2e-4)


def test_a_prompt_is_read_once_for_all_particles_and_sites(lm, num_read):
    def program():
        first = lp.sample("x", lm(LONG, max_tokens=3))
        return first + lp.sample("y", lm(LONG, max_tokens=4))

    lp.infer(program, method=lp.SMC(8), key=0)
    assert num_read == [len(lm.encode_prompt(LONG))]


def test_what_prompts_begin_with_is_read_once(lm, num_read):
    endings = ["red\n", "blue and green\n", "a house\n"]

    def program():
        which = int(lp.sample("which", dist.Categorical(probs=np.full(3, 1 / 3))))
        return lp.sample("x", lm(LONG + endings[which], max_tokens=3))

    posterior = lp.infer(program, method=lp.SMC(8), key=0)
    which = {int(trace["which"]) for trace in posterior.traces}
    prompts = [lm.encode_prompt(LONG + endings[i])[:-1] for i in sorted(which)]
    assert len(prompts) == 3
    shared = common_prefix(prompts)
    assert shared > 20
    assert sum(num_read) == shared + sum(len(prompt) - shared for prompt in prompts)
    assert_scored_as_by_a_full_pass(
        posterior, lambda trace: {"x": lm(LONG + endings[int(trace["which"])], max_tokens=3)}
    )


@pytest.mark.parametrize(
    ("constraint", "resampler"),
    [
        (MANY, lp.inference.systematic),
        (MANY, own_systematic),
        (MANY & NOT_MANY, lp.inference.systematic),
    ],
    ids=["device", "host", "check"],
)
def test_a_site_goes_on_from_what_its_rows_have_read(lm, num_read, monkeypatch, constraint, resampler):
    def second(text):
        return lm(LONG + text + "\n### words\n", max_tokens=5)

    def program():
        first = lp.sample("x", lm(LONG, max_tokens=60) & constraint)
        return lp.sample("y", second(first) & WORDS)

    expected = []
    original = text_sites.TextSites._continued

    def continued(self, kept, room):
        for slot, prompt in zip(self._batch.slots, self._read, strict=True):
            string = self.rows[slot].text.prompt.removeprefix(LONG).removesuffix("\n### words\n")
            drawn = kept.tokens[slot][len(lm.encode_prompt(LONG)) :]
            pieces = b"".join(lm.vocabulary.token_bytes[token] for token in drawn)
            assert string.startswith(pieces.decode()), "kept under another slot"
            expected.append(len(prompt) - common_length(kept.tokens[slot], prompt))
        return original(self, kept, room)

    monkeypatch.setattr(text_sites.TextSites, "_continued", continued)
    monkeypatch.setattr(contexts, "_GAIN", 0)  # whatever is drawn, and GPUs draw otherwise
    method = lp.SMC(8, resampler=resampler, ess_threshold=0.6)
    posterior = lp.infer(program, method=method, key=0)
    assert posterior.diagnostics.num_resamplings > 0
    assert_scored_as_by_a_full_pass(
        posterior, lambda trace: {"x": lm(LONG, max_tokens=60), "y": second(trace["x"])}
    )
    # What is read anew is what stands behind the strings, and behind the place where their canonical tokens
    # are no longer those that were drawn.
    once, rows = num_read[0], sum(num_read[1:])
    assert once == len(lm.encode_prompt(LONG))
    assert len(num_read) == 2, "the rows' caches are not used"
    assert rows == sum(expected)


def test_rows_that_are_kept_under_the_wrong_slots_are_caught(lm, num_read, monkeypatch):
    """The mutant takes the cache of each row for its neighbour's."""
    original = DeviceSites._keep_context

    def keep(self, cache):
        self._cache_rows = np.roll(self._cache_rows, 1)
        original(self, cache)

    monkeypatch.setattr(DeviceSites, "_keep_context", keep)
    with pytest.raises(AssertionError, match="approx|comparison"):
        test_a_site_goes_on_from_what_its_rows_have_read(
            lm, num_read, monkeypatch, MANY, lp.inference.systematic
        )


def test_without_reuse_everything_is_read_anew_and_strings_are_the_same(lm, num_read, monkeypatch):
    def program():
        first = lp.sample("x", lm(LONG, max_tokens=60) & MANY)
        return lp.sample("y", lm(LONG + first + "\n### words\n", max_tokens=5) & WORDS)

    method = lp.SMC(8, ess_threshold=0.0)  # so that no two rows have the same string
    with_reuse = lp.infer(program, method=method, key=0)
    first = sum(num_read)
    original = Contexts.__init__
    monkeypatch.setattr(Contexts, "__init__", lambda self, reuse=True: original(self, reuse=False))
    without = lp.infer(program, method=method, key=0)
    assert sum(num_read) - first > first
    assert with_reuse.values == without.values
    np.testing.assert_allclose(with_reuse.log_weights, without.log_weights, atol=1e-3)


def test_prefixes_that_grow_shrink_and_branch_stay_readable(lm):
    """What is kept is not used up by what is read from it."""
    tokens = lm.encode_prompt(LONG * 3)
    other = lm.encode("a house and a car are in the garden of the castle")
    wanted = [tokens[:30], tokens[:40], tokens[:30] + other, tokens[:20], tokens[:40], tokens[:50], other]
    wanted += [tokens[:30] + other[:5] + other[:3], tokens[:30], tokens[:50] + other]
    kept = Contexts()
    for prefix in wanted:
        found = kept.prefix(lm, tuple(prefix))
        anew = Contexts().prefix(lm, tuple(prefix))
        np.testing.assert_allclose(found.logits, anew.logits, atol=1e-4)
        np.testing.assert_allclose(_next_logits(lm, found.cache), _next_logits(lm, anew.cache), atol=1e-4)
    for one in kept._prefixes[lm]:
        _next_logits(lm, one.cache)


def test_a_kept_prefix_that_is_read_on_from_in_place_is_caught(lm, monkeypatch):
    monkeypatch.setattr(contexts, "gathered", lambda lm, cache, rows: cache)
    with pytest.raises((RuntimeError, ValueError), match="deleted|donated"):
        test_prefixes_that_grow_shrink_and_branch_stay_readable(lm)


def _next_logits(lm, prefix):
    return np.asarray(_logits_after_a_token(lm, lm.params, contexts.empty_rows(lm, 1, 16), prefix))


@functools.partial(jax.jit, static_argnums=0)
def _logits_after_a_token(lm, params, cache, prefix):
    _, hidden = lm.extend(params, cache, jnp.array([[7]]), jnp.array([1]), prefix)
    return lm.logits(params, hidden)[0, 0]


def test_kept_rows_survive_a_site_that_extends_their_prefix(lm):
    """Strings after one prompt, one string after a longer one, and strings that go on from the first."""

    def program():
        first = lp.sample("x", lm(LONG, max_tokens=60) & MANY)
        middle = lp.sample("y", lm(LONG + "red red red\n", max_tokens=5) & WORDS)
        return middle + lp.sample("z", lm(LONG + first + "\n### words\n", max_tokens=5) & WORDS)

    posterior = lp.infer(program, method=lp.SMC(8), key=0)
    assert_scored_as_by_a_full_pass(
        posterior, lambda trace: {"z": lm(LONG + trace["x"] + "\n### words\n", max_tokens=5)}
    )


def test_too_little_memory_is_said_before_anything_is_compiled(lm, monkeypatch):
    monkeypatch.setattr(contexts, "free_on_device", lambda: 3 * 2**20)
    monkeypatch.setattr(lm.skeleton, "_compiled", {}, raising=False)

    def program():
        return lp.sample("x", lm(LONG, max_tokens=100) & WORDS)

    with pytest.raises(NotEnoughMemory) as caught:
        lp.infer(program, method=lp.SMC(500), key=0)
    message = str(caught.value)
    for part in ("512 particles", "tokens each", "MiB", "3 MiB are free", "Use fewer", repr(lm.name)):
        assert part in message, message
    names = {name if isinstance(name, str) else name[0] for name in lm.skeleton._compiled}
    assert not names & {"empty rows", "read rows", "gather rows", "run", "propose"}
    assert isinstance(caught.value, MemoryError)


@pytest.mark.parametrize("resampler", [lp.inference.systematic, own_systematic], ids=["device", "host"])
def test_an_interrupted_run_leaves_the_model_usable(lm, monkeypatch, resampler):
    def program():
        first = lp.sample("x", lm(LONG, max_tokens=6) & WORDS)
        return lp.sample("y", lm(LONG + first, max_tokens=6) & WORDS)

    def run():
        return lp.infer(program, method=lp.SMC(8, resampler=resampler, ess_threshold=1.0), key=0)

    whole = run()
    name = "run" if resampler is lp.inference.systematic else "step"
    kind = DeviceSites if name == "run" else HostSites
    original, calls = getattr(kind, name), []

    def interrupted(self, *args):
        calls.append(name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, *args)

    monkeypatch.setattr(kind, name, interrupted)
    partial = run()
    assert partial.partial
    assert not whole.partial
    monkeypatch.setattr(kind, name, original)
    again = run()
    assert again.values == whole.values
    np.testing.assert_array_equal(again.log_weights, whole.log_weights)


def test_common_lengths():
    assert common_length((1, 2, 3), (1, 2, 4)) == 2
    assert common_length((1, 2), (1, 2, 4)) == 2
    assert common_length((), (1,)) == 0
    assert common_prefix([(1, 2, 3), (1, 2), (1, 2, 5, 6)]) == 2
    assert common_prefix([]) == 0


def test_first_tokens_drawn_from_what_follows_another_prompt_are_caught(lm, num_read, monkeypatch):
    original = text_sites.TextSites._first_logits

    def rolled(self):
        return jnp.roll(original(self), 1, axis=1)

    monkeypatch.setattr(text_sites.TextSites, "_first_logits", rolled)
    with pytest.raises(AssertionError, match="approx|comparison"):
        test_a_site_goes_on_from_what_its_rows_have_read(
            lm, num_read, monkeypatch, MANY, lp.inference.systematic
        )
