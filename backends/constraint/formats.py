"""String formats of JSON Schema as regular expressions.

Each is as strict as the strictest of the usual validators, since an answer must pass all of them: no leap
seconds, no year 0000, no 29 February in common years, host names in ASCII, whole addresses only.
"""

_YEAR = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
_FOURTH = "(?:0[48]|[2468][048]|[13579][26])"
_LEAP_YEAR = f"(?:[0-9]{{2}}{_FOURTH}|{_FOURTH}00)"
_DATE = (
    f"(?:{_YEAR}-(?:"
    "(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    "|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    f"|{_LEAP_YEAR}-02-29)"
)
_HOUR = "(?:[01][0-9]|2[0-3])"
_TIME = rf"{_HOUR}:[0-5][0-9]:[0-5][0-9](?:\.[0-9]{{1,6}})?(?:Z|[+-]{_HOUR}:[0-5][0-9])"
_CLOCK = "(?:[0-9]+H(?:[0-9]+M(?:[0-9]+S)?)?|[0-9]+M(?:[0-9]+S)?|[0-9]+S)"
_CALENDAR = "(?:[0-9]+Y(?:[0-9]+M(?:[0-9]+D)?)?|[0-9]+M(?:[0-9]+D)?|[0-9]+D)"
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"(?:{_OCTET}\.){{3}}{_OCTET}"
_GROUP = "[0-9a-fA-F]{1,4}"
_LAST_GROUPS = f"(?:{_GROUP}:{_GROUP}|{_IPV4})"
_IPV6 = (
    "(?:"
    + "|".join(
        [
            f"(?:{_GROUP}:){{6}}{_LAST_GROUPS}",
            f"::(?:{_GROUP}:){{5}}{_LAST_GROUPS}",
            *(
                f"(?:(?:{_GROUP}:){{0,{before}}}{_GROUP})?::(?:{_GROUP}:){{{4 - before}}}{_LAST_GROUPS}"
                for before in range(5)
            ),
            f"(?:(?:{_GROUP}:){{0,5}}{_GROUP})?::{_GROUP}",
            f"(?:(?:{_GROUP}:){{0,6}}{_GROUP})?::",
        ]
    )
    + ")"
)
_LABEL = "(?:[a-zA-Z0-9]{1,40}|[a-zA-Z0-9](?:-?[a-zA-Z0-9]){0,19})"
"""At most 40 of the 63 characters, and never two hyphens in a row: those announce encoded names."""
_HOST = rf"{_LABEL}(?:\.{_LABEL}){{0,5}}"
_ATOM = r"[a-zA-Z0-9!#$%&'*+/=?^_`{|}~\-]"
_PERCENT = "%[0-9a-fA-F]{2}"
_PATH_CHARACTER = rf"(?:[a-zA-Z0-9._~!$&'()*+,;=:@\-]|{_PERCENT})"
_REST = f"(?:{_PATH_CHARACTER}|[/?])*"
_AUTHORITY = (
    rf"(?:(?:[a-zA-Z0-9._~!$&'()*+,;=:\-]|{_PERCENT})*@)?"
    rf"(?:\[{_IPV6}\]|(?:[a-zA-Z0-9._~!$&'()*+,;=\-]|{_PERCENT})*)(?::[0-9]{{0,4}})?"
)

FORMATS = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f"{_DATE}T{_TIME}",
    "duration": f"P(?:{_CALENDAR}(?:T{_CLOCK})?|T{_CLOCK}|[0-9]+W)",
    "email": (rf"{_ATOM}{{1,20}}(?:\.{_ATOM}{{1,20}}){{0,2}}@(?:{_LABEL}\.){{1,4}}[a-zA-Z]{{2,20}}"),
    "hostname": _HOST,
    "ipv4": _IPV4,
    "ipv6": _IPV6,
    "uuid": "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
    "uri": (
        rf"[a-zA-Z][a-zA-Z0-9+.\-]*:(?://{_AUTHORITY}(?:/(?:{_PATH_CHARACTER}|/)*)?"
        rf"|/(?:{_PATH_CHARACTER}(?:{_PATH_CHARACTER}|/)*)?|{_PATH_CHARACTER}(?:{_PATH_CHARACTER}|/)*)?"
        rf"(?:\?{_REST})?(?:#{_REST})?"
    ),
}
"""Each matches whole strings; in the syntax that JSON Schema's `pattern` has."""

NUMBER_FORMATS = {
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**53), 2**53),
    "float": None,
    "double": None,
}
"""OpenAPI's formats of numbers: the bounds that they set. Beyond 2^53 JSON readers disagree on integers."""

UNRESTRICTED = frozenset({"password"})
"""Formats that say how to show a string and not what it may be."""
