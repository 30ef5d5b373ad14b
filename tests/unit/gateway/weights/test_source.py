"""What a `source:` may say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.weights.errors import BadSource
from gateway.weights.source import (
    HubRepo,
    LocalPath,
    Packaged,
    Source,
    WheelData,
    folder_name,
    is_safe,
    parse,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/data/m.gguf", LocalPath("/data/m.gguf")),
        ("hf:o/n", HubRepo("o/n")),
        ("hf:o/n/m.gguf", HubRepo("o/n", "main", "m.gguf")),
        ("hf:o/n@v1.0/sub/m.gguf", HubRepo("o/n", "v1.0", "sub/m.gguf")),
        ("hf:o/n@abc", HubRepo("o/n", "abc")),
        ("hf:o/n/folder/", HubRepo("o/n", "main", "folder")),
        ("pypi:a-b==1.2.post1/p/m.gguf", WheelData("a-b", "1.2.post1", "p/m.gguf")),
        ("pypi:a==1/p/", WheelData("a", "1", "p")),
        ("package:shapes-clip", Packaged("shapes-clip")),
    ],
)
def test_sources(text: str, expected: Source) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\0b",
        "hf:",
        "hf:name",
        "hf:o/n/../x",
        "hf:../n",
        "hf:o/..",
        "hf:o/n//etc/passwd",
        "hf:o/n@/x",
        "pypi:a/p",
        "pypi:a==1",
        "pypi:a==1/",
        "pypi:a==1/../p",
        "pypi:a==1//etc/passwd",
        "pypi:--index-url==1/p",
        "pypi:a>=1/p",
        "pypi:a==1/p\\..\\q",
        "package:",
        "package:..",
        "package:a/b",
        "package:../a",
        "package:a\\b",
        "package:a\0",
        "package:a\n",
        "package:/etc",
    ],
)
def test_what_is_no_source(text: str) -> None:
    with pytest.raises(BadSource):
        parse(text)


@given(st.text(max_size=60))
def test_a_folder_name_never_leaves_its_folder(text: str) -> None:
    assert is_safe(folder_name(text))
    assert "/" not in folder_name(text)


def test_folder_names_differ_where_only_odd_characters_do() -> None:
    assert folder_name("hf:a/b") != folder_name("hf:a-b")
