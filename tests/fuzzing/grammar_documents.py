"""Texts of the shared grammars: the name of a file, and of the rule to start from where it is not `start`."""

from __future__ import annotations

import random

DOCUMENTS = {
    "study_json": ['{"a": [1, -2.5e+3, true], "é\\u00e9": {}}', "[[],[1]]"],
    "study_sql": ["SELECT a.b, count(*) FROM t -- x\nWHERE y = 'it''s' LIMIT 3;", "select x from t as y"],
    "study_arith": ["1 + 2*(x-foo(3,4^2))", " 1.5e3 /\n_b "],
    "syncode_json_grammar": ['{"a": [1, "b c", null]}'],
    "syncode_calc_grammar": ["(1+2)*3.5"],
    "syncode_sql_grammar": ["SELECT a, b FROM t WHERE a > 3 GROUP BY b"],
    "lark_lark": ['start: "a"i? /b+/x -> c\n%ignore " "\n%import common.WS\n'],
    "syncode_go_grammar": ['package main\nimport "fmt"\nfunc main() {\nx := 1 + 2.5\nfmt.Println(x)\n}\n'],
    "syncode_java_grammar": ["public class A { public static void main(String[] x) { int a = 1; } }"],
    "syncode_c_grammar": [
        "int f(int a, char b) { float x = 1 + 2 * g(a, -b); if (x < 3) { return (x); } else { /* * */ } }",
        "void m() { while (a == 1) { f(); } for (int i = 0; i < 9; i = i + 1) { // c\n\n b = 2; } }",
    ],
    "syncode_invariants": [
        "loop invariant x;\n\nloop\tinvariant 2.5;\n",
        "loop invariant x < 3;\n",
        "loop invariant ( x ) && \true => y >= 'c';\n\nloop  invariant f ( a , b ) == 2.5;\n",
        'loop invariant ~ a ? 1 : - b != "s\\"";\n',
    ],
    "syncode_prover9_grammar": [
        "Predicates:\nP(x) ::: p\nQ(x, y1) ::: q\nPremises:\n∀x (P(x) → ¬Q(x, 2)) ::: a\n"
        "Conclusion:\nP(a) ↔ Q(b, c) ⊕ (∃y (P(y) ∧ P(z) ∨ P(w))) ::: c\n",
    ],
    "syncode_tiny_grammar": ["dd", "ccdcd", "cdcccd"],
    "pddl_grammar domain": [
        "(define (domain d) (:predicates (p ?x)) (:action a :parameters () :effect (p c)))",
        "(define (domain d-1) (:requirements :strips :typing) (:types a b - object)\n"
        "(:predicates (p ?x ?y - a))\n"
        "(:action m :parameters (?x - (either a b)) :precondition (and (p ?x ?x) (not (= ?x ?x)))\n"
        "  :effect (when (p ?x c) (not (p ?x c))))) ; c",
        "(define (domain d) (:functions (f ?x) - number)\n"
        "(:action a :parameters () :effect (increase (f c) 2.5)))",
    ],
    "pddl_grammar problem": [
        "(define (problem p) (:domain d) (:init) (:goal (p)))",
        "(define (problem p) (:domain d) (:objects a b - c) (:init (on a b) (not (q)) (= (f a) 3))\n"
        "(:goal (forall (?x) (imply (p ?x) (exists (?y - c) (on ?x ?y))))) (:metric minimize (+ (f a) 2)))",
    ],
    "pddl_grammar plan": ["(pick a)\n(put a b) ; c\n", "(a)(b c-1 d_2)"],
    "lark_python": ["x = [1, 0.5j, 'a' \"\"] # c\nif x: pass\n", "f(a, *b)\n"],
}

# `/\n+/` is what lines end with, and everywhere the lexer takes a line's end for `/\s+/`.
NO_TEXTS = {("syncode_invariants", ("lalr", "basic")), ("syncode_invariants", ("earley", "basic"))}


def mutated(rng: random.Random, text: str) -> str:
    """Leaves out, doubles, moves or inserts a character."""
    i, j = rng.randrange(len(text)), rng.randrange(len(text))
    new = rng.choice(("", text[i] * 2, text[j], rng.choice('()[]{}",:1a+ -*.;\n'), " "))
    return text[:i] + new + text[i + rng.choice((0, 1)) :]
