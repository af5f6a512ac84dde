"""Patience: how long an endpoint may take for an answer before it is given up and asked elsewhere.

    answers so far     0                 1 and more
    it may take        START_SECONDS     MULTIPLE times what the slowest of its recent answers took,
                       at least          never less than LEAST_SECONDS or more than MOST_SECONDS

So a server that gets slower by and by, under load say, is waited for, and a request that hangs is asked again after a
minute where answers take seconds. An answer that may be longer than those before it may take longer in proportion. If
nothing but time-outs comes, twice as long is waited each time: then it was the server that became slow.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

START_SECONDS = 600.0
"""Before its first answer, and at least a second for each token that may be written: it may be loading, or a CPU."""
LEAST_SECONDS = 60.0
MOST_SECONDS = 3600.0
MULTIPLE = 5.0
"""Of the slow answers among the recent ones: those that run into their length limit take about three times the mean."""
_SLOW = 0.95
"""The quantile that stands for them: one that hung and came after all does not."""
_NUM_RECENT = 64
_NUM_NEW = 8
"""Answers after which the slow ones are looked for again: to sort for each request takes 36 microseconds."""
_MAX_DOUBLINGS = 4
_HOW_TO_SET = "to set it yourself, give the engine option timeout_seconds (--engine-options timeout_seconds=900)"


@dataclass(slots=True)
class Patience:
    """What is known of how long one endpoint takes."""

    fixed_seconds: float | None = None
    """What somebody wants, whatever the endpoint shows."""
    _recent: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_NUM_RECENT))
    """Of answers: how many seconds they took, and how many tokens they might have had."""
    _slow: dict[int, float] = field(default_factory=dict)
    """What the slow ones took, by the number of tokens asked for, as it was last looked for."""
    _num_answered: int = 0
    _num_expired: int = 0
    """Time-outs since the last answer."""

    def seconds(self, max_new_tokens: int) -> float:
        """How long an answer of at most so many tokens may take."""
        if self.fixed_seconds is not None:
            return self.fixed_seconds
        if not self._recent:
            return max(START_SECONDS, float(max_new_tokens))
        slow = MULTIPLE * self._slow_seconds(max_new_tokens) * 2.0 ** min(self._num_expired, _MAX_DOUBLINGS)
        return min(max(slow, LEAST_SECONDS), MOST_SECONDS)

    def answered(self, seconds: float, max_new_tokens: int) -> None:
        """An answer came after so many seconds."""
        self._recent.append((seconds, max_new_tokens))
        self._num_answered += 1
        self._num_expired = 0
        if self._num_answered < _NUM_NEW or self._num_answered % _NUM_NEW == 0:
            self._slow.clear()

    def expired(self) -> None:
        """An answer did not come in time."""
        self._num_expired += 1

    def reason(self, max_new_tokens: int) -> str:
        """Why no longer was waited, and how to wait longer."""
        if self.fixed_seconds is not None:
            return "as the engine option timeout_seconds says: give it more where answers take longer"
        if not self._recent:
            return f"its first answer, of up to {max_new_tokens:,} tokens; {_HOW_TO_SET}"
        slow = self._slow_seconds(max_new_tokens)
        return f"where its slow answers took {slow:.3g} s of late, for up to {max_new_tokens:,} tokens; {_HOW_TO_SET}"

    def _slow_seconds(self, max_new_tokens: int) -> float:
        """What the slow ones of the recent answers took, or would have taken with so many tokens."""
        if max_new_tokens not in self._slow:
            took = sorted(seconds * max(1.0, max_new_tokens / tokens) for seconds, tokens in self._recent)
            self._slow[max_new_tokens] = took[math.ceil(_SLOW * len(took)) - 1]
        return self._slow[max_new_tokens]
