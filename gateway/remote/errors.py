"""Why a picture was not fetched: for the log only, clients are told nothing of it."""


class NotFetched(Exception):
    """The message is a word or two without any address, host or number from outside."""
