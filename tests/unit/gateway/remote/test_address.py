"""Which addresses may be dialled for a stranger."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.remote.address import is_public

PUBLIC = [
    "93.184.215.14",
    "8.8.8.8",
    "1.1.1.1",
    "2606:4700:4700::1111",
    "2a00:1450:4001::200e",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
]
BLOCKED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::5601:102",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1%1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]
NO_ADDRESS = ["", "localhost", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "8.8.8.8/32", " 8.8.8.8"]


@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_internet_is_open(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", [*BLOCKED, *NO_ADDRESS])
def test_everything_else_is_closed(address: str) -> None:
    assert not is_public(address)


@given(st.ip_addresses(v=4, network="0.0.0.0/0"), st.sampled_from(["::ffff:{}", "64:ff9b::{}"]))
def test_what_carries_an_address_is_as_public_as_that(inside: ipaddress.IPv4Address, form: str) -> None:
    assert is_public(form.format(inside)) == is_public(str(inside))


@given(st.ip_addresses(v=4))
def test_6to4_to_a_closed_address_is_closed(inside: ipaddress.IPv4Address) -> None:
    outer = ipaddress.IPv6Address((0x2002 << 112) | (int(inside) << 80) | 1)
    assert not is_public(str(outer)) or is_public(str(inside))
