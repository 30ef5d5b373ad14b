"""Patterns: what is refused, and that the engine reads the rewritten one as ECMA-262 reads the original."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.constraint.pattern import translate_pattern
from backends.constraint.pattern_reader import PatternError
from tests.unit.backends.constraint.byte_engine import accepts, matcher_of, schema_matcher


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("(?=a)b", "look-around"),
        ("(?!a)b", "look-around"),
        ("(?<=a)b", "look-around"),
        ("(?<!a)b", "look-around"),
        ("(?i)a", "flags"),
        (r"(a)\1", r"\\1"),
        (r"\k<name>", r"\\k"),
        (r"\bword\b", r"\\b"),
        (r"\Aword", r"\\A"),
        (r"\z", r"\\z"),
        ("a^b", "beginning"),
        ("a$b", "end"),
        ("(^a)*", "beginning"),
        ("^*", "anchor"),
        ("a{1001}", "1000"),
        ("a{1,1001}", "1000"),
        ("a{99999999999999999999}", "1000"),
        ("a{3,2}", "order"),
        ("(a{100}){200}", "10000"),
        ("((a{0,100}){0,100}){0,100}", "10000"),
        ("a{,3}", "number"),
        ("a{x}", "number"),
        ("a{2", "not closed"),
        ("a**", "group"),
        ("a{2}{3}", "group"),
        ("*a", "means nothing"),
        ("{", "means nothing"),
        ("a]", "means nothing"),
        ("(a", "not closed"),
        ("a)", "never opened"),
        ("[a", "too soon"),
        ("[]", "nothing"),
        ("[z-a]", "order"),
        ("(?<1a>b)", "name"),
        ("a\\", "too soon"),
        (r"\x4", "too soon"),
        (r"\xzz", "hexadecimal"),
        (r"\u{110000}", "no Unicode"),
        (r"\ud800", "no Unicode"),
        (r"\p", "property"),
        (r"\p{}", "property"),
        ("(" * 41 + "a" + ")" * 41, "nested"),
    ],
)
def test_what_cannot_be_followed_is_refused(source: str, reason: str) -> None:
    with pytest.raises(PatternError, match=reason):
        translate_pattern(source)


@pytest.mark.parametrize(
    ("source", "matching", "others"),
    [
        ("b", ["b", "abc"], ["", "a"]),
        ("^b", ["b", "bc"], ["ab"]),
        ("b$", ["ab"], ["ba"]),
        ("^(a|b)$", ["a", "b"], ["ab", ""]),
        ("^a|b$", ["a", "ax", "xb"], ["xa", "bx"]),
        ("(^a|b)c", ["ac", "xbc"], ["xac"]),
        ("^$", [""], ["a"]),
        ("", ["", "x"], []),
        (r"^\d+$", ["12"], ["१२", "x"]),
        (r"^\w$", ["a", "_"], ["é", "-"]),
        (r"^\W$", ["é", "-"], ["a"]),
        (r"^\s$", [" ", "\u00a0", "\ufeff", "\u2028"], ["a", "\u0085"]),
        (r"^\S$", ["a", "\u0085"], [" ", "\ufeff"]),
        (r"^[\w.-]+$", ["a.b-c"], ["a b"]),
        (r"^[^\d]$", ["x"], ["1"]),
        ("^.$", ["a", "😀"], ["\n", "\u2028", ""]),
        ("^[^]$", ["a", "\n"], [""]),
        ("^[a&&b]+$", ["a&b"], ["c"]),
        ("^[+--]$", ["+", ",", "-"], ["."]),
        ("^[[a]$", ["[", "a"], ["]"]),
        ("^(?P<stop>a)b$", ["ab"], ["a"]),
        ("^(?<x>a)(?:b)$", ["ab"], ["a"]),
        ("^a+?b*?c??d{1,2}?$", ["abcd", "add"], ["bcd"]),
        (r"^\x41\u0042\u{43}\cJ\0$", ["ABC\n\0"], ["ABC"]),
        (r"^\ud83d\ude00$", ["😀"], [""]),
        (r"^[\b]$", ["\b"], ["b"]),
        (r"^\/\.\-\#$", ["/.-#"], ["/x-#"]),
        (r"^\p{Lu}+$", ["ÉA"], ["a"]),
        ("^[a-c-]$", ["-", "b"], ["d"]),
        ('^"quoted" / \\\\$', ['"quoted" / \\'], ["quoted"]),
    ],
)
def test_the_engine_reads_what_was_meant(source: str, matching: list[str], others: list[str]) -> None:
    matcher = schema_matcher({"type": "string", "pattern": source})
    for text in matching:
        assert accepts(matcher, _written(text)), text
    for text in others:
        assert not accepts(matcher, _written(text)), text


def _written(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


_ATOMS = st.sampled_from(["a", "b", ".", r"\d", r"\w", "[ab]", "[^a]", "[b-d1]", r"\.", "x"])
_PATTERNS = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{2,}", "*?"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(
    pattern=_PATTERNS,
    start=st.booleans(),
    end=st.booleans(),
    texts=st.lists(st.text(alphabet="abcdx1.", max_size=6), min_size=1, max_size=8),
)
def test_the_engine_agrees_with_a_backtracking_matcher(
    pattern: str, start: bool, end: bool, texts: list[str]
) -> None:
    source = f"{'^' if start else ''}(?:{pattern}){'$' if end else ''}"
    matcher = schema_matcher({"type": "string", "pattern": source})
    for text in texts:
        assert accepts(matcher, _written(text)) == bool(re.search(source, text)), text


def test_as_a_whole_answer_an_expression_must_match_all_of_it() -> None:
    matcher = matcher_of(f"start: ANSWER\nANSWER: /{translate_pattern('yes|no/never')}/")
    assert accepts(matcher, "yes")
    assert accepts(matcher, "no/never")
    assert not accepts(matcher, "yes, yes")
