"""Prompts that are all different and always the same: a seed and a place in the run give one text.

Different from their first word on, so that no server can answer one from another's cache.
"""

import random

_WORDS = [
    *("river", "lamp", "orchard", "engine", "winter", "garden", "copper", "letter", "harbour", "violin"),
    *("meadow", "clock", "forest", "mirror", "sailor", "bread", "mountain", "silver", "window", "thunder"),
    *("teacher", "bridge", "candle", "desert", "island", "market", "feather", "castle", "storm", "village"),
    *("paper", "ocean", "rabbit", "kitchen", "painter", "shadow", "morning", "ladder", "honey", "station"),
]


def story_prompt(seed: int, place: tuple[int, ...], words: int) -> str:
    """About 1.5 tokens a word. `place` tells apart streams, requests and rounds."""
    chosen = random.Random(f"{seed}:{place}").choices(_WORDS, k=words)
    return f"{' '.join(chosen[:3])}: tell a long story in which these come up: {', '.join(chosen)}."


def short_text(seed: int, place: tuple[int, ...], words: int) -> str:
    return " ".join(random.Random(f"{seed}:{place}").choices(_WORDS, k=words))
