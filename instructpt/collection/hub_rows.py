"""Rows of the Hub that a field mapping alone cannot read: several questions in one row, options under letters, tables.

The catalog says where the pieces stand in a row and which function of this file puts them together:

    [coqa.hub]                                     {"story": "Tim had...", "questions": ["Who?", "What?"],
    rows = "conversation"                           "answers": {"input_text": ["Tim", "a kite"], ...}}
    [coqa.hub.fields]                                 |
    context = "story"                              conversation(context=..., questions=[...], answers=[...])
    questions = "questions"                           |
    answers = "answers.input_text"                 {context, question "Who?", answer "Tim"}
                                                   {context, question "What?", answer "a kite"}

So a column that was renamed is mended in the catalog, and one function serves all sets of one make. A function takes
the mapped values under the names that the catalog gives them and yields what a plain mapping would have held: context,
question, answer, options, answer_index, rationale. It raises ValueError for a row that it cannot read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from instructpt.words.overlap import is_span, words

Values = Mapping[str, Any]
"""Neutral field -> value, still as the Hub has it: text, number, list of texts or None."""


def conversation(
    *, context: object, questions: object, answers: object, title: object = None, section: object = None
) -> Iterator[Values]:
    """Questions about one text that follow one another, kept in order: a later one may lean on those before it."""
    heading = ", ".join(part for part in (_text(title), _text(section)) if part)
    whole = "\n".join(part for part in (heading, _text(context)) if part)
    for question, answer in zip(_texts(questions), _texts(answers), strict=True):
        yield {"context": whole, "question": question, "answer": answer}


def turn_of_conversation(*, passage: object, history: object, question: str, answer: str) -> Iterator[Values]:
    """One turn whose text changes from turn to turn: the turns so far stand below the text, to say who "he" is.

    history: questions and answers in turn, the oldest first.
    """
    turns = _texts(history)
    lines = [f"{'Q' if i % 2 == 0 else 'A'}: {turn}" for i, turn in enumerate(turns)]
    yield {"context": "\n".join([_text(passage), *lines]), "question": question, "answer": answer}


def report_with_history(*, report: object, answer: str) -> Iterator[Values]:
    """A report with the questions and answers so far behind it, the question to be answered last.

        "... table of 2008 ...\\nQuestion: what was it in 2008?\\nAnswer: 4.0\\nQuestion: and in 2007?\\n"

    The report alone is the context, so that the turns of a conversation, each a row, meet on it again.
    """
    text, *turns = _text(report).split("\nQuestion:")
    if not turns:
        raise ValueError("no line begins with Question:")
    yield {"context": text, "question": turns[-1].strip(), "answer": answer}


def sections(*, contexts: object, questions: object, answers: object) -> Iterator[Values]:
    """Texts that each carry a list of questions, each of these with a list of answers, of which the first counts."""
    for context, asked, given in zip(_list(contexts), _list(questions), _list(answers), strict=True):
        for question, accepted in zip(_texts(asked), _list(given), strict=True):
            yield {"context": context, "question": question, "answer": (_texts(accepted) or [""])[0]}


def titled_paragraphs(
    *,
    titles: object,
    sentences: object,
    cited_titles: object,
    cited_sentences: object,
    question: str,
    answer: str,
) -> Iterator[Values]:
    """A question over several paragraphs: the context is those it needs, the rationale the sentences that are cited.

    cited_titles, cited_sentences: paragraph and number of every sentence needed. A citation of a sentence that is not
    there (a few are off by one in HotpotQA) is passed over.
    """
    paragraphs = {title: _texts(lines) for title, lines in zip(_texts(titles), _list(sentences), strict=True)}
    cited = list(zip(_texts(cited_titles), _list(cited_sentences), strict=True))
    needed = [title for title in paragraphs if any(title == name for name, _ in cited)]
    steps = [
        paragraphs[name][number].strip()
        for name, number in cited
        if name in paragraphs and isinstance(number, int) and number < len(paragraphs[name])
    ]
    context = "\n\n".join(f"{title}\n{''.join(paragraphs[title]).strip()}" for title in needed)
    yield {"context": context, "question": question, "answer": answer, "rationale": " ".join(steps) or None}


def page_with_answer(*, pages: object, question: str, answer: object, aliases: object) -> Iterator[Values]:
    """A question with several pages found for it: the first page that holds the answer, or another name of it.

    Without such a page the context is empty: pages found by a search need not answer the question.
    """
    names = list(dict.fromkeys([_text(answer), *_texts(aliases)]))
    for page in _texts(pages):
        found = words(page)
        for name in names:
            if is_span(name, found):
                yield {"context": page, "question": question, "answer": name}
                return
    yield {"context": "", "question": question, "answer": answer}


def story_lines(*, ids: object, types: object, texts: object, answers: object, support: object) -> Iterator[Values]:
    """A story told line by line with questions in between: each is asked about the lines above it.

    types: 0 for a line of the story, 1 for a question. The lines that its answer rests on are the rationale.
    """
    lines: dict[str, str] = {}
    for line, kind, text, answer, rests_on in zip(
        _texts(ids), _list(types), _texts(texts), _texts(answers), _list(support), strict=True
    ):
        if kind == 0:
            lines[line] = text.strip()
            continue
        reasons = [lines[name] for name in _texts(rests_on) if name in lines]
        yield {
            "context": "\n".join(lines.values()),
            "question": text,
            "answer": answer,
            "rationale": " ".join(reasons) or None,
        }


def keyed_options(
    *, question: str, options: object, keys: object, key: str, context: object = None, rationale: str | None = None
) -> Iterator[Values]:
    """Options under keys ("A", "B" or "1", "2"), of which one is the answer's."""
    named = dict(zip(_texts(keys), _texts(options), strict=True))
    yield {
        "context": context,
        "question": question,
        "options": list(named.values()),
        "answer": named.get(key, key),
        "rationale": rationale,
    }


def options_from_one(*, context: object, question: str, options: object, number: object) -> Iterator[Values]:
    """Options of which the answer is the first for 1, not for 0."""
    yield {"context": context, "question": question, "options": _texts(options), "answer_index": int(str(number)) - 1}


def answer_and_distractors(*, context: object, question: str, answer: object, distractors: object) -> Iterator[Values]:
    """The right option apart from the wrong ones: put in alphabetical order, so that its place says nothing."""
    options = sorted([_text(answer), *_texts(distractors)], key=lambda option: (option.casefold(), option))
    yield {"context": context, "question": question, "options": options, "answer": answer}


def lettered_options(*, question: str, options: object, letter: str, rationale: object = None) -> Iterator[Values]:
    """Options that bring their letter along ("A)21"), and a worked solution whose last line may name it.

    That line goes: options are told apart by their text, and are shuffled later.
    """
    named: dict[str, str] = {}
    for option in _texts(options):
        name, bracket, text = option.partition(")")
        if not bracket:
            raise ValueError(f"an option without a letter: {option!r}")
        named[name.strip(" (")] = text.strip()
    solution = _NAMES_LETTER.sub("", _text(rationale).strip()).strip()
    yield {
        "question": question,
        "options": list(named.values()),
        "answer": named.get(letter, letter),
        "rationale": solution or None,
    }


def facts_and_options(
    *,
    question: str,
    options: object,
    answer: str,
    facts_for: object,
    facts_against: object,
    rationale: str | None = None,
) -> Iterator[Values]:
    """A commonsense question with what speaks for one option and against the others: these facts are the context.

    They come in alphabetical order, so that their place does not tell which option they speak for.
    """
    facts = sorted({line.strip() for part in (facts_for, facts_against) for line in _text(part).splitlines()} - {""})
    context = "\n".join(facts)
    yield {"context": context, "question": question, "options": options, "answer": answer, "rationale": rationale}


def joined_answers(*, context: object, question: str, answers: object) -> Iterator[Values]:
    """An answer of several parts, each named once."""
    yield {"context": context, "question": question, "answer": ", ".join(dict.fromkeys(_texts(answers)))}


def instruction_before_text(*, source: object, answer: str) -> Iterator[Values]:
    """An instruction and the text it is about, parted by the first colon: "Make it shorter: The long ..." """
    instruction, colon, text = _text(source).partition(":")
    yield {"context": text.strip() if colon else "", "question": instruction.strip(), "answer": answer}


def worked_answer(*, question: str, answer: object) -> Iterator[Values]:
    """A worked solution with the result behind "####", and a calculator's notes (<<48/2=24>>) within: these go."""
    solution, mark, result = _text(answer).partition("####")
    if not mark:
        raise ValueError("no #### before the result")
    yield {
        "question": question,
        "answer": result.strip().replace(",", ""),
        "rationale": _CALCULATOR.sub("", solution).strip() or None,
    }


def table(*, header: object, cells: object, question: str, answers: object) -> Iterator[Values]:
    """A table as lines of cells between bars, its header first; an answer of several cells is joined by commas."""
    rows = [_texts(header), *(_texts(row) for row in _list(cells))]
    lines = ["| " + " | ".join(" ".join(cell.split()) for cell in row) + " |" for row in rows]
    yield {"context": "\n".join(lines), "question": question, "answer": ", ".join(_texts(answers))}


ROW_CONVERTERS: Mapping[str, Callable[..., Iterable[Values]]] = {
    function.__name__: function
    for function in (
        answer_and_distractors,
        conversation,
        facts_and_options,
        instruction_before_text,
        joined_answers,
        keyed_options,
        lettered_options,
        options_from_one,
        page_with_answer,
        report_with_history,
        sections,
        story_lines,
        table,
        titled_paragraphs,
        turn_of_conversation,
        worked_answer,
    )
}
"""The names a catalog may give under `hub.rows`."""

_CALCULATOR = re.compile(r"<<[^>]*>>")
_NAMES_LETTER = re.compile(r"(?:^|\n)[^\n]{0,30}\b(?i:answer|ans|option|choice)\b[^\n]{0,20}\W[A-E]\W*$")
"""A last line that is hardly more than the letter of the right option: "Answer: B", "So the correct option is (C)." """


def _list(value: object) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"a list was expected, not {type(value).__name__}")
    return list(value)


def _texts(value: object) -> list[str]:
    """The texts of a list; None, in a place where a set has no value, is ""."""
    texts = ["" if item is None else item for item in _list(value)]
    if not all(isinstance(item, str) for item in texts):
        raise ValueError("a list of texts was expected")
    return texts


def _text(value: object) -> str:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"a text was expected, not {type(value).__name__}")
    return value or ""
