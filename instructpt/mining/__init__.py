"""Mined pairs: the paper's rule-based baseline in the manner of AdaptLLM (arXiv 2309.09530), patterns our own.

    passage  --read-->  View: title, headings, whole sentences
                          |
                          |   Hernia is a bulge in the wall of the belly.     definition       What is hernia?
                          |   If it hurts, ... However, most patients ...     connective       How does B relate to A?
                          |   A total of 40 patients were included.           number_look_up   How many patients ...?
                          v
    RULES: name -> function (View, stream) -> pairs, lazily; `mine` lets the kinds take turns

Rules prefer silence to a bad question: a pattern that is unsure of a noun phrase or of what a word refers to yields
nothing. A new rule is a function here, a line in `RULES` and a table of wordings in `wording/english.toml`.
"""

from __future__ import annotations

from instructpt.mining.mining import LABELS, RULES, Rule, category, mine
from instructpt.mining.passage import Sentence, View, read

__all__ = ["LABELS", "RULES", "Rule", "Sentence", "View", "category", "mine", "read"]
