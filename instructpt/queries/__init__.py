"""Your users' questions: each is matched to the passage that answers it, answered from there, and kept if it holds.

    files --ReadQueries--> queries                                search logs, tickets: one question a line, or a field
    passages --Index--> what words stand where
    queries, index --Match--> queries, each with its passage      or with a reason why none
    matched, passages --Spread--> queries                         as templates, about other passages too (if wanted)
    passages, matched --Answer--> passages with pairs             a model answers from the passage
                      --Confirmed, Checked--> the same            a reader agrees, checks pass
    groups, those --Attach--> groups                              beside the pairs that were written anyway
    matched, those --Unanswered--> queries                        what the corpus cannot answer, each with its reason

Queries may hold personal data: no tally, status, log or message has a word of them; artifacts alone do.
"""
