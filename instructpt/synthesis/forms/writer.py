"""Writing in forms: each passage is asked about variant by variant, until so many texts are accepted as are wanted.

    passage, form facts, 3 wanted      variant 0  as the form says          -> kept
                                       variant 1  "begin with numbers"      -> kept
                                       variant 2  "begin with people"       -> near_duplicate of variant 1
                                       variant 3  "begin with causes"       -> kept
    passage without numbers, form problem                                   -> skipped: too_few_numbers

Variants that are missing are asked for together, then judged in their order, so that what is kept hangs on the answers
alone. The first one is the likeliest answer to the plain request; each further one differs in what is drawn for it
from `rng` (register, genre, audience, focus, topic) and is sampled.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from instructpt.engines import Completion, Conversation, Sampling
from instructpt.records import Document, Pair, Reject, Shot, Writing
from instructpt.seeds import rng
from instructpt.synthesis.asking import Session, answered, together
from instructpt.synthesis.chains import TOO_LONG, Prompt, measure
from instructpt.synthesis.forms import AskedForm
from instructpt.synthesis.forms.accepted import AcceptedTexts
from instructpt.synthesis.forms.neighbours import Neighbours
from instructpt.synthesis.forms.reading import ReadAnswer, labelled, read, topic_lines
from instructpt.synthesis.forms.requests import (
    BETWEEN,
    MAX_TOPICS,
    Material,
    first_request,
    has_enough_numbers,
    manner_of,
    material_of,
    request,
    style_of,
    without_example,
)
from instructpt.words import overlap

MIN_NAMED_SHARE = 0.5
"""Of the words of a thing that a text is to be about: "lighthouse on Gull Rock" may be "the lighthouse"."""
EXTRA_TRIES = 2
"""Variants that are tried beyond those that are wanted, and half as many again: what is rejected is asked for anew in
another way. What is still not there is "missing"."""
FORMS = "forms/"
"""Begins the counts of a form: forms/facts/kept."""


@dataclass(slots=True)
class Writer:
    """Writes about one passage after the other; `shot` is what `Synthesis.write` is for a run with forms."""

    forms: tuple[AskedForm, ...]
    variants: int
    """Texts for each that is asked for."""
    temperature: float
    """Of all variants but the first."""
    seed: int
    shard: int
    counts: dict[int, Counter[str]] = field(default_factory=dict)
    """Number of a passage -> what became of its forms; taken away by whoever counts it."""
    neighbours: Neighbours = field(default_factory=Neighbours)

    def followed(self, documents: Iterable[Document]) -> Iterator[Document]:
        """The passages of the shard in their order: some forms are about two of one document."""
        if any(asked.form.topics == "pairs" for asked in self.forms):
            return self.neighbours.followed(documents)
        return iter(documents)

    async def shot(self, session: Session, document: Document, earlier: Sequence[Shot], number: int) -> Shot:
        """The passage with all that was written about it."""
        del earlier
        beside = self.neighbours.found.pop(number, "")
        counted = self.counts[number] = Counter[str]()
        tasks = [
            FormTask(session, asked, document, self.temperature, (self.seed, self.shard, number), counted)
            for asked in self.forms
        ]
        await together([task.write(task.asked.number * self.variants, beside) for task in tasks])
        rejects = [reject for task in tasks for reject in task.rejects]
        too_long = tuple(dict.fromkeys(reject for reject in rejects if reject.reason == TOO_LONG))
        shot = Shot(
            document,
            tuple(pair for task in tasks for pair in task.pairs),
            rejects=(*too_long, *(reject for reject in rejects if reject.reason != TOO_LONG)),
            writings=tuple(writing for task in tasks for writing in task.writings),
        )
        num_failed = sum(task.num_failed for task in tasks)
        session.count(
            shot,
            replayed=not any(task.num_asked_anew for task in tasks),
            failed=bool(num_failed) and not (shot.writings or shot.pairs),
        )
        return shot


@dataclass(slots=True)
class FormTask:
    """One form of one passage while it is written."""

    session: Session
    asked: AskedForm
    document: Document
    temperature: float
    place: tuple[int, int, int]
    """Seed, shard, and the passage's number in it."""
    counted: Counter[str]
    topics: list[tuple[str, Material]] = field(default_factory=list)
    """Each with what it is to be written from."""
    pairs: list[Pair] = field(default_factory=list)
    writings: list[Writing] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    accepted: AcceptedTexts = field(default_factory=AcceptedTexts)
    """The texts that are kept."""
    num_kept: int = 0
    num_failed: int = 0
    """Requests without an answer."""
    num_asked_anew: int = 0
    """Requests that the ledger did not answer."""

    async def write(self, wanted: int, beside: str) -> None:
        """Write until so many texts are kept, or so many were tried that no more come of it.

        beside: another passage of the document, for forms that are about two.
        """
        if not has_enough_numbers(self.document, self.asked.form):
            self._count("skipped")
            self._reject("too_few_numbers")
            return
        self._count("wanted", wanted)
        material = material_of(self.asked.form, self.document)
        self.topics = await self._find_topics(material, beside) if self.asked.form.topics else [("", material)]
        tried, limit = 0, wanted + EXTRA_TRIES + wanted // 2 if self.topics else 0
        while tried < limit and self.num_kept < wanted:
            batch = range(tried, min(limit, tried + wanted - self.num_kept))
            answers = await together([self._answer(variant) for variant in batch])
            tried = batch.stop
            for variant, answer in zip(batch, answers, strict=True):
                self._judge(variant, answer)
                if isinstance(answer, Reject) and answer.reason == TOO_LONG:
                    tried = limit
        self._count("missing", wanted - self.num_kept)

    async def _find_topics(self, material: Material, beside: str) -> list[tuple[str, Material]]:
        """What there is to write on in this passage, and what ties it to another one of the same document."""
        names = await self._named(material)
        found = [(name, material) for name in names]
        if self.asked.form.topics == "pairs":
            found = [(f"{a}{BETWEEN}{b}", material) for a, b in itertools.combinations(names, 2)]
            if beside and names:
                found += await self._across(names, beside)
        if not found and not self.rejects:
            self._reject("no_topic")
        self._stream("topics").shuffle(found)
        return found

    async def _across(self, names: Sequence[str], beside: str) -> list[tuple[str, Material]]:
        """A thing of the passage beside with one of this passage, where not one passage names both; none if the model
        cannot see both passages at once."""
        form, here, there = self.asked.form, overlap.words(self.document.text), overlap.words(beside)
        both = material_of(form, self.document, beside)
        if self._fitting(request(both, topic=f"{names[0]}{BETWEEN}{names[0]}")) is None:
            return []
        known = await self._named(material_of(form, replace(self.document, text=beside)))
        return [
            (f"{a}{BETWEEN}{b}", both)
            for a, b in itertools.product(known, names)
            if not overlap.supported(a, here) and not overlap.supported(b, there)
        ]

    async def _named(self, material: Material) -> list[str]:
        answer = await self._ask(first_request(material), self.session.synthesis.sampling)
        if isinstance(answer, Reject):
            self._take(answer)
            return []
        lines = topic_lines(answer.text, most=MAX_TOPICS)
        if self.asked.form.topics == "pairs":  # names of things must be there
            words = overlap.words(material.document.text)
            return [line for line in lines if overlap.supported(line, words)]
        return [line for line in lines if line.casefold() != material.language.nothing.casefold()]

    async def _answer(self, variant: int) -> Completion | Reject:
        """What the model writes as this variant."""
        topic, material = self._topic(variant)
        asked = request(
            material,
            style=style_of(self.asked, variant, self._stream("style")),
            topic=topic,
            manner=manner_of(self.asked, variant, material.language, self._stream("manner")),
        )
        sampling = self.session.synthesis.sampling
        if variant:
            sampling = replace(sampling, temperature=self.temperature, seed=sampling.seed + variant)
        return await self._ask(asked, sampling)

    def _judge(self, variant: int, answer: Completion | Reject) -> None:
        """Keep what is good of an answer, and count it."""
        if isinstance(answer, Reject):
            self._take(answer)
            return
        self._count("answers")
        topic, material = self._topic(variant)
        found = read(
            answer,
            form=self.asked.form,
            language=material.language,
            passage=material.evidence,
            said=self.pairs,
            example=material.example,
        )
        if found.text:
            found = self._compared(found) if self._is_on(topic, found.text) else found.without("off_topic")
        self.rejects += labelled(found.rejects, self.asked.label)
        self._count("kept" if found.is_kept else "rejected")
        if found.is_kept:
            self.num_kept += 1
            self.pairs += found.pairs
            if found.text:
                self.writings.append(Writing(self.asked.label, variant, found.text, material.beside))

    def _compared(self, found: ReadAnswer) -> ReadAnswer:
        """The answer, unless a text before it says nearly the same; how much they share is counted, in percent."""
        shared = self.accepted.add(found.text)
        if shared is None:
            return found.without("near_duplicate")
        self._count("compared", len(shared))
        self._count("shared_percent", sum(round(100 * share) for share in shared))
        return found

    def _is_on(self, topic: str, text: str) -> bool:
        """Whether a text names both things that it is to be about."""
        if self.asked.form.topics != "pairs":
            return True
        words = overlap.words(text)
        return all(overlap.share_found(name, words) >= MIN_NAMED_SHARE for name in topic.split(BETWEEN))

    async def _ask(self, asked: Conversation, sampling: Sampling) -> Completion | Reject:
        """The answer; without the example, if the passage does not fit beside it."""
        prompt = self._fitting(asked)
        if prompt is None:
            return Reject("", TOO_LONG)
        found, replayed = await answered(self.session, prompt, drawn=sampling)
        if isinstance(found, Completion):
            self.num_asked_anew += not replayed
            self._count("requests")
            self._count("prompt_tokens", prompt.num_tokens)
            self._count("output_tokens", found.num_tokens)
        return found

    def _fitting(self, asked: Conversation) -> Prompt | None:
        """The prompt with the example, or without it, or None where it is too long both ways."""
        synthesis = self.session.synthesis
        prompts = (
            measure(content, vocabulary=synthesis.vocabulary, follows=0) for content in (asked, without_example(asked))
        )
        return next((prompt for prompt in prompts if prompt.num_tokens <= synthesis.budget_tokens), None)

    def _take(self, failure: Reject) -> None:
        """Note a request that got no answer."""
        if failure.reason == TOO_LONG:
            self.rejects.append(failure)
            return
        self.rejects += labelled([failure], self.asked.label)
        self.num_failed += 1
        self._count("failed")

    def _reject(self, reason: str) -> None:
        self.rejects += labelled([Reject("", reason)], self.asked.label)

    def _count(self, what: str, number: int = 1) -> None:
        self.counted[f"{FORMS}{self.asked.label}/{what}"] += number

    def _topic(self, variant: int) -> tuple[str, Material]:
        return self.topics[variant % len(self.topics)]

    def _stream(self, what: str) -> random.Random:
        seed, *place = self.place
        return rng(seed, what, *place, self.asked.form.name)
