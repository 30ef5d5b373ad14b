"""Log-probabilities as answers carry them: of the model's own distribution, before sampling changes it."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from backends.protocol import TokenLogprob, TopLogprob

FLOOR = -9999.0
"""JSON has no minus infinity."""


def token_logprob(
    logits: npt.NDArray[np.float32],
    token: int,
    top: int,
    piece: Callable[[int], bytes],
    written: Callable[[int], bytes],
) -> TokenLogprob:
    """Of `token` and of the `top` likeliest in its place. `logits`: one row, [vocabulary].

    `piece` says what a token stands for in the answer, `written` how it is spelled.
    """
    wide = logits.astype(np.float64)
    wide -= wide.max()
    wide -= np.log(np.exp(wide).sum())
    best: list[int] = []
    if top:
        candidates = np.argpartition(wide, -top)[-top:]
        # Equal ones by their number, so that the same distribution always reads the same.
        best = [int(one) for one in candidates[np.lexsort((candidates, -wide[candidates]))]]
    return TokenLogprob(
        piece(token),
        _floored(wide[token]),
        [TopLogprob(written(one), _floored(wide[one]), one) for one in best],
        token,
    )


def _floored(value: float) -> float:
    return max(float(value), FLOOR)
