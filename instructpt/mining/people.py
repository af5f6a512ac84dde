"""Rules about who: who did something, who said something, who is obliged to do something."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from instructpt.mining.grammar import PERSON, evidence, refers_back, shuffled, topic
from instructpt.mining.lexicon import NOT_SPEAKERS
from instructpt.mining.passage import View
from instructpt.mining.phrases import ask
from instructpt.records import Pair

_PAST = {
    "invented": "invented", "written": "wrote", "developed": "developed", "created": "created", "founded": "founded",
    "discovered": "discovered", "designed": "designed", "directed": "directed", "composed": "composed",
    "painted": "painted", "built": "built", "produced": "produced", "established": "established",
    "introduced": "introduced", "described": "described", "published": "published", "defeated": "defeated",
    "killed": "killed", "signed": "signed", "led": "led", "named": "named", "proposed": "proposed",
    "conducted": "conducted", "commissioned": "commissioned", "recorded": "recorded", "appointed": "appointed",
}  # fmt: skip
_ACTIVE = (
    "invented|wrote|developed|created|founded|discovered|designed|directed|composed|painted|built|established"
    "|introduced|published|defeated|killed|won|led|signed|proposed|recorded|appointed|married|succeeded|replaced"
    "|conquered|captured|bought"
)
_MADE = "|".join(_PAST)
_DONE_BY = re.compile(
    rf"(?P<what>[A-Z][^,;:()\"\u201c]{{2,80}}?) (?:is|are|was|were) (?:[a-z]+ly |first )?(?P<verb>{_MADE}) by "
    rf"(?P<who>{PERSON})(?P<rest>(?: (?:in|at|for|on) [^,;:()\"\u201c]{{2,40}})?)(?:[,;].*)?[.]$"
)
_DID = re.compile(
    rf"(?P<who>{PERSON}) (?P<verb>{_ACTIVE}) (?P<what>(?:an?|the|his|her|its|[A-Z])[^;:()\"\u201c]{{3,120}})[.]$"
)
_SAY = (
    "said|replied|cried|asked|answered|exclaimed|shouted|whispered|murmured|remarked|returned|continued|added"
    "|observed|muttered"
)
_SPEAKER = (
    r"(?:(?:Mr|Mrs|Dr|M|Mme|St)\. |Miss |Sir |Lady |Lord |Captain |Madame |Monsieur |Uncle |Aunt |Father |Mother "
    r"|Doctor |Colonel |King |Queen |Prince |Princess |Count )?"
    r"[A-Z][a-z\u00e0-\u00ff'\u2019-]+(?: [A-Z][a-z\u00e0-\u00ff'\u2019-]+)?|[Tt]he (?:[a-z]+ )?[a-z]{3,}(?=[.,;]|$)"
)
_SAID_AFTER = re.compile(
    rf"[\"\u201c](?P<quote>[A-Z][^\"\u201c\u201d\n]{{18,240}}[,!?])[\"\u201d] (?:{_SAY}) "
    rf"(?P<who>{_SPEAKER})(?=[.,;!: ]|$)"
)
_SAID_BEFORE = re.compile(
    rf"(?:^|[.!?;\"\u201d] |\n)(?P<who>{_SPEAKER}) (?:{_SAY})(?: to [A-Z][a-z]+)?[,:] "
    rf"[\"\u201c](?P<quote>[A-Z][^\"\u201c\u201d\n]{{18,240}}[.!?])[\"\u201d]"
)

_DUTY = re.compile(
    r"(?P<who>(?:The|Each|Every|An?) [A-Za-z][^,;:()\"\u201c.]{2,60}?) (?P<modal>shall|must"
    r"|may) (?P<duty>[a-z]+ [^;:\"\u201c]{15,240})[.]$"
)
_NO_DUTY = re.compile(
    r"(?:not|be|have|receive|apply|include|consist|constitute|become|continue|mean|contain|terminate|expire"
    r"|take effect|remain|also|only|vest|begin|cease|prevail|at|in|for|on|or|and|occur|extend|result|cause"
    r"|affect|need|differ|help|require|lead|seem|feel|appear|never|arise|accrue|operate)\b"
)
_AGENT = re.compile(
    r"(?:Mayor|Council|Board|Commissioner|Commission|Director|Secretary|Agency|Department|Office|Authority|Court"
    r"|court|Governor|Superintendent|Chairman|Committee|person|trustee|owner|insurer|lessor|lessee|employer"
    r"|employee|corporation|company|officer|agent|licensee|applicant|provider|tenant|landlord|bank|seller|buyer"
    r"|party|debtor|guardian|association|institution|operator|District|physician|facility|judge|clerk|member"
    r"|producer|receiver|fiduciary|entity|partner|partnership|administrator|representative|holder|school"
    r"|[a-z]{3,}(?:er|or|ist|ant|ee))s?$"
)


def who_did_what(view: View, rng: random.Random) -> Iterator[Pair]:
    """ "X wrote Y", "Y was written by X": who wrote Y?"""
    people = [name for name in view.names if " " in name]
    for sentence in view.from_anywhere(rng):
        if sentence.quoted:
            continue
        match = _DONE_BY.match(sentence.text) if " by " in sentence.text else None
        if match is not None:
            what = topic(match["what"], view)
            if what is None or refers_back(match["rest"]):
                continue
            what, verb = what + match["rest"], _PAST[match["verb"]]
        else:
            match = _DID.match(sentence.text)
            if match is None or match["who"].split()[0] in NOT_SPEAKERS or refers_back(match["what"]):
                continue
            what, verb = (
                re.split(r", (?:while|and|but|which|who|with|as|in|to|where)\b", match["what"], maxsplit=1)[0],
                match["verb"],
            )
            if topic(match["who"], view) is None:
                continue
        who = match["who"]
        options = (
            shuffled(who, [name for name in people if name not in sentence.text], rng) if rng.random() < 0.4 else ()
        )
        rationale = evidence(sentence.text, rng) if rng.random() < 0.25 else None
        yield Pair(ask("who_did_what", "free", rng, verb=verb, what=what), who, options, rationale)


def quotation_speaker(view: View, rng: random.Random) -> Iterator[Pair]:
    """ "...," said X: who says it? Options are the others who speak or are named."""
    if '"' not in view.text and "\u201c" not in view.text:
        return
    found = [m for pattern in (_SAID_AFTER, _SAID_BEFORE) for m in pattern.finditer(view.text)]
    found = [
        match
        for match in found
        if match["who"].split()[0] not in NOT_SPEAKERS or match["who"].lower().startswith("the ")
    ]
    speakers = [match["who"] for match in found]
    rng.shuffle(found)
    for match in found:
        who, quote = match["who"], match["quote"].rstrip(",")
        if (
            who.lower() in ("the other", "the latter", "the former", "the same")
            or len(quote.split()) < 4
            or (who[0] in "Tt" and who.endswith("ly"))
        ):
            continue
        quote = quote if quote[-1] in ".!?" else f"{quote}."
        pool = [
            *(name[0].upper() + name[1:] for name in speakers),
            *(name for name in view.names if name.count(" ") < 2 and not name.isupper()),
        ][:10]
        options = shuffled(who, pool, rng) if rng.random() < 0.5 and who[0].isupper() else ()
        yield Pair(ask("quotation_speaker", "free", rng, quote=quote), who[0].upper() + who[1:], options)


def obligation(view: View, rng: random.Random) -> Iterator[Pair]:
    """ "The Mayor shall submit ...": who is to submit it? What must the Mayor do?"""
    for sentence in view.from_anywhere(rng):
        text = sentence.text
        if not (" shall " in text or " must " in text) or sentence.quoted:
            continue
        match = _DUTY.match(text)
        if match is None or _NO_DUTY.match(match["duty"]) or not _AGENT.search(match["who"]):
            continue
        who = topic(match["who"], view, max_words=8)
        if who is None or match["modal"] == "may":
            continue
        if rng.random() < 0.5 and not refers_back(match["duty"]):
            yield Pair(ask("obligation", "who", rng, modal=match["modal"], duty=match["duty"]), match["who"])
        else:
            duty = match["duty"]
            yield Pair(ask("obligation", "what", rng, modal=match["modal"], who=who), duty[0].upper() + duty[1:] + ".")
