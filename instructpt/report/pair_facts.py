"""What there is to say of passages with pairs: counts, what was left out with examples, categories, samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from instructpt.records import Group, Text
from instructpt.report.artifacts import Artifact
from instructpt.synthesis.mix import parse_mix

Artifacts = Mapping[str, Artifact]
GROUP_STAGES = (
    "Convert",
    "Mine",
    "Synthesize",
    "Write",
    "Verify",
    "Consistency",
    "Judged",
    "Best",
    "Fill",
    "Attach",
    "GoldPairs",
    "Remainder",
)
"""Stages that make passages with pairs."""
SAMPLES_PER_ARM = 2
GROUPS_LOOKED_AT = 200
"""For samples: the first groups of an artifact, of which those with the most pairs are shown."""
MOST_CATEGORIES = 40
"""In a chart; the rest is summed up."""


@dataclass(frozen=True, slots=True)
class PairFacts:
    """Passages with their pairs, as the last check left them."""

    name: str
    stage: str
    passages: int
    with_pairs: int
    pairs: int
    left_out: Mapping[str, int]
    """Reason -> pairs, most frequent first."""
    examples: Mapping[str, str]
    """Reason -> a pair."""
    formats: Mapping[str, int]
    categories: Mapping[str, int]
    asked_shares: Mapping[str, float]
    """Category -> share of the mix that was asked for; none where nothing was."""
    pairs_a_passage: Mapping[int, int]
    """Pairs -> passages with so many."""
    sentences: tuple[int, int]
    """That some pair needs, and all, of passages with enough of them; (0, 0) if nobody looked."""
    num_checks: int
    """Of all stages that led to it; a second answer and a judge are one each."""

    @property
    def num_left_out(self) -> int:
        """Pairs."""
        return sum(self.left_out.values())

    @property
    def num_read(self) -> int:
        """Pairs that stay, and those that were left out."""
        return self.pairs + self.num_left_out

    def category_chart(self) -> dict[str, list[float]]:
        """Category -> its share of the pairs in percent, and what was asked for, if anything was."""
        total = sum(self.categories.values())
        names = dict.fromkeys([*self.asked_shares, *islice(self.categories, MOST_CATEGORIES)])
        asked = [{name: 100 * share for name, share in self.asked_shares.items()}] if self.asked_shares else []
        shares = [{name: 100 * count / total for name, count in self.categories.items()}, *asked]
        return {name: [share.get(name, 0.0) for share in shares] for name in names}


def arms(artifacts: Artifacts) -> list[PairFacts]:
    """The artifacts of passages with pairs of which no other one was made by a further check."""
    found = {a.name: a for a in artifacts.values() if a.stage in GROUP_STAGES and a.tally.made}
    checked = {name for artifact in found.values() for name in artifact.inputs}
    return [_arm(artifact, artifacts) for name, artifact in found.items() if name not in checked]


def pairs_a_passage(arms: Sequence[PairFacts]) -> dict[str, list[float]]:
    """Number of pairs -> share of the passages that have so many, in percent, by arm."""
    largest = max((pairs for arm in arms for pairs in arm.pairs_a_passage), default=-1)
    totals = [max(1, sum(arm.pairs_a_passage.values())) for arm in arms]
    return {
        str(pairs): [100 * arm.pairs_a_passage.get(pairs, 0) / total for arm, total in zip(arms, totals, strict=True)]
        for pairs in range(largest + 1)
    }


def _arm(artifact: Artifact, artifacts: Artifacts) -> PairFacts:
    counts = artifact.tally.counts
    return PairFacts(
        name=artifact.name,
        stage=artifact.stage,
        passages=artifact.tally.made,
        with_pairs=counts.get("passages_with_pairs", 0),
        pairs=counts.get("pairs", 0),
        left_out=artifact.named_counts("rejects"),
        examples=_examples(artifact),
        formats=artifact.named_counts("format"),
        categories=artifact.named_counts("category"),
        asked_shares=_asked_shares(artifact, artifacts),
        pairs_a_passage={int(pairs): n for pairs, n in artifact.named_counts("pairs_per_passage").items()},
        sentences=(counts.get("sentences_covered", 0), counts.get("sentences", 0)),
        num_checks=_num_checks(artifact, artifacts),
    )


def _num_checks(artifact: Artifact, artifacts: Artifacts) -> int:
    own = len(artifact.settings.get("checks") or ()) + (artifact.stage in ("Consistency", "Judged"))
    return own + sum(_num_checks(artifacts[name], artifacts) for name in artifact.inputs if name in artifacts)


def _examples(artifact: Artifact) -> dict[str, str]:
    """Of each reason one pair that the artifact kept, else, of a stage before it, one in its first groups."""
    found = {
        reject.reason: reject.text
        for group in islice(artifact.records(Group), GROUPS_LOOKED_AT)
        for shot in group.shots
        for reject in shot.rejects
    }
    kept = {
        name.partition("/")[2]: texts[0]
        for name, texts in artifact.tally.samples.items()
        if texts and name.startswith(("rejects/", "left_out/"))
    }
    return found | kept


def _asked_shares(artifact: Artifact, artifacts: Artifacts) -> dict[str, float]:
    for stage in (artifact, *(artifacts[name] for name in artifact.inputs if name in artifacts)):
        if stage.stage == "Synthesize" and stage.settings.get("categories"):
            return dict(parse_mix(stage.settings["categories"]).shares)
    return {}


def samples(artifacts: Artifacts) -> dict[str, list[tuple[Group, Text]]]:
    """Groups before and after templating, by the artifact of the groups."""
    found = {}
    for template in artifacts.values():
        source = artifacts.get((template.settings.get("groups") or {}).get("artifact", ""))
        if template.stage == "Template" and source is not None and source.stage in GROUP_STAGES:
            chosen = sorted(islice(source.records(Group), GROUPS_LOOKED_AT), key=_num_pairs)[-SAMPLES_PER_ARM:]
            if matched := list(_matched(chosen[::-1], template)):
                found[source.name] = matched
    return found


def _num_pairs(group: Group) -> int:
    return sum(len(shot.pairs) for shot in group.shots)


def _matched(groups: list[Group], template: Artifact) -> Iterator[tuple[Group, Text]]:
    wanted = {group.id: group for group in groups if _num_pairs(group)}
    for text in template.records(Text):
        if not wanted:
            return
        if text.id in wanted:
            yield wanted.pop(text.id), text
