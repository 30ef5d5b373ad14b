"""Decides which IP addresses may be dialled for a stranger: those of the public internet, and no others.

Owns the rule. Pure: nothing is resolved here. Addresses that carry another one inside (mapped, 6to4, NAT64)
are judged by that one too. Beside what `ipaddress` knows, which differs between versions of Python, the
ranges that matter are written down.
"""

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_NEVER_4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "224.0.0.0/3",
            "168.63.129.16/32",  # what Azure's machines ask about themselves
        ),
    )
)
_NEVER_6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")))


def is_public(text: str) -> bool:
    """Whether `text` is an address that anybody may be sent to; False for what is no address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv4Address):
        return _is_public_4(address)
    return not address.scope_id and _is_public_6(address)


def _is_public_4(address: IPv4Address) -> bool:
    return address.is_global and not any(address in network for network in _NEVER_4)


def _is_public_6(address: IPv6Address) -> bool:
    inside = _carried(address)
    if inside is not None and not _is_public_4(inside):
        return False
    if address.ipv4_mapped is not None or address in _NAT64:
        return True
    return (
        address in _GLOBAL_UNICAST
        and address.is_global
        and not any(address in network for network in _NEVER_6)
    )


def _carried(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets to `address` would end at."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None
