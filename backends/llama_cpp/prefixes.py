"""What two token sequences have in common at their beginnings, found by comparing every token. Pure."""

from backends.llama_cpp.model import TokenArray


def common_prefix(left: TokenArray, right: TokenArray) -> int:
    """How many leading tokens are equal."""
    length = min(len(left), len(right))
    if length == 0:
        return 0
    differs = left[:length] != right[:length]
    first = int(differs.argmax())
    return first if differs[first] else length


def is_prefix(left: TokenArray, right: TokenArray) -> bool:
    """True if `right` begins with all of `left`, which is not empty."""
    length = len(left)
    return 0 < length <= len(right) and left[-1] == right[length - 1] and common_prefix(left, right) == length
