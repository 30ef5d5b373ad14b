"""Formats: as strict as the standard library, and passed by everything usual."""

import contextlib
import datetime
import ipaddress
import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.constraint.formats import FORMATS
from backends.constraint.pattern import translate_pattern


def _matches(name: str, text: str) -> bool:
    return re.fullmatch(FORMATS[name], text) is not None


@pytest.mark.parametrize("name", FORMATS)
def test_each_is_a_pattern_that_the_engine_gets(name: str) -> None:
    assert translate_pattern(f"^(?:{FORMATS[name]})$")


@given(st.dates())
def test_every_date_can_be_written(date: datetime.date) -> None:
    assert _matches("date", date.isoformat())


@given(st.from_regex(FORMATS["date"], fullmatch=True))
def test_whatever_is_written_is_a_date(text: str) -> None:
    datetime.date.fromisoformat(text)


@given(st.from_regex(FORMATS["date-time"], fullmatch=True))
def test_whatever_is_written_is_a_time_of_a_day(text: str) -> None:
    assert datetime.datetime.fromisoformat(text).tzinfo is not None


@given(st.from_regex(FORMATS["time"], fullmatch=True))
def test_whatever_is_written_is_a_time(text: str) -> None:
    datetime.time.fromisoformat(text)


@given(st.ip_addresses())
def test_every_address_can_be_written(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert _matches(f"ipv{address.version}", str(address))
    assert _matches(f"ipv{address.version}", address.exploded)


@given(st.from_regex(FORMATS["ipv6"], fullmatch=True))
def test_whatever_is_written_is_an_address(text: str) -> None:
    ipaddress.IPv6Address(text)


@given(st.text(alphabet="0123456789.", max_size=15))
def test_four_octets_and_nothing_else(text: str) -> None:
    valid = False
    with contextlib.suppress(ValueError):
        valid = bool(ipaddress.IPv4Address(text))
    assert _matches("ipv4", text) == (valid or text == "0.0.0.0")


@given(st.uuids())
def test_every_uuid_can_be_written(value: uuid.UUID) -> None:
    assert _matches("uuid", str(value))


@given(st.from_regex(FORMATS["hostname"], fullmatch=True))
def test_a_host_name_keeps_all_limits(text: str) -> None:
    assert len(text) <= 253
    for label in text.split("."):
        assert re.fullmatch(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?", label)
        assert label[2:4] != "--"


@given(st.from_regex(FORMATS["email"], fullmatch=True))
def test_an_email_address_keeps_all_limits(text: str) -> None:
    local, domain = text.rsplit("@", 1)
    assert 1 <= len(local) <= 64
    assert len(text) <= 254
    assert re.fullmatch(r"[^.]+(\.[^.]+)+", domain)


@pytest.mark.parametrize(
    ("name", "texts"),
    {
        "date": ["2024-02-29", "2000-02-29", "1999-12-31"],
        "time": ["08:30:06Z", "23:59:59.123456+01:00"],
        "date-time": ["2026-11-23T08:30:06Z", "2026-11-23T08:30:06.5-08:00"],
        "duration": ["P1Y2M3DT4H5M6S", "PT1H", "P4W", "P1M", "PT20M", "P3DT12H"],
        "email": ["joe.bloggs@example.com", "a+b_c@mail.example.co.uk", "x@y.org"],
        "hostname": ["localhost", "www.example.com", "ec2-203-0-113-25.compute-1.amazonaws.com"],
        "ipv4": ["127.0.0.1", "255.255.255.255"],
        "ipv6": ["::", "::1", "fe80::1", "::ffff:1.2.3.4", "1:2:3:4:5:6:7:8"],
        "uri": [
            "http://example.com",
            "https://user@example.com:8080/a/b?c=d#e",
            "mailto:joe@example.com",
            "urn:isbn:0451450523",
            "http://[::1]/",
            "file:///etc/hosts",
        ],
    }.items(),
)
def test_usual_texts_can_be_written(name: str, texts: list[str]) -> None:
    for text in texts:
        assert _matches(name, text), text


@pytest.mark.parametrize(
    ("name", "texts"),
    {
        "date": [
            "2023-02-29",
            "1900-02-29",
            "2024-02-30",
            "2024-04-31",
            "0000-01-01",
            "24-01-01",
            "2024-1-1",
        ],
        "time": ["24:00:00Z", "08:30:60Z", "08:30:06", "08:30Z"],
        "date-time": ["2024-01-01 08:30:06Z", "2024-01-01", "2024-02-30T08:30:06Z"],
        "duration": ["P", "PT", "P1YT", "1Y", "P1D2H", "P2D1Y", "P1W2D"],
        "email": ["joe", "joe@", "@x.org", "joe@x", ".joe@x.org", "jo..e@x.org", "joe@-x.org", "joe@x.org "],
        "hostname": ["-a", "a-", "a..b", "a_b", "xn--a", "", "a" * 64],
        "ipv4": ["1.2.3", "1.2.3.256", "01.2.3.4"],
        "ipv6": ["1::2::3", "12345::", ":1", "1:2:3:4:5:6:7"],
        "uuid": ["2eb8aa08-aa98-11ea-b4aa-73b441d1638", "2eb8aa08aa9811eab4aa73b441d16380"],
        "uri": ["//example.com/a", "example", "http://a b", "http://example.com/%zz", ":a"],
    }.items(),
)
def test_what_is_wrong_cannot_be_written(name: str, texts: list[str]) -> None:
    for text in texts:
        assert not _matches(name, text), text
