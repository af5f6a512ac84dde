"""Small word lists of English that the patterns lean on. Lower case unless capitals matter."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ABBREVIATIONS = _words(
    "mr mrs ms dr prof st jr sr gen col capt lt sgt maj rev hon gov sen rep pres vs cf ca fig figs no nos vol "
    "vols pp p art sec ch ed eds al etc e.g i.e inc co corp ltd mt ft approx est dept univ assn jan feb mar "
    "apr jun jul aug sep sept oct nov dec ph.d u.s u.k u.n d.c m mme mlle messrs op cit tel ext min max resp"
)
"""Words before a full stop that seldom ends a sentence."""

MAY_END_A_SENTENCE = _words("etc inc co corp ltd u.s u.k d.c al jr sr")
"""Abbreviations after which a sentence may yet end, if a new one plainly begins."""

ABBREVIATIONS_OF_NUMBERED_THINGS = _words("no art min max mar jan ed")
"""Also words of their own: abbreviations only before a digit."""

NOT_NAMES = _words(
    "I I'm I'll I've I'd Mr Mrs Miss Ms Dr Sir St January February March April May June July August September "
    "October November December Monday Tuesday Wednesday Thursday Friday Saturday Sunday That The This These "
    "And But Or If In It He She They We You What When Where Who Why How Yes No Not So Then There For From To "
    "As At Oh Ah Well Now O Let Table Figure Section Chapter"
)
"""Capitalised inside sentences, yet no names that a question could ask for."""

NOT_SPEAKERS = _words("I He She They It We You Then And But So The What Who There Here Well Yes No Oh Not")

REFERS_BACK = _words(
    "he she it they this that these those his her its their him them such then there here so but and or nor "
    "yet also however therefore thus hence moreover furthermore besides instead otherwise meanwhile "
    "nevertheless nonetheless consequently additionally similarly likewise conversely finally another other "
    "others one ones both neither either none each some same former latter again still later earlier "
    "afterwards what who whom whose which where when why how i my mine me you your yours yes well look okay ok "
    "sure right thanks thank oh ah just let above below following not no nothing everything something anything"
)
"""First words of sentences that lean on the one before, or ask."""

SUBORDINATE = _words(
    "if although though while because since as when whenever once unless until before after during in on at by "
    "for from with without within under over to of into through throughout between among against despite upon "
    "per given than whereas according based due first second third lastly next now today currently recently"
)
"""First words of phrases that are no subjects."""

DANGLING = SUBORDINATE | _words(
    "also both all often usually now still then generally and or not only even just the a an"
)
"""Last words of phrases that were cut too early."""

INSIDE_CLAUSES = _words(
    "is are was were be been being am has have had do does did will would can could may might must shall "
    "should cannot that which who whom whose what where when while if because although though as than but not "
    "said says say so we us our ours i me my you your he him his she her it its they them their this these "
    "those there here how why"
)
"""Words that a plain noun phrase does not hold."""

FUNCTION_WORDS = (
    INSIDE_CLAUSES
    | SUBORDINATE
    | REFERS_BACK
    | _words("several whether around along across behind beyond within instead rather")
)
"""Words that carry too little to be asked for."""

PRONOUNS = _words(
    "he him his she her hers it its they them their theirs this these those we us our i me my you your such "
    "latter former respectively"
)

COMMON_FIRST_WORDS = _words(
    "the a an most many several all few every any some more both patients participants people persons children "
    "women men researchers scientists doctors revenue revenues sales signs symptoms studies"
)
"""Lowered inside a question, whether or not the passage spells them so."""

NOT_ADVERBS = _words("Family Italy July Assembly Supply Anomaly Monopoly Reply Butterfly Sicily Emily")

NOT_IN_A_KIND = _words(
    "of in on at by for from with without to and or as is are was were be been has have had that which who the "
    "a an their its his her our your my this these those through between among into than used using use uses "
    "not also can may will including such cause causes all some many other others various several both treat "
    "affect if when while because about against under over"
)
"""Where the noun phrase before "such as" has certainly begun."""

NO_KINDS = _words("others things ways does times factors reasons areas")
"""Plurals that say nothing alone."""
