"""How good a synthesizer's pairs are, without another model to judge them.

    a passage, what the model wrote for it, what people wrote for it      --pair_measures-->    form, grounding, ...
    a passage and people's questions, with the model's answers to them    --answer_measures-->  response F1, ...

Both give `bootstrap.Measure`s: every number is a mean over items (outputs, pairs, questions, words), kept by passage,
so that its standard error can be drawn over passages. `METRICS` says what each one is.

What is compared is words (`instructpt.overlap`): lower case, articles aside. So all of it works for any language that
writes words, and none of it sees meaning: a paraphrase counts as wrong, a fluent falsehood made of the passage's own
words counts as grounded. For accuracy and relevance there is `evaluation.judge`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from instructpt.evaluation.assignment import best_assignment
from instructpt.evaluation.bootstrap import Measure, measure
from instructpt.records import Pair, Reject, Shot
from instructpt.verification.texts import INCONSISTENT
from instructpt.words.evidence import bearing, coverage, sentences
from instructpt.words.overlap import VERDICTS, exact_match, f1, grams, is_span, looks_extractive, supported, words

CUT_OFF = "cut_off"
"""The reason of a reject that is a last piece without its end, where the tokens for an answer ran out."""
UNASKED = frozenset({"passage_too_long", "prompt_refused", "engine_error"})
"""Reasons of rejects that are no fault of the model's: it never saw the prompt. Such outputs are not measured."""
MIN_COPIED_WORDS = 4
"""A shorter question may stand in its passage by chance."""

METRICS = {
    "well_formed": "outputs with at least one pair and nothing else, but for a last piece that the token limit cut off",
    "without_reject": "outputs with at least one pair and nothing else at all",
    "pairs_per_passage": "pairs an output",
    "passages_with_pairs": "outputs with at least one pair",
    "similarity_to_gold": "word F1 of question and answer with the written pair assigned to each gold pair, 0 for gold "
    "pairs without one; each written pair goes with one gold pair at most, so that the sum is largest",
    "grounded": "extractive answers whose words the passage holds, in a row or at least 4 in 5 of them",
    "grounded_by_span": "extractive answers that stand in the passage word for word",
    "extractive": "pairs whose answer counts as extractive: without a rationale, and by its category where that is "
    "known, else by being short, without options and no yes or no",
    "numbers_found": "numbers in answers that stand in the passage",
    "answer_among_options": "pairs with options whose answer is one of them",
    "duplicate_questions": "questions that an earlier pair of the same passage asked",
    "repeated_questions": "questions that occur more than once in all passages together",
    "copied_questions": f"questions without options that are {MIN_COPIED_WORDS} or more words of the passage in a row",
    "distinct_1_questions": "different words, of all words of questions",
    "distinct_2_questions": "different runs of two words, of all in questions",
    "distinct_3_questions": "different runs of three words, of all in questions",
    "distinct_1_answers": "different words, of all words of answers",
    "distinct_2_answers": "different runs of two words, of all in answers",
    "distinct_3_answers": "different runs of three words, of all in answers",
    "first_word_entropy_bits": "bits of the distribution of the questions' first words",
    "category_entropy_bits": "bits of the distribution of categories; its standard error by the delta method",
    "sentences_covered": "sentences of the passages that bear some pair's answer out",
    "confirmed": "pairs whose question a reader, asked again, answers in the same way",
    "question_words": "words a question, options aside",
    "answer_words": "words an answer, rationale aside",
    "yes_no_answers": "answers that are yes, no, true or false and nothing else",
    "response_f1": "word F1 of the answer that the model gave to a gold question, 0 where it gave none",
    "response_exact_match": "gold questions answered with the words of the gold answer, articles aside",
    "answered": "gold questions that got an answer in the form that was asked for",
    "judged_accurate": "pairs whose answer the judge called right",
    "judged_relevant": "pairs that the judge called relevant to the passage",
}
"""Metric -> what it is, in a line. All are means or shares; besides these there are `format/...`, the share of pairs of
a format, `category/...`, the share of pairs of a category, and `asked/...`, the share that was asked for."""

HEADLINES = (
    "well_formed",
    "pairs_per_passage",
    "grounded",
    "duplicate_questions",
    "confirmed",
    "sentences_covered",
    "response_f1",
    "similarity_to_gold",
    "judged_accurate",
    "judged_relevant",
)
"""What a reader wants first."""

_GRAM_LENGTHS = (1, 2, 3)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@dataclass(frozen=True, slots=True)
class Output:
    """A passage with what a model wrote for it, and what people did."""

    written: Shot
    gold: tuple[Pair, ...] = ()
    """None where nobody wrote any."""


def pair_measures(
    outputs: Sequence[Output],
    *,
    answers_by_category: Mapping[str, str] | None = None,
) -> list[Measure]:
    """Form, likeness to gold pairs, grounding and diversity of the pairs that a model wrote.

    answers_by_category: "span", "label" or "free" for categories of which that is known.
    """
    asked = [output for output in outputs if not _unasked(output.written.rejects)]
    shots = [output.written for output in asked]
    return [
        *_form(shots),
        measure("similarity_to_gold", (_similarities(output) for output in asked)),
        *_grounding(shots, answers_by_category=answers_by_category or {}),
        *_questions(shots),
        *_diversity(shots),
        *_formats(shots),
        measure("sentences_covered", (_covered(shot) for shot in shots)),
    ]


def reading_measures(outputs: Sequence[Output]) -> list[Measure]:
    """How many pairs are confirmed. written: has the pairs that a reader agreed with, and rejects for the others."""
    read = [output.written for output in outputs]
    confirmed = ([1.0] * len(shot.pairs) + [0.0 for r in shot.rejects if r.reason == INCONSISTENT] for shot in read)
    return [measure("confirmed", confirmed)]


def answer_measures(outputs: Sequence[Output]) -> list[Measure]:
    """How right the model's answers to gold questions are.

    written: has a pair for each gold question answered, with the model's answer, and a reject for each not answered.
    """
    found = [list(_answers(output)) for output in outputs]
    lost = [[0.0 for reject in output.written.rejects if reject.reason not in UNASKED] for output in outputs]

    def of_all(metric: str, value: Callable[[str, str], float]) -> Measure:
        """The mean over the questions that were asked, 0 for one that got no answer."""
        each = zip(found, lost, strict=True)
        return measure(metric, ([float(value(ours, gold)) for ours, gold in pairs] + zeros for pairs, zeros in each))

    return [
        of_all("response_f1", f1),
        of_all("response_exact_match", exact_match),
        of_all("answered", lambda *_: 1.0),
    ]


def well_formed(shot: Shot, *, forgiven: Collection[str] = (CUT_OFF,)) -> bool:
    """Whether an output is at least one pair and nothing else, but for rejects with a forgiven reason."""
    return bool(shot.pairs) and all(reject.reason in forgiven for reject in shot.rejects)


def similarity_to_gold(written: Sequence[Pair], gold: Sequence[Pair]) -> float:
    """The mean over gold pairs of the word F1 with the written pair assigned to it. See `METRICS`."""
    gains = [[f1(_text(pair), _text(wanted)) for wanted in gold] for pair in written]
    return best_assignment(gains) / len(gold)


def numbers(text: str) -> list[str]:
    """The numbers written in digits in a text, without the commas and dots inside them."""
    return [re.sub("[.,]", "", number) for number in _NUMBER.findall(text)]


def _unasked(rejects: Sequence[Reject]) -> bool:
    return any(reject.reason in UNASKED for reject in rejects)


def _form(shots: Sequence[Shot]) -> Iterator[Measure]:
    yield measure("well_formed", ([float(well_formed(shot))] for shot in shots))
    yield measure("without_reject", ([float(well_formed(shot, forgiven=()))] for shot in shots))
    yield measure("pairs_per_passage", ([float(len(shot.pairs))] for shot in shots))
    yield measure("passages_with_pairs", ([float(bool(shot.pairs))] for shot in shots))


def _similarities(output: Output) -> list[float]:
    """The passage's mean once a gold pair, so that passages with many gold pairs weigh more."""
    if not output.gold:
        return []
    return [similarity_to_gold(output.written.pairs, output.gold)] * len(output.gold)


def _grounding(shots: Sequence[Shot], *, answers_by_category: Mapping[str, str]) -> Iterator[Measure]:
    texts = [words(shot.document.text) for shot in shots]

    def extractive(pair: Pair) -> bool:
        known = answers_by_category.get(pair.category or "")
        short = looks_extractive(pair.answer, pair.options)
        return pair.rationale is None and (short if known is None else known == "span")

    answers = [[pair.answer for pair in shot.pairs if extractive(pair)] for shot in shots]
    found = list(zip(answers, texts, strict=True))
    yield measure("grounded", ([float(supported(answer, text)) for answer in given] for given, text in found))
    yield measure("grounded_by_span", ([float(is_span(answer, text)) for answer in given] for given, text in found))
    yield measure("extractive", ([float(extractive(pair)) for pair in shot.pairs] for shot in shots))
    yield measure("numbers_found", (_numbers_found(shot) for shot in shots))
    yield measure(
        "answer_among_options",
        ([float(pair.answer in pair.options) for pair in shot.pairs if pair.options] for shot in shots),
    )


def _covered(shot: Shot) -> list[float]:
    """1 for each sentence of the passage that some pair needs, 0 for the others."""
    passage, within = shot.document.text, sentences(shot.document.text)
    found = [bearing(passage, question=pair.question, answer=pair.answer, within=within) for pair in shot.pairs]
    num_covered, num_sentences = coverage(passage, [span for span in found if span is not None])
    return [1.0] * num_covered + [0.0] * (num_sentences - num_covered)


def _numbers_found(shot: Shot) -> list[float]:
    known = frozenset(numbers(shot.document.text))
    return [float(number in known) for pair in shot.pairs for number in numbers(pair.answer)]


def _questions(shots: Sequence[Shot]) -> Iterator[Measure]:
    def copied(pair: Pair, text: Sequence[str]) -> bool:
        long_enough = len(words(pair.question)) >= MIN_COPIED_WORDS
        return long_enough and not pair.options and is_span(pair.question, text)

    texts = [words(shot.document.text) for shot in shots]
    both = list(zip(shots, texts, strict=True))
    yield measure("copied_questions", ([float(copied(pair, text)) for pair in shot.pairs] for shot, text in both))
    yield measure("question_words", ([float(len(words(pair.question))) for pair in shot.pairs] for shot in shots))
    yield measure("answer_words", ([float(len(words(pair.answer))) for pair in shot.pairs] for shot in shots))
    yield measure("yes_no_answers", ([float(_is_verdict(pair.answer)) for pair in shot.pairs] for shot in shots))


def _is_verdict(answer: str) -> bool:
    found = words(answer)
    return len(found) == 1 and found[0] in VERDICTS


def _diversity(shots: Sequence[Shot]) -> Iterator[Measure]:
    """Duplicates within and across passages, distinct n-grams, first words, and categories where pairs have any.

    Numbers about all pairs together, written as means so that a bootstrap over passages can be had. A run of words that
    occurs c times counts 1/c each time, and the mean over occurrences is then (different runs) / (all runs):

        which year | which year | what colour        (1/2 + 1/2 + 1) / 3 = 2 different of 3

    In the same way the entropy is the mean of -log2(share of the category) over pairs. The drawn sets of the bootstrap
    keep the counts of the whole: drawing passages twice would itself make repetitions. The more pairs, the more
    repetition: these numbers compare between models that wrote about as much.
    """
    keys = [[question_key(pair) for pair in shot.pairs] for shot in shots]
    yield measure("duplicate_questions", (_seen_before(asked) for asked in keys))
    yield _by_frequency("repeated_questions", keys, lambda count, _: float(count > 1))
    for field in ("question", "answer"):
        for length in _GRAM_LENGTHS:
            runs = [[run for pair in shot.pairs for run in grams(getattr(pair, field), length)] for shot in shots]
            yield _by_frequency(f"distinct_{length}_{field}s", runs, lambda count, _: 1.0 / count)
    first = [[found[0] for pair in shot.pairs if (found := words(pair.question))] for shot in shots]
    yield _by_frequency("first_word_entropy_bits", first, lambda count, total: math.log2(total / count))
    categories = [[pair.category for pair in shot.pairs if pair.category] for shot in shots]
    yield _by_frequency("category_entropy_bits", categories, lambda count, total: math.log2(total / count))
    for name in sorted({category for found in categories for category in found}):
        yield measure(f"category/{name}", ([float(category == name) for category in found] for found in categories))


def question_key(pair: Pair) -> tuple[tuple[str, ...], ...]:
    """Equal for questions of the same words with the same options in any order."""
    return (tuple(words(pair.question)), *sorted(tuple(words(option)) for option in pair.options))


def _seen_before(keys: Sequence[Hashable]) -> list[float]:
    return [float(key in keys[:place]) for place, key in enumerate(keys)]


def _by_frequency(metric: str, items: Sequence[Sequence[Hashable]], value: Callable[[int, int], float]) -> Measure:
    """The mean over all items of `value(how often the item occurs, how many items there are)`."""
    counts = Counter(item for found in items for item in found)
    total = counts.total()
    return measure(metric, ([value(counts[item], total) for item in found] for found in items))


def _formats(shots: Sequence[Shot]) -> Iterator[Measure]:
    for options in (False, True):
        for rationale in (False, True):
            name = f"{'choice' if options else 'free'}{' + rationale' if rationale else ''}"
            wanted = (options, rationale)
            yield measure(
                f"format/{name}",
                (
                    [float((bool(pair.options), pair.rationale is not None) == wanted) for pair in shot.pairs]
                    for shot in shots
                ),
            )


def _answers(output: Output) -> Iterator[tuple[str, str]]:
    """(the model's answer, the gold answer), a question answered."""
    gold = {(pair.question, pair.options): pair.answer for pair in output.gold}
    for pair in output.written.pairs:
        yield pair.answer, gold[pair.question, pair.options]


def _text(pair: Pair) -> str:
    return f"{pair.question} {pair.answer}"
