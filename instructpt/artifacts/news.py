"""What a run tells while it works; `progress` shows it to people and machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from instructpt.artifacts.tally import Tally


class Progress:
    """Told by the artifact layer and by long stages how things go. Any method may be called from any thread.

    This one keeps it to itself.
    """

    def plan(self, names: Sequence[str]) -> None:
        """The stages to come, in order."""

    def found(self, name: str, tally: Tally) -> None:
        """An artifact was finished before; nothing is done."""

    def started(self, name: str, num_shards: int, num_sealed: int) -> None:
        """Work on a stage begins, some of its shards being there already."""

    def news(self, name: str, counts: Mapping[str, object]) -> None:
        """How the open shards of a stage stand, all together: passages, tokens, loss..."""

    def sealed(self, name: str, tally: Tally) -> None:
        """A shard is finished."""

    def finished(self, name: str, tally: Tally) -> None:
        """An artifact is finished."""
