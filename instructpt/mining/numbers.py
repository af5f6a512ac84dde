"""Rules that look up a number or a date: how many, how much, what share, when."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from instructpt.mining.grammar import (
    ABOUT,
    COUNT,
    DATE,
    NUMBER,
    evidence,
    is_label,
    refers_back,
    shuffled,
    stands_alone,
    topic,
)
from instructpt.mining.passage import View
from instructpt.mining.phrases import ask
from instructpt.records import Pair

_PART = r"[^,;:()\"\u201c]"
_COUNTED = re.compile(
    rf"(?:A total of |In total, |Overall, |In all, )?(?P<number>(?i:{ABOUT}){COUNT}) (?P<what>(?!to |percent|of "
    rf"|and |or |out )[a-z]{_PART}{{3,70}}?) "
    rf"(?P<verb>were|are|have|received|completed|remained|underwent|participated|died"
    rf"|reported) (?P<rest>{_PART}{{4,90}})(?P<end>[.,;(].*)$"
)
_THERE_ARE = re.compile(
    rf"There (?P<verb>are|were) (?:currently |now |also )?(?P<number>{ABOUT}{COUNT}) (?P<what>[a-z]{_PART}{{3,50}}?) "
    rf"(?P<rest>(?:in|on|at) {_PART}{{3,60}})[.,;].*$"
)
_HAS = re.compile(
    rf"(?P<who>[A-Z]{_PART}{{2,70}}?) (?P<verb>has|have|had|contains?|contained|includes|included|employs"
    rf"|employed|enrolled|recruited|operates?|operated|owns?|owned|covers?|opened|acquired|sold|purchased|won"
    rf"|scored|produced|lost|killed|published) "
    rf"(?P<number>{ABOUT}{COUNT}) (?P<what>[a-z][\w\u2019-]*s(?: (?:of|with|from) [\w\u2019-]+)?|people"
    rf"|children)(?P<rest>(?: (?:in|on|at|during) {_PART}{{3,60}})?)[.,;].*$"
)
_SHARE = re.compile(
    rf"(?P<number>(?i:{ABOUT})\d+(?:\.\d+)?(?:\s?%| percent| per cent)) of (?P<rest>(?:the |all "
    rf"|its )?[\w$]{_PART}{{10,140}})(?:, (?:and|but|while|compared|with|which|whereas|including|according) .*)?[.]$"
)
_UNIT = (
    r"(?: (?:years?|months?|weeks?|days?|hours?|minutes?|seconds?|kilometers?|kilometres?|km|miles?|meters?"
    r"|metres?|feet|inches|kg|mg|g|ml|mL|mm|cm|m|acres|hectares|square (?:miles|kilometers|kilometres|feet"
    r"|metres|meters)|points|basis points|percent|million|billion|people|inhabitants|dollars|pounds|euros"
    r"|employees|degrees|old|per (?:share|year|day|week|month|hour))){0,3}"
)
_VALUE = re.compile(
    rf"(?:(?P<setting>(?:In|For|During|At) {_PART}{{2,40}}), )?(?P<what>(?:[Tt]he "
    rf"|[Oo]ur )?[A-Za-z]{_PART}{{3,80}}?) (?P<verb>is|was|were|are) (?P<number>{ABOUT}{NUMBER}{_UNIT})"
    rf"(?P<rest>(?: (?:in|for|at|during) {_PART}{{3,50}}?)?)(?:,? (?:compared|versus|and|with|up|down|or|an? "
    rf"|which|while|representing|primarily|driven|including)\b.*)?[.]$"
)
_CHANGED = re.compile(
    rf"(?:(?P<setting>(?:In|For|During) {_PART}{{2,40}}), )?(?P<what>[A-Za-z]{_PART}{{3,70}}?) (?P<verb>increased"
    rf"|decreased|grew|rose|fell|declined|dropped|improved|expanded|climbed) "
    rf"(?:by )?(?P<number>{ABOUT}{NUMBER}(?: basis points| points| bps)?)(?P<rest>(?: (?:in|during|year-over-year"
    rf"|year over year|from the|over the)\b{_PART}{{0,60}}?)?)"
    r"(?:,? (?:compared|versus|to|and|with|driven|which|primarily|due|due to|reflecting|as|on|while|from|mainly"
    r"|excluding|including)\b.*)?[.]$"
)
_UP = re.compile(
    rf"(?:(?P<setting>(?:In|For|During) {_PART}{{2,40}}), )?(?P<what>[A-Za-z]{_PART}{{3,70}}?) (?P<verb>was|were"
    rf"|is|are) (?P<way>up|down) (?P<number>{ABOUT}{NUMBER}(?: basis points| points| bps)?)"
    rf"(?P<rest>(?: (?:in|during|year-over-year|year over year|from the"
    rf"|over the)\b{_PART}{{0,60}}?)?)(?:,? (?:compared|versus|to|and|with|driven|which|primarily|due|reflecting"
    rf"|as|on|while|from|mainly|or|excluding|including)\b.*)?[.]$"
)
_BASE = {
    "increased": "increase", "decreased": "decrease", "grew": "grow", "rose": "rise", "fell": "fall",
    "declined": "decline", "dropped": "drop", "improved": "improve", "expanded": "expand", "climbed": "climb",
    "has": "have", "have": "have", "had": "have", "won": "win", "sold": "sell", "lost": "lose", "published": "publish",
    "killed": "kill", "opened": "open", "contained": "contain", "employed": "employ", "enrolled": "enroll",
    "recruited": "recruit", "owned": "own", "operated": "operate", "included": "include", "acquired": "acquire",
    "purchased": "purchase", "scored": "score", "produced": "produce",
}  # fmt: skip
_QUANTITY = re.compile(
    r"(?<![\w.,/:$\u00a3\u20ac\u2013(-])"
    r"(?P<number>\d{1,3}(?:,\d{3})+|\d+(?:\.\d+)?(?:\s?%| percent| per cent)|\d{1,4}(?:\.\d+)?(?= [a-z]))"
    r"(?![A-Za-z]|[.,]\d)(?! (?:to|and|or|of|in|on|by|for|at|with|is|was|were|are|as|from|vs|a)\b)"
    r"(?P<what>(?<![%t]) (?:[a-z]+ )?[a-z]{3,}[^s\Wui]s(?= )|(?<![%t]) (?:people|children|men|women)\b)?"
)
_DEADLINE = re.compile(
    rf"(?P<who>(?:The|Each|Every|An?) {_PART}{{3,60}}?) (?P<modal>shall"
    rf"|must) (?P<what>[a-z]{_PART}{{5,140}}?),? (?P<how>within|not later than|no later than) "
    r"(?P<number>\d{1,3} (?:business |calendar |working )?(?:days|months|years|hours)) (?P<point>(?:of|after"
    r"|before|from|following) [^,;:()\"\u201c]{4,100})[.]$"
)
_MAY_COUNT = re.compile(
    r"\d|^(?:There|Two|Three|Four|Five|Six|Seven|Eight|Nine|Ten)\b|\b(?:has|have|had) (?:two|three|four|five|six"
    r"|seven|eight|nine|ten)\b"
)
_NUMBERS_IN = re.compile(r"\d[\d,.]*")

_OPENING_DATE = re.compile(rf"(?:In|On|By|During) (?P<date>{DATE}),? (?P<event>[A-Z\"t][^;:\"\u201c]{{15,170}})[.]$")
_PASSIVE_DATE = re.compile(
    rf"(?P<what>[A-Z]{_PART}{{2,70}}?) (?P<verb>was|were) (?P<done>(?:[a-z]+ly )?(?:[a-z]+ed|built|born|held|won"
    rf"|sold|made|written|begun|found|taken|given|known|set up|drawn|lost|put|sent|cut)\b{_PART}{{0,70}}?)"
    rf" (?P<when>(?:in|on) {DATE})(?:[,;] .*|[.]| (?:and|by|with|after|under|as) .*)$"
)


def number_look_up(view: View, rng: random.Random) -> Iterator[Pair]:
    """A sentence with a number, turned into a question for it: how many, how much, what share, by how much."""
    asked: set[str] = set()
    for sentence in view.from_anywhere(rng):
        text = sentence.text
        if sentence.quoted or (" respectively" in text) or text.count("(") > 2 or not _has_number(text):
            continue
        for form in (_counted, _share, _changed, _value, _deadline):
            found = form(text, view, rng)
            if found is not None:
                question, answer = found
                rationale = evidence(text, rng) if rng.random() < 0.25 else None
                yield Pair(question, answer, (), rationale)
                asked.add(text)
                break
    for sentence in view.from_anywhere(rng):
        if not sentence.quoted and sentence.text not in asked and (pair := _gap(sentence.text, view, rng)) is not None:
            yield pair


def _gap(text: str, view: View, rng: random.Random) -> Pair | None:
    """Where no question can be made of the sentence itself: how many of what, or what share, belongs in its gap?"""
    match = _QUANTITY.search(text)
    if match is None or not stands_alone(text) or text.count(match["number"]) > 1 or _is_year(match["number"]):
        return None
    if is_label(text, match.start()):
        return None
    sentence = f"{text[: match.start('number')]}____{text[match.end('number') :]}"
    answer = match["number"]
    shape = re.sub(r"\d+", "0", answer)
    others = [
        other["number"] for other in _QUANTITY.finditer(view.text) if re.sub(r"\d+", "0", other["number"]) == shape
    ]
    options = shuffled(answer, [other for other in others if other not in text], rng) if rng.random() < 0.4 else ()
    if match["what"] is None:
        return Pair(ask("number_look_up", "gap_share", rng, sentence=sentence), answer, options)
    return Pair(ask("number_look_up", "gap", rng, what=match["what"].strip(), sentence=sentence), answer, options)


def _has_number(text: str) -> bool:
    return _MAY_COUNT.search(text) is not None


def _counted(text: str, view: View, rng: random.Random) -> tuple[str, str] | None:
    match = _COUNTED.match(text)
    if match and not match["end"].startswith(", respectively") and not _is_year(match["number"]):
        what, rest = match["what"], match["rest"].rstrip()
        if (
            topic("The " + what, view, max_words=10)
            and not refers_back(rest)
            and rest.split()[-1] not in ("and", "or", "to")
        ):
            return ask("number_look_up", "counted", rng, what=what, verb=match["verb"], rest=rest), _plain(
                match["number"]
            )
    match = _THERE_ARE.match(text)
    if (
        match
        and topic("The " + match["what"], view)
        and not refers_back(match["rest"])
        and not _is_year(match["number"])
    ):
        return ask("number_look_up", "there", rng, what=match["what"], verb=match["verb"], rest=match["rest"]), _plain(
            match["number"]
        )
    match = _HAS.match(text)
    if match and not refers_back(match["rest"]) and not _is_year(match["number"]) and match["who"] != "There":
        who = topic(match["who"], view)
        verb = match["verb"]
        if who is None or _NUMBERS_IN.search(who):
            return None
        base = _BASE.get(verb, verb.removesuffix("s"))
        helper = "does" if verb.endswith("s") else "do" if verb == base else "did"
        question = ask(
            "number_look_up", "has", rng, what=match["what"], helper=helper, who=who, base=base + match["rest"].rstrip()
        )
        return question, _plain(match["number"])
    return None


def _share(text: str, _view: View, rng: random.Random) -> tuple[str, str] | None:
    match = _SHARE.match(text)
    if (
        match is None
        or refers_back(match["rest"])
        or not re.search(r" (?:is|are|was|were|have|had|has|[a-z]+ed|came|do|did|can|will|live|say) ", match["rest"])
    ):
        return None
    if _NUMBERS_IN.search(match["rest"]):
        return None
    return ask("number_look_up", "share", rng, rest=match["rest"]), _plain(match["number"])


def _value(text: str, view: View, rng: random.Random) -> tuple[str, str] | None:
    match = _VALUE.match(text)
    if match is None or (
        not re.search(r"[$\u00a3\u20ac%]|[a-z]", match["number"])
        and not re.search(
            r"\b(?:number|population|age|score|rate|total|mean|median|price|cost|size|ratio|average|sum)\b",
            match["what"],
        )
    ):
        return None
    what = topic(match["what"][:1].upper() + match["what"][1:], view)
    if (
        what is None
        or len(_NUMBERS_IN.findall(text)) > 2
        or refers_back(match["rest"])
        or re.match(
            r"(?:The )?(?:\w+ )?(?:other|one|patients|participants|subjects|women|men|children)\b", match["what"]
        )
    ):
        return None
    return ask(
        "number_look_up",
        "value",
        rng,
        what=what,
        verb=match["verb"],
        rest=match["rest"].rstrip() + _setting(match["setting"]),
    ), _plain(match["number"])


def _changed(text: str, view: View, rng: random.Random) -> tuple[str, str] | None:
    match = _CHANGED.match(text) or _UP.match(text)
    if (
        match is None
        or refers_back(match["rest"])
        or not re.search(r"[%$\u00a3\u20ac]|percent|per cent|points|bps|million|billion", match["number"])
    ):
        return None
    what = topic(match["what"][:1].upper() + match["what"][1:], view)
    if what is None or _NUMBERS_IN.search(what):
        return None
    where = match["rest"].rstrip(" ,") + _setting(match["setting"])
    if "way" in match.groupdict():
        return ask("number_look_up", "up", rng, what=what, verb=match["verb"], way=match["way"] + where), _plain(
            match["number"]
        )
    return ask("number_look_up", "changed", rng, what=what, base=_BASE[match["verb"]] + where), _plain(match["number"])


def _deadline(text: str, view: View, rng: random.Random) -> tuple[str, str] | None:
    match = _DEADLINE.match(text)
    if match is None or re.search(r" (?:who|which|that) ", match["what"]) or refers_back(match["point"]):
        return None
    who = topic(match["who"], view)
    if who is None:
        return None
    answer = f"{match['how']} {match['number']} {match['point']}"
    return ask(
        "number_look_up", "deadline", rng, who=who, modal=match["modal"], what=match["what"].rstrip(",")
    ), answer[0].upper() + answer[1:]


def _setting(setting: str | None) -> str:
    return f" {setting[0].lower()}{setting[1:]}" if setting else ""


def _plain(number: str) -> str:
    number = number.strip().rstrip(",.")
    return number[0].upper() + number[1:]


def _is_year(number: str) -> bool:
    return re.fullmatch(r".*\b1[5-9]\d\d|.*\b20\d\d", number) is not None or number.strip().split()[-1] == "1"


def date_look_up(view: View, rng: random.Random) -> Iterator[Pair]:
    """ "In 1994, X ...", "X was founded in 1994": when?"""
    for sentence in view.from_anywhere(rng):
        text = sentence.text
        if sentence.quoted or not ("1" in text or "20" in text):
            continue
        if match := _PASSIVE_DATE.match(text):
            what = topic(match["what"], view)
            if what is not None and not refers_back(match["done"]) and not re.search(r"\d", match["done"]):
                question = ask("date_look_up", "passive", rng, verb=match["verb"], what=what, done=match["done"])
                yield _dated(question, match["when"], text, view, rng)
        elif match := _OPENING_DATE.match(text):
            event = match["event"]
            event = event[0].upper() + event[1:]
            if (stands_alone(event) and not re.search(DATE, event) and event.split()[0] not in ("The", "Two")) or topic(
                " ".join(event.split()[:2]), view
            ):
                question = ask("date_look_up", "event", rng, event=f"{event.rstrip('.')}.")
                yield _dated(
                    question,
                    f"in {match['date']}" if match["date"][-6:-4] != ", " else f"on {match['date']}",
                    text,
                    view,
                    rng,
                )


def _dated(question: str, when: str, text: str, view: View, rng: random.Random) -> Pair:
    answer = when[0].upper() + when[1:]
    year = when.rsplit(" ", 1)[-1]
    if when == f"in {year}" and rng.random() < 0.5:
        years = re.findall(r"(?<![\d,.\u2013-])(?:1[0-9]\d\d|20\d\d)(?![\d,]\d|[\u2013-])", view.text)
        options = shuffled(answer, [f"In {other}" for other in dict.fromkeys(years) if other not in text], rng)
        if options:
            return Pair(question, answer, options)
    return Pair(question, answer, (), evidence(text, rng) if rng.random() < 0.25 else None)
