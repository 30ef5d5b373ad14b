"""What can go wrong with weights.

WeightsError
├── BadSource         the `source:` of a model cannot be read
├── WeightsMissing    not on this disk; the message names the command that fetches them
├── WeightsCorrupt    on this disk and not what they should be; the message names the mending command
├── PullFailed        download, check or disk; what was on disk before is still there
└── LicenceRefused    the licence forbids commercial use and nobody has accepted it
"""


class WeightsError(Exception):
    """Base; the message is one line for the user."""


class BadSource(WeightsError):
    pass


class WeightsMissing(WeightsError):
    pass


class WeightsCorrupt(WeightsError):
    pass


class PullFailed(WeightsError):
    pass


class LicenceRefused(WeightsError):
    pass
