"""Mined pairs: the paper's rule-based baseline in the manner of AdaptLLM (arXiv 2309.09530), patterns our own.

    passage  --read-->  PassageView: title, headings, whole sentences
                          |
                          |   A total of 40 patients were included.           fill_the_blank   A total of ____ ...
                          |   The rate was higher in men.                     true_or_false    ... lower in men.
                          |   If it hurts, ... However, most patients ...     connective       How does B relate to A?
                          |   "Run," said Ada.                               speaker          Who says "Run"?
                          v
    RULES: name -> function (PassageView, stream) -> pairs, lazily
                          |
                          v
    choosing: those that need sentences which no other pair needs yet

Rules prefer silence to a bad question: a sentence that is broken is not asked about, one that leans on the sentence
before only with that. A new rule is a function here, a line in `RULES` and a
table of wordings in `wording/english.toml`.
"""

from __future__ import annotations

from instructpt.mining.mining import LABELS, RULES, Rule, category, mine
from instructpt.mining.passage import PassageView, Sentence, read

__all__ = ["LABELS", "RULES", "PassageView", "Rule", "Sentence", "category", "mine", "read"]
