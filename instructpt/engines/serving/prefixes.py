"""A prefix cache without keys and values: it only knows which beginnings of prompts were seen, as a server would.

    prompt   a a a a | b b b b | c c        blocks of 4 (16 in truth)
    later    a a a a | b b b b | d d d d    8 tokens are cached: the blocks that are equal and have equal ones before

Blocks are full ones, the least recently used are forgotten, and the last token is never cached: a model must read at
least one to write the next. These are the rules of vLLM (docs.vllm.ai, "Automatic Prefix Caching").
"""

from __future__ import annotations

from array import array
from collections import OrderedDict

BLOCK_TOKENS = 16


class PrefixCache:
    """Which blocks were seen after which others; at most `max_blocks` of them are remembered."""

    def __init__(self, *, max_blocks: int) -> None:
        self._max_blocks = max_blocks
        self._names: OrderedDict[tuple[int, bytes], int] = OrderedDict()
        """(name of the block before, this block's ids) -> this block's name. A name is never given twice."""
        self._next_name = 1
        self.num_queried_tokens = 0
        self.num_hit_tokens = 0

    def add(self, ids: array[int]) -> int:
        """Remember a prompt; how many of its first tokens were known."""
        data, width = ids.tobytes(), ids.itemsize * BLOCK_TOKENS
        names, name, num_hits = self._names, 0, 0
        used: list[tuple[int, bytes]] = []
        for start in range(0, len(data) - width + 1, width):
            key = (name, data[start : start + width])
            known = names.get(key)
            if known is None:
                known = names[key] = self._next_name
                self._next_name += 1
            elif num_hits == len(used):
                num_hits += 1
            used.append(key)
            name = known
        for key in reversed(used):  # the end of a prompt is forgotten before its beginning
            names.move_to_end(key)
        while len(names) > self._max_blocks:
            names.popitem(last=False)
        num_hit_tokens = min(num_hits, max(0, len(ids) - 1) // BLOCK_TOKENS) * BLOCK_TOKENS
        self.num_queried_tokens += len(ids)
        self.num_hit_tokens += num_hit_tokens
        return num_hit_tokens
