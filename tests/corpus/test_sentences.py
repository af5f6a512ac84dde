"""Sentences: where they are taken to begin, in English and elsewhere, and that no text takes long."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructpt.words.evidence import sentence_starts


@pytest.mark.parametrize(
    "marked",
    [
        "One. |Two! |Three? |Four... |Five.",
        'Dr. Low came at 3.15 p.m. on foot. |"Why?" he asked. |No. 5 was shut.   |她来了。|他走了。',
        "He said “Stop!” |Then he left. |(So it was.) |And 'so.' |On.",
        "Use a parser, e.g. Lark, i.e. not regex. |See Fig. 3 and Sec. 4, pp. 5 to 9. |It was Jan. 5 then.",
        "J. R. Smith of the U.S. Navy and Mrs. Jones et al. Brown agreed. |Really?! |Yes.",
        "Is it so? maybe. |I said no. |Then he can't. |Done in 1999. |Later more.",
        "List:\n1. First entry. |\n2. Second entry.\n|3. Third",
        "Version 1.2.3 costs 4.50 euros. |The end.",
        "春天来了。|他问：“好吗？”|她说！|再见……完",
        "यह एक वाक्य है। |यह दूसरा है॥ |अंत",
        "هل هذا سؤال؟ |نعم.",
        "« Halte ! » |Puis il partit. |Vraiment ? |Oui. |Il dit « non » et sortit.",
        "„Halt!“ |Dann ging er am 3. Mai 1852 fort, d. h. am Abend. |Im 19. Jahrhundert war das so. |»Nein.« |Ja.",
        "¿Quién vino? |¡La Sra. Ruiz! |Véase pág. 5. |Fin.",
        "「行く。」と言った。|「行かない！」|彼は帰った。|１．５倍である．|次は数式である．|完",
        "សួស្តី។ |អរគុណ។ |ចប់",
        "Hello world",
        "",
    ],
)
def test_sentences_begin_where_a_reader_says(marked: str) -> None:
    text = marked.replace("|", "")
    expected = [i - n for n, i in enumerate(i for i, character in enumerate(marked) if character == "|")]
    if marked.startswith("List"):
        # The line break belongs to the end of the sentence, so the entry begins at its number.
        expected = [text.index("2."), text.index("3.")]
        assert sentence_starts(text) == expected
    else:
        assert [start for start in sentence_starts(text) if start < len(text)] == expected


@given(st.text(st.sampled_from("aB .!?\n。\"'1"), max_size=60), st.integers(0, 60), st.integers(0, 60))
def test_starts_ascend_inside_what_is_searched(text: str, start: int, length: int) -> None:
    start, stop = min(start, len(text)), min(start + length, len(text))
    starts = sentence_starts(text, start=start, stop=stop)
    assert starts == sorted(set(starts))
    assert all(start < position <= stop for position in starts)
    assert all(not text[position : position + 1].isspace() or position == stop for position in starts)


@pytest.mark.parametrize("unit", [".", ".)", ". ", " ", "a", "。", '."', "No. ", "\n."])
def test_no_text_takes_more_than_linear_time(unit: str) -> None:
    began = time.process_time()
    sentence_starts(unit * (200_000 // len(unit)))
    assert time.process_time() - began < 5
