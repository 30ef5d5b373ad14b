"""GBNF: the same texts as llama.cpp would allow, and nothing passed over."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.base import JobError
from backends.constraint.gbnf import translate_gbnf
from tests.unit.backends.constraint.byte_engine import accepts, matcher_of

JSON = r"""
root   ::= object # as llama.cpp ships it, shortened
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::=
  "{" ws (
            string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws
array  ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9]{1,15})? ws
ws ::= | " " | "\n" [ \t]{0,20}
"""


@pytest.mark.parametrize(
    ("source", "right", "wrong"),
    [
        (
            JSON,
            ['{"a": [1, 2.5e3, "x\\né"], "b": {}}', "{}", '{"a":\n  null}'],
            ['{"a": 1', "[1]", '{"a" 1}'],
        ),
        ('root ::= a b\na ::= [a-z]+\nb ::= "x"', ["foox", "xx"], ["foo", "x"]),
        ('root ::= a r "x"\na ::= [a-z]+\nr ::= "(" r ")" | ""', ["foox", "foo(())x"], ["foo(x"]),
        ('root ::= "a" | "ab" "c" | "a" "bd"', ["a", "abc", "abd"], ["ab"]),
        ('root ::= . "é" "\\u00e9" "\\x41" "\\U0001F600"', ["\néé" + "A😀", "éééA😀"], ["éé"]),
        ("root ::= [^a-c\\]\\n]{2,3}", ["xy", "-^"], ["a", "]x", "xyzx", "x\n"]),
        ('root ::= ("a" | "b"\n  | "c")+ # comment\n', ["abc"], ["d", ""]),
        ('root ::= "" | rest\nrest ::= "a" rest?', ["", "aaa"], ["b"]),
        ('root ::= expr\nexpr ::= expr "+" expr | [0-9]', ["1+2+3", "1"], ["1+", "12"]),
        ('root ::= "/" "\\"" [/"]', ['/"/', '/""'], ["/"]),
        ('root ::=\n  "a"\n\n\nother ::= root\n', ["a"], [""]),
        ("root ::= [a-]", ["a", "-"], ["b"]),
    ],
    ids=range(12),
)
def test_the_engine_reads_what_was_meant(source: str, right: list[str], wrong: list[str]) -> None:
    matcher = matcher_of(translate_gbnf(source, "grammar"))
    for text in right:
        assert accepts(matcher, text), text
    for text in wrong:
        assert not accepts(matcher, text), text


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ('start ::= "a"', "no rule 'root'"),
        ('root ::= "a" b', "'b' that is not there"),
        ('root ::= "a" root', "finite"),
        ('root ::= a\na ::= b\nb ::= a | a "x"', "finite"),
        ('root ::= "a"{1001}', "1000"),
        ('root ::= a{1000}\na ::= "b"{1000}', "10000"),
        ('root ::= ("ab"{100}){100}', "10000"),
        ('root ::= "a"{3,2}', "order"),
        ('root ::= "a"**', "group"),
        ('root ::= "a"{2', "not closed"),
        ('root ::= "a"{x}', "number"),
        ('root ::= <think> "a"', "tokens"),
        ('root ::= !<[5]> "a"', "tokens"),
        ('root ::= "a', "too soon"),
        ("root ::= [a", "too soon"),
        ("root ::= []", "nothing"),
        ("root ::= [z-a]", "order"),
        ('root ::= ("a"', "not closed"),
        ('root ::= "a")', "not expected"),
        ("root ::= 'a'", "not expected"),
        ("root = a", "::="),
        ('::= "a"', "name"),
        ('root ::= "a"\nroot ::= "b"', "twice"),
        (r'root ::= "\q"', "escape"),
        (r'root ::= "\x4"', "hexadecimal"),
        (r'root ::= "\uD800"', "no Unicode"),
        ("root ::= " + "(" * 41 + '"a"' + ")" * 41, "nested"),
        (
            "root ::= r0\n" + "\n".join(f"r{n} ::= r{n + 1}" for n in range(2000)) + '\nr2000 ::= "a"',
            "nested",
        ),
        ('root ::= "' + "a" * 65536 + '"', "65536"),
        ('root ::= "\ud800"', "surrogate"),
        ("", "no rule 'root'"),
    ],
    ids=lambda value: value[:30],
)
def test_what_cannot_be_followed_is_refused(source: str, reason: str) -> None:
    with pytest.raises(JobError, match=re.escape(reason)) as caught:
        translate_gbnf(source, "structured_outputs.grammar")
    assert caught.value.param == "structured_outputs.grammar"


_PARTS = st.recursive(
    st.sampled_from(['"a"', '"ab"', '"b"', "[ab]", "[^a]", "."]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(" ".join),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]} | {pair[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{2,}"])).map(
            lambda pair: f"({pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(
    body=_PARTS,
    recursive=st.booleans(),
    texts=st.lists(st.text(alphabet="abc", max_size=6), min_size=1, max_size=8),
)
def test_both_ways_of_writing_a_grammar_match_the_same(body: str, recursive: bool, texts: list[str]) -> None:
    """With a rule that needs itself the grammar takes the other way; it adds only texts with brackets."""
    more = "root ::= body | nested\n" if recursive else "root ::= body\n"
    nested = 'nested ::= "<" nested? ">"\n' if recursive else ""
    matcher = matcher_of(translate_gbnf(f"{more}{nested}body ::= {body}\n", "grammar"))
    expression = re.compile(re.sub(r'[ "]', "", body), re.DOTALL)
    for text in texts:
        assert accepts(matcher, text) == bool(expression.fullmatch(text)), text
