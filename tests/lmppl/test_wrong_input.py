"""Wrong input gets an error at once that says what is wrong with this value, and what to do."""

import operator
import re

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import regex

import lmppl as lp

ROWS = np.full((3, 3), 1 / 3)
LM = lp.TableLM(["a", "b", "<end>"], ROWS[0], ROWS)
NORMAL = dist.Normal(0.0, 1.0)


def infer(program, **options):
    return lp.infer(program, **{"method": lp.SMC(2), **options})


@pytest.mark.parametrize(
    ("distribution", "message"),
    [
        (3, "Got int"),
        (LM, r"distribution over strings is `lm\(prompt\)`"),
        (lp.regex("a"), r"Write `lm\(prompt\) & constraint`"),
        (None, "Got NoneType"),
    ],
)
def test_what_is_sampled_must_be_a_distribution(distribution, message):
    with pytest.raises(lp.InvalidTypeError, match=message):
        infer(lambda: lp.sample("x", distribution))


@pytest.mark.parametrize("name", ["", "  ", "answer", "log_weight", "__mine"])
def test_names_that_are_empty_or_reserved_are_refused(name):
    with pytest.raises(lp.SiteNameError, match=r"empty|reserved"):
        infer(lambda: lp.sample(name, NORMAL))


def test_a_name_must_be_a_string():
    with pytest.raises(lp.InvalidTypeError, match="name comes first"):
        infer(lambda: lp.sample(NORMAL, "x"))


def test_a_name_that_is_reached_twice_says_how_to_index_it():
    def program():
        for _ in range(2):
            lp.sample("x", NORMAL)

    with pytest.raises(lp.SiteNameError, match=r"second time.*test_wrong_input.py:\d+.*x\[\{i\}\]"):
        infer(program)


@pytest.mark.parametrize("statement", [lp.constrain, lp.factor, lp.twist])
def test_conditions_and_weights_share_the_names(statement):
    def program():
        lp.sample("x", NORMAL)
        statement("x", True)

    with pytest.raises(lp.SiteNameError, match="second time"):
        infer(program)


@pytest.mark.parametrize("condition", [1, "yes", None, np.array([True, False]), jnp.array(1.0)], ids=str)
def test_a_condition_must_be_true_or_false(condition):
    with pytest.raises(lp.InvalidTypeError, match="True or False"):
        infer(lambda: lp.constrain("c", condition))


@pytest.mark.parametrize("condition", [True, np.bool_(True), jnp.array(True)], ids=["python", "numpy", "jax"])
def test_all_kinds_of_bool_are_conditions(condition):
    assert infer(lambda: lp.constrain("c", condition)).log_evidence == 0.0


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), "heavy", np.ones(2)], ids=str)
def test_a_log_weight_must_be_one_number_below_infinity(weight):
    with pytest.raises((lp.InvalidInputError, lp.InvalidTypeError), match=r"lp.factor\('f'\)"):
        infer(lambda: lp.factor("f", weight))


def test_a_twist_must_be_finite():
    with pytest.raises(lp.InvalidInputError, match="divided out"):
        infer(lambda: lp.twist("t", -np.inf))


@pytest.mark.parametrize(
    ("distribution", "value", "message"),
    [
        (LM("a"), 3, "must be a str"),
        (NORMAL, "3", "observes numbers"),
        (dist.Normal(jnp.zeros(3), 1.0), np.zeros(2), r"shape \(2,\)"),
    ],
)
def test_data_must_fit_the_distribution(distribution, value, message):
    with pytest.raises(lp.LmpplError, match=message):
        infer(lambda: lp.observe("o", distribution, value))


def test_an_observation_whose_density_is_no_number_is_an_error():
    with pytest.raises(lp.InvalidInputError, match="'o'.*nan"):
        infer(lambda: lp.observe("o", dist.LogNormal(0.0, 1.0), -1.0))


def test_a_proposal_must_be_over_the_same_kind_of_value():
    with pytest.raises(lp.InvalidTypeError, match="same kind"):
        infer(lambda: lp.sample("x", NORMAL, proposal=LM("a")))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lp.SMC(0), "at least 1 particle"),
        (lambda: lp.SMC(-3), "at least 1 particle"),
        (lambda: lp.SMC(2.5), "expects an int"),
        (lambda: lp.SMC(True), "expects an int"),
        (lambda: lp.IS(0), "at least 1 particle"),
        (lambda: lp.SMC(4, ess_threshold=1.5), r"\[0, 1\]"),
        (lambda: lp.SMC(4, ess_threshold="often"), "expects a number"),
        (lambda: lp.SMC(4, proposal=lp.AWRS), "parentheses"),
        (lambda: lp.SMC(4, proposal=LM("a")), "given to lp.sample"),
        (lambda: lp.SMC(4, resampler="systematic"), "expects a function"),
        (lambda: lp.AWRS(lookahead=0), "at least 1"),
        (lambda: lp.AWRS(rounds=1), "at least 2"),
        (lambda: lp.AWRS(max_checks=0), "at least 1"),
        (lambda: lp.Enumerate(max_paths=0), "at least 1"),
    ],
)
def test_options_of_methods_are_checked_when_they_are_made(make, message):
    with pytest.raises(lp.LmpplError, match=message):
        make()


@pytest.mark.parametrize("key", ["0", 1.5, None, True, jnp.zeros(3)], ids=str)
def test_a_key_of_the_wrong_type_is_refused(key):
    with pytest.raises(lp.InvalidTypeError, match="key must be an int"):
        infer(lambda: None, key=key)


def test_a_batch_of_keys_and_a_negative_key_are_refused():
    with pytest.raises(lp.InvalidTypeError, match=r"shape \(2,\)"):
        infer(lambda: None, key=jax.random.split(jax.random.key(0)))
    with pytest.raises(lp.InvalidInputError, match="0 or more"):
        infer(lambda: None, key=-1)


def test_all_kinds_of_jax_keys_are_keys():
    program = lambda: float(lp.sample("x", NORMAL))  # noqa: E731
    answers = [
        infer(program, key=key).values for key in (3, np.int64(3), jax.random.key(3), jax.random.PRNGKey(3))
    ]
    assert answers[0] == answers[1] == answers[2] == answers[3]
    assert infer(program, key=jax.random.key(3, impl="rbg")).values != answers[0]
    assert infer(program, key=2**40 + 3).values != answers[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lp.infer(3), "expects a program"),
        (lambda: lp.infer(lambda: None, method=lp.SMC), "the class SMC"),
        (lambda: lp.infer(lambda: None, method="smc"), "expects a method"),
        (lambda: lp.program(3), "expects a function"),
        (lambda: lp.local(3), "expects a text distribution"),
        (lambda: lp.chat(), "no message"),
        (lambda: lp.chat(user=3), "expects a str"),
    ],
)
def test_wrong_calls_are_named(call, message):
    with pytest.raises(lp.LmpplError, match=message):
        call()


async def coroutine():
    pass


def generator():
    yield


@pytest.mark.parametrize("function", [coroutine, generator])
def test_a_program_is_a_plain_function(function):
    with pytest.raises(lp.InvalidTypeError, match="plain function"):
        lp.program(function)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stop": ""}, "empty string"),
        ({"stop": ["\n"]}, "one str"),
        ({"max_tokens": -1}, "at least 0"),
        ({"max_tokens": 2.0}, "int or None"),
        ({"temperature": 0}, "greedy"),
        ({"temperature": float("inf")}, r"from 1e-30 to 1e\+30, got inf"),
        ({"temperature": float("nan")}, "got nan"),
        ({"temperature": 1e-40}, "got 1e-40"),
        ({"temperature": True}, "bool"),
        ({"temperature": "warm"}, "must be a number, got str"),
    ],
)
def test_options_of_text_are_checked(options, message):
    with pytest.raises(lp.LmpplError, match=message):
        LM("a", **options)


def test_numbers_of_numpy_are_numbers():
    assert LM("a", max_tokens=np.int64(3), temperature=np.float32(0.5)) == LM(
        "a", max_tokens=3, temperature=0.5
    )


def test_a_limit_beyond_all_integers_of_the_device_is_a_limit():
    found = infer(lambda: lp.sample("x", LM("a", max_tokens=10**12)))
    assert found.log_evidence == 0.0


@pytest.mark.parametrize(
    ("resampler", "message"),
    [
        (lambda key, log_weights, size: None, "it gave NoneType"),
        (lambda key, log_weights, size: np.zeros(size), "it gave ndarray"),
        (lambda key, log_weights, size: np.zeros(size - 1, int), r"an array of shape \(1,\)"),
        (lambda key, log_weights, size: np.full(size, size), "from 0 to 1 .*; it gave 2"),
        (lambda key, log_weights, size: np.full(size, -1), "it gave -1"),
        (lambda key, log_weights, size: np.argsort(log_weights), "0, a particle that is lost"),
    ],
    ids=["nothing", "floats", "too few", "too large", "negative", "lost"],
)
def test_what_a_resampler_gives_must_be_ancestors(resampler, message):
    lost = iter([True, False])

    def program():
        lp.constrain("c", not next(lost))
        lp.sample("x", NORMAL)

    with pytest.raises(lp.InvalidInputError, match=message):
        infer(program, method=lp.SMC(2, ess_threshold=1.0, resampler=resampler))


def test_prompts_and_constraints_of_the_wrong_type_are_named():
    with pytest.raises(lp.InvalidTypeError, match="str or lp.chat"):
        LM(3)
    with pytest.raises(lp.InvalidTypeError, match="expects a constraint"):
        operator.and_(LM("a"), "b")
    with pytest.raises(lp.InvalidTypeError, match="scores a str"):
        LM("a").log_prob(3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: lp.sample("x", NORMAL),
        lambda: lp.observe("x", NORMAL, 0.0),
        lambda: lp.constrain("x", True),
        lambda: lp.factor("x", 0.0),
        lambda: lp.twist("x", 0.0),
        lambda: lp.checkpoint("x"),
        lambda: lp.cached(len, "abc"),
    ],
)
def test_statements_outside_of_a_run_say_how_to_run_one(call):
    with pytest.raises(lp.OutsideProgramError, match="lp.infer"):
        call()


def test_enumeration_of_what_is_not_finite_is_refused():
    with pytest.raises(lp.InvalidInputError, match="'x'.*Normal.*not finite"):
        lp.infer(lambda: lp.sample("x", NORMAL), method=lp.Enumerate())
    with pytest.raises(lp.InvalidInputError, match="max_tokens"):
        lp.infer(lambda: lp.sample("x", LM("a")), method=lp.Enumerate(max_paths=500))


def test_an_unknown_model_folder_and_an_empty_prompt_are_named():
    with pytest.raises(lp.ModelNotFoundError, match="/nowhere/at/all"):
        lp.load("/nowhere/at/all")
    with pytest.raises(lp.InvalidInputError, match="empty"):
        lp.load()("")


def test_unknown_names_of_the_package_are_attribute_errors():
    with pytest.raises(AttributeError, match="smaple"):
        lp.smaple  # noqa: B018


DEEP = "(" * 10_000 + "a" + ")" * 10_000


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lp.pattern(DEEP), r"The expression '\(+\.\.\.' is nested too deeply.*Use fewer groups"),
        (lambda: lp.regex(DEEP), r"The pattern '\(+\.\.\.' is nested too deeply.*Use fewer groups"),
        (
            lambda: lp.json({"type": "string", "pattern": DEEP}),
            r"'pattern': The pattern '\(+\.\.\.' is nested",
        ),
        (lambda: lp.lark(f"start: A\nA: /{DEEP}/"), r"Terminal A.*'\(+\.\.\.', it is nested too deeply"),
        (lambda: lp.lark(f"start: A\nA: /{DEEP}/", parser="lalr"), r"Terminal A.*'\(+\.\.\.', it is nested"),
    ],
)
def test_patterns_that_are_nested_deeply_are_shown_in_short(call, message):
    with pytest.raises(lp.ConstraintError, match=message) as raised:
        call()
    assert len(str(raised.value)) < 250


@pytest.mark.parametrize("pattern", [r"^(a|b)*a(a|b){20}$", r"a{1,100000}"])
def test_a_pattern_of_a_schema_is_shown_as_it_was_written(pattern):
    at = pattern.index("{")
    for keyword, schema in (
        ("pattern", {"type": "string", "pattern": pattern}),
        (
            "patternProperties",
            {"type": "object", "patternProperties": {pattern: {}}, "properties": {"a": {}}},
        ),
    ):
        with pytest.raises(lp.UnsupportedSchema, match=f"keyword '{keyword}'") as raised:
            lp.json({"properties": {"x": schema}, "required": ["x"]}).initial()
        message = str(raised.value)
        assert f"schema at '/properties/x', keyword '{keyword}': The pattern {pattern!r} needs" in message
        assert f"at position {at}." in message


def test_a_pattern_of_a_schema_that_is_none_is_shown_where_it_was_written():
    with pytest.raises(lp.UnsupportedSchema, match=r"The pattern 'x\(\?<=a\+\)b' is no regular expression"):
        lp.json({"type": "string", "pattern": "x(?<=a+)b"})
    classes = "".join(f"[^{chr(number)}]" for number in range(0x4E00, 0x4E00 + 301))
    with pytest.raises(lp.UnsupportedSchema, match=r"more than 300 different classes.* position 1200 being"):
        lp.json({"type": "string", "pattern": classes})


def test_grammars_that_import_each_other_are_told_so(tmp_path):
    (tmp_path / "itself.lark").write_text('%import .itself.a\nstart: a\na: "x"\n')
    (tmp_path / "one.lark").write_text('%import .two.b\nstart: b\na: "x"\n')
    (tmp_path / "two.lark").write_text("%import .one.a\nb: a\n")
    for name, found in (("itself", "itself"), ("one", "(one|two)")):
        with pytest.raises(lp.ConstraintError, match=rf"imports '.*{found}\.lark' again and again"):
            lp.lark(tmp_path / f"{name}.lark")


@pytest.mark.parametrize(
    ("grammar", "line"),
    [
        ('root ::= "a" b\nb ::= [0-9]', "root ::= "),
        ('<start> ::= "a"', "<start> ::= "),
        ('start = "a", b;\nb = "c";', "start = "),
        ('start -> "a"', "start -> "),
    ],
)
def test_grammars_in_another_notation_are_told_how_lark_writes_rules(grammar, line):
    with pytest.raises(lp.ConstraintError, match=rf"Lark writes a rule as `name: \.\.\.`.*`{line}\.\.\.`"):
        lp.lark(grammar)


def test_other_mistakes_in_a_grammar_get_no_hint_about_notations():
    with pytest.raises(lp.ConstraintError, match="Lark cannot read the grammar") as raised:
        lp.lark('start: "a" "::="\n  | (b')
    assert "Lark writes a rule" not in str(raised.value)


@pytest.mark.parametrize("lexer", ["contextual", "basic"])
def test_a_terminal_that_is_ignored_before_it_is_found_is_named(lexer):
    constraint = lp.lark('start: "a"\n%ignore /./', parser="lalr", lexer=lexer)
    with pytest.raises(
        lp.ConstraintError, match=r"A is never found, as its texts are taken for what is ignored"
    ):
        constraint.initial()
    swallowed = lp.lark('start: IF\nIF: "if"\nNAME.2: /[a-z]+/\n%ignore NAME', parser="lalr", lexer=lexer)
    with pytest.raises(lp.ConstraintError, match=r"IF is never found.*what is ignored.*greater priority"):
        swallowed.initial()
    if lexer == "basic":
        with pytest.raises(lp.ConstraintError, match="Terminal A is never found"):
            lp.lark('start: "a"\n%ignore /./', lexer=lexer)
        taken = lp.lark('start: IF | IF NAME\nIF: "if"\nNAME.2: /[a-z]+/', parser="lalr", lexer=lexer)
        with pytest.raises(lp.ConstraintError, match=r"IF is never found, as its texts are taken for NAME"):
            taken.initial()


DOMAIN = "(define (domain d) (:predicates (p)) (:action a :parameters () :precondition (and) :effect (p)))"
PROBLEM = "(define (problem q) (:domain d) (:objects o) (:init) (:goal (p)))"


@pytest.mark.parametrize(
    "constraint",
    [
        lp.regex("ab"),
        lp.regex(r"\w{1,200}"),
        lp.choices(["ab"]),
        lp.length(1, 3),
        lp.lark('start: "ab"'),
        lp.lark('start: "ab"', parser="lalr"),
        lp.json({"type": "integer"}),
        lp.json(),
        lp.json_check("c", "/a", lambda value: True),
        lp.check("c", complete=lambda text: True),
        lp.words(lambda words: True),
        lp.pattern("a(?=b)b"),
        lp.python_code(),
        lp.pddl_plan(DOMAIN, PROBLEM),
        lp.linear("x > 0", over="x = {x}", fields={"x": "[0-9]"}),
        ~lp.regex("a"),
        lp.regex("a") | lp.lark('start: "b"'),
        lp.regex("a") + lp.lark('start: "b"'),
        lp.regex("a") & lp.lark('start: "a"'),
        lp.lark('start: "ab"').repeat(1, 3),
    ],
    ids=str,
)
def test_advance_takes_bytes(constraint):
    for wrong in ("ab", "1", "{", '"', " ", "(a)"):
        with pytest.raises(lp.InvalidTypeError, match=r"takes bytes, but was given '.*'\. Give text\.encode"):
            constraint.advance(constraint.initial(), wrong)
    assert constraint.advance(constraint.initial(), b"\xff") is None


def test_errors_of_functions_that_advance_calls_stay_what_they_are():
    check = lp.check("c", complete=lambda text: True, prefix=lambda text: text + 1)
    with pytest.raises(lp.CheckError) as raised:
        check.advance(check.initial(), b"a")
    assert isinstance(raised.value.__cause__, TypeError)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lp.pattern(re.compile("a")), r"Give that to lp.regex, or its text here"),
        (lambda: lp.pattern(b"a"), "UTF-8: decode it"),
        (lambda: lp.pattern(regex.compile(rb"a")), "UTF-8: decode it"),
        (lambda: lp.pattern(regex.compile(r"\L<words>", words=["a"])), "named lists"),
        (lambda: lp.pattern(None), "was given None"),
        (lambda: lp.regex(None), "was given None"),
        (lambda: lp.choices([b"a"]), "Decode it"),
        (lambda: lp.regex("a") & 3, "joins constraints and strings, but was given 3"),
    ],
)
def test_patterns_and_operands_of_another_type_are_refused(call, message):
    with pytest.raises(lp.InvalidTypeError, match=message):
        call()


def test_an_expression_that_is_compiled_keeps_its_flags():
    constraint = lp.pattern(regex.compile(r"a(?=b).$", regex.I))
    state = constraint.advance(constraint.initial(), b"AB")
    assert constraint.accepts(state)
    assert repr(constraint) == r"pattern(regex.Regex('a(?=b).$', flags=regex.I | regex.V0))"
    assert lp.pattern(r"a(?=b).$").advance(constraint.initial(), b"AB") is None
