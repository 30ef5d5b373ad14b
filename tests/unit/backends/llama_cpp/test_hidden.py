"""Control texts in what users wrote: found, replaced, brought back."""

import re

from hypothesis import given
from hypothesis import strategies as st

from backends.llama_cpp.hidden import Hidden, Part, any_of

words = st.text("ab|<", max_size=5)


@given(st.lists(words, min_size=1), st.text("ab|<", max_size=30))
def test_the_longest_text_is_found_in_each_place(texts: list[str], text: str) -> None:
    longest_first = sorted(filter(None, texts), key=len, reverse=True)
    found = any_of(texts)
    if not longest_first:
        assert found is None
        return
    assert found is not None
    plain = re.compile("|".join(map(re.escape, longest_first)))
    assert [match.span() for match in found.finditer(text)] == [m.span() for m in plain.finditer(text)]


def test_thousands_of_tokens_are_looked_for_at_once() -> None:
    pattern = any_of([f"<unused{number}>" for number in range(6000)])
    assert pattern is not None
    assert len(pattern.pattern) < 60_000
    assert pattern.sub("", "<unused59x<unused5999><unused" * 3) == "<unused59x<unused" * 3


def test_every_string_of_a_value_is_hidden_keys_too_however_it_is_printed() -> None:
    value = {"a<s>": ["<s>b", 1, None, {"c": "<s>"}]}
    hidden = Hidden(any_of(["<s>"]))
    printed = str(hidden.hide_all(value))
    assert "<s>" not in printed
    assert "".join(part.text for part in hidden.split(printed)) == str(value)
    assert [part.text for part in hidden.split(printed) if part.literal] == ["<s>"] * 3


def test_a_mark_of_one_prompt_means_nothing_in_another() -> None:
    first, second = Hidden(any_of(["<s>"])), Hidden(any_of(["<s>"]))
    mark = first.hide("<s>")
    assert second.split(second.hide(mark)) == [Part(mark, False)]
