"""How an address is read, and what is no address."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.remote.errors import NotFetched
from gateway.remote.location import Location, allowed, read_location, redirected

PORTS = (80, 443)
HERE = Location("https", "example.org", 443, "/a/b.png?x=1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://example.org/a/b.png?x=1#part", HERE),
        ("HTTPS://Example.ORG:443/a/b.png?x=1", HERE),
        ("http://example.org", Location("http", "example.org", 80, "/")),
        ("http://example.org?x", Location("http", "example.org", 80, "/?x")),
        ("http://example.org:443/", Location("http", "example.org", 443, "/")),
        ("http://8.8.8.8/a", Location("http", "8.8.8.8", 80, "/a")),
        ("http://[2606:4700:0::1]/a", Location("http", "2606:4700::1", 80, "/a")),
        ("https://xn--bcher-kva.example/ü", Location("https", "xn--bcher-kva.example", 443, "/ü")),
        ("http://cdn_1.example.org/a", Location("http", "cdn_1.example.org", 80, "/a")),
    ],
)
def test_what_an_address_says(text: str, expected: Location) -> None:
    assert read_location(text, PORTS) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://",
        "http:/example.org/a",
        "http:example.org",
        "ftp://example.org/a",
        "file:///etc/passwd",
        "gopher://example.org/",
        "//example.org/a",
        "http://user@example.org/",
        "http://user:word@example.org/",
        "http://@example.org/",
        "http://example.org@127.0.0.1/",
        "http://example.org\\@127.0.0.1/",
        "http://example.org/\\a",
        "http://example.org:22/",
        "http://example.org:/",
        "http://example.org:0x50/",
        "http://example.org:99999/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://127.0.0.0x1/",
        "http://0177.0.0.1/",
        "http://127.0.0.01/",
        "http://127.0.0.1.2/",
        "http://256.1.1.1/",
        "http://example.123/",
        "http://[::1/",
        "http://[::ffff:127.0.0.1%25eth0]/",
        "http://[127.0.0.1]/",
        "http://[1::2::3]/",
        "http://::1/",
        "http://127.0.0.1./",
        "http://example.org./",
        "http://example..org/",
        "http://-a.org/",
        "http://１２７.0.0.1/",
        "http://ⓛocalhost/",
        "http://bücher.example/",
        "http://exam%70le.org/",
        "http://example.org/a b",
        "http://example.org/a\r\nHost: x",
        "http://example.org/a\0",
        " http://example.org/",
        "http://example.org/" + "a" * 5000,
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(NotFetched):
        read_location(text, PORTS)


@given(st.text(max_size=80))
def test_a_host_has_no_second_reading(text: str) -> None:
    for sent in (f"http://{text}", f"https://{text}/a"):
        try:
            location = read_location(sent, PORTS)
        except NotFetched:
            continue
        assert location.host.isascii()
        assert not set("@\\/?#% ") & set(location.host)
        assert location.port in PORTS


def test_a_pinned_address_stands_in_the_place_of_the_name() -> None:
    assert HERE.at("8.8.8.8") == "https://8.8.8.8:443/a/b.png?x=1"
    assert HERE.at("2606:4700::1") == "https://[2606:4700::1]:443/a/b.png?x=1"
    assert HERE.authority == "example.org"
    assert Location("http", "example.org", 443, "/").authority == "example.org:443"


@pytest.mark.parametrize(
    ("to", "url"),
    [
        ("/c.png", "https://example.org/c.png"),
        ("c.png", "https://example.org/a/c.png"),
        ("//other.example/c", "https://other.example/c"),
        ("http://8.8.8.8/", "http://8.8.8.8/"),
    ],
)
def test_where_a_redirect_leads(to: str, url: str) -> None:
    assert redirected(HERE, to, PORTS).url == url


@pytest.mark.parametrize(
    "to", ["file:///etc/passwd", "http://127.1/", "http://u@example.org/", "http://[::1", "//example.org:22/"]
)
def test_a_redirect_is_read_as_strictly(to: str) -> None:
    with pytest.raises(NotFetched):
        redirected(HERE, to, PORTS)


def test_hosts_that_are_let_in() -> None:
    assert allowed("any.example", [])
    assert allowed("a.org", ["b.org", "A.org"])
    assert not allowed("x.a.org", ["a.org"])
    assert allowed("a.org", [".a.org"])
    assert allowed("x.a.org", [".A.org"])
    assert not allowed("xa.org", [".a.org"])
