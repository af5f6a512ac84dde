"""What a user relies on when test items are looked for: shared runs of words are found, in their places, no others."""

from __future__ import annotations

import unicodedata
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from instructpt.seeds import rng
from instructpt.words import ngrams, wordforms
from instructpt.words.ngrams import MAX_SAME, MAX_SHARING, Index, Occurrence, index, union
from instructpt.words.wordforms import find_words, folded_words

ITEM = "In 1921 the western pillar sank by 4 centimetres, and trains were stopped for a whole month."
SHORT = "Who built the bridge over the river Cole?"


def filler(name: str, *, num_words: int) -> str:
    """Unrelated text: drawn words in sentences."""
    draw = rng(1, "filler", name)
    drawn = ("".join(draw.choices("abcdefghijklmnoprstuvwy", k=draw.randint(2, 9))) for _ in range(num_words))
    return " ".join(word + draw.choice(("", "", "", "", ",", ".\n", "'s")) for word in drawn)


def found_in(text: str, *items: str) -> list[tuple[str, int, list[str]]]:
    """Of each item that is found: its first word, how many n-grams, and what the spans hold."""
    made = index(items)
    return [
        (made.spelled[hit.item].split()[0], hit.num_ngrams, [text[start:stop] for start, stop in hit.spans])
        for hit in made.search([text])
    ]


def test_a_copy_is_found_with_its_place_whatever_its_case_accents_and_punctuation() -> None:
    said = "IN 1921 – the Western pillar   sank by ４ céntimetres and trains\nwere stopped for a whole month"
    assert found_in(f"It is said: {said}! Others differ.", ITEM) == [("in", 5, [said])]


def test_thirteen_words_in_a_row_are_found_and_twelve_are_not() -> None:
    shared = "the western pillar sank by 4 centimetres and trains were stopped for a"
    assert found_in(f"Then {shared} day.", ITEM) == [("in", 1, [shared])]
    assert found_in(f"Then {shared.removesuffix(' a')} one day.", ITEM) == []


def test_a_short_item_is_found_as_a_whole_alone() -> None:
    assert found_in(f"Tell me: {SHORT} Yes.", SHORT) == [("who", 1, [SHORT.removesuffix("?")])]
    assert found_in(SHORT.removesuffix(" Cole?"), SHORT) == []


def test_items_of_few_words_are_found_as_whole_texts_or_not_looked_for() -> None:
    made = index(["Paris", "one two three four five six seven", SHORT, SHORT.upper(), "one two three four"])
    assert (made.num_too_short, made.places) == (2, ((2, 3), (1,)))
    assert made.search(
        ["One, two, three, four, five, six, seven!", "so one two three four five six seven", "Paris"]
    ) == [Occurrence(0, 1, 1, ((0, 40),))]


def test_wording_that_many_items_share_is_no_item() -> None:
    wording = "Answer the question below with one of the four options that are given to you here:"
    items = [f"{wording} {filler(str(i), num_words=14)}" for i in range(MAX_SHARING + 1)]
    made = index([*items, wording])
    assert made.search([f"He read: {wording} And he did."]) == []
    assert made.num_only_shared == 1
    assert [hit.item for hit in made.search([items[3]])] == [3]
    assert len(index(items[1:]).search([f"He read: {wording}"])) == MAX_SHARING
    same = index([ITEM] * (MAX_SAME + 1))
    assert (same.places, same.num_wording) == ((), MAX_SAME + 1)


def test_chinese_is_found_by_its_characters_and_hindi_by_its_words() -> None:
    chinese = "科尔河上的桥是由工程师玛丽在一八四三年建造的"
    assert found_in(f"据说，{chinese}。", chinese) == [("科", len(chinese) - 12, [chinese])]
    assert found_in("北京是一座城市。", chinese) == []
    hindi = "कोल नदी पर बना पुल इंजीनियर मैरी ने सन १८४३ में बहुत मेहनत से बनाया"
    assert found_in(f"कहते हैं {hindi}।", hindi) == [("कोल", 3, [hindi])]


def test_two_texts_side_by_side_are_not_one() -> None:
    made = index([ITEM])
    half = len(ITEM) // 2
    assert made.search([ITEM[:half], ITEM[half:]]) == []
    assert [hit.text for hit in made.search(["", ITEM[:half], ITEM, ""])] == [2]


@pytest.mark.parametrize("place", range(-90, 30, 7))
def test_an_item_is_found_across_the_cuts_of_a_long_text(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordforms, "BLOCK_CHARACTERS", 1000)
    text = filler("long", num_words=1500)
    at = text.index(" ", 2000 + place)
    long = f"{text[:at]} {ITEM} {text[at:]}"
    [hit] = index([ITEM, SHORT]).search(["a", long])
    assert (hit.text, hit.num_ngrams) == (1, 5)
    assert [long[start:stop] for start, stop in hit.spans] == [ITEM.removesuffix(".")]


def test_a_planted_item_is_found_among_much_text_and_unrelated_items_are_not() -> None:
    parts = [filler(str(part), num_words=5_000) for part in range(8)]
    planted = "\n".join([*parts * 20, ITEM, *parts])
    made = index([*(filler(f"item {number}", num_words=40) for number in range(1000)), ITEM])
    [hit] = made.search([planted])
    assert [planted[start:stop] for start, stop in hit.spans] == [ITEM.removesuffix(".")]


def test_words_that_share_a_number_are_not_taken_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every run of words had the same number as the item: words are compared in the end."""
    made = index([ITEM])
    monkeypatch.setattr(ngrams, "runs_of", _always(made))
    assert made.search([filler("other", num_words=300)]) == []
    assert [hit.num_ngrams for hit in made.search([f"{SHORT} {ITEM}"])] == [5]


def _always(made: Index):
    """A number for runs of words that ignores them: that of the item's n-gram with the same place modulo 5."""
    real = ngrams.runs_of

    def runs_of(sums, size, firsts=None):
        hashes = real(sums, size, firsts)
        places = range(len(hashes)) if firsts is None else firsts.tolist()
        by_place = made._hashes[made._offsets.argsort()]
        # The short question before the item has 8 words.
        return by_place[[(place - 8) % 5 for place in places]]

    return runs_of


def test_a_text_without_an_index_holds_nothing() -> None:
    assert index([]).search([ITEM]) == []
    assert index([ITEM]).search([]) == []
    assert index([ITEM]).search(["", "\n", "…"]) == []


def test_a_text_that_cannot_be_cut_is_searched_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordforms, "BLOCK_CHARACTERS", 100)
    # Half a block without 12 words is cut between two of them.
    assert len(index([ITEM]).search(["x" * 5000 + f" {ITEM} " + "y" * 5000])) == 1


def test_ranges_are_joined_where_they_meet() -> None:
    assert union([(5, 7), (0, 2), (2, 3), (6, 9), (6, 7)]) == ((0, 3), (5, 9))


# The same in plain Python


def plain_words(text: str) -> list[tuple[str, int, int]]:
    """Words and their places, a character at a time."""
    found: list[tuple[str, int, int]] = []
    is_open = False
    for place, character in enumerate(text):
        if unicodedata.category(character) in ("Cf", "Me") or "\u0300" <= character < "\u0370":
            continue
        plain = unicodedata.normalize("NFKC", character).casefold()
        bare = "".join(c for c in unicodedata.normalize("NFD", plain) if not "\u0300" <= c < "\u0370")
        parts = unicodedata.normalize("NFC", bare)
        spaced = "".join(f" {c} " if "\u4e00" <= c < "\ua000" else c if c.isalnum() else " " for c in parts)
        is_several = len(spaced.split()) > 1
        is_open = is_open and not is_several
        for part in parts:
            if "\u4e00" <= part < "\ua000":
                found.append((part, place, place + 1))
                is_open = False
            elif part.isalnum() or unicodedata.category(part).startswith("M"):
                word, start, _ = found.pop() if is_open else ("", place, 0)
                found.append((word + part, start, place + 1))
                is_open = True
            else:
                is_open = False
        is_open = is_open and not is_several
    return found


def plain_search(items: list[str], texts: list[str], *, length: int, min_words: int) -> list[Occurrence]:
    """Every n-gram of every item against every run of words of every text."""
    spelled = [[word for word, _, _ in plain_words(item)] for item in items]
    kept = [item for place, item in enumerate(spelled) if len(item) >= min_words and item not in spelled[:place]]
    grams = [
        {tuple(item[place : place + size]) for place in range(len(item) - size + 1)}
        for item in kept
        for size in [min(length, len(item))]
    ]
    shared = Counter(gram for item in grams for gram in item)
    hits = []
    for number, text in enumerate(texts):
        said = plain_words(text)
        for item, wanted in enumerate(grams):
            sizes = {len(gram) for gram in wanted}
            places = [
                (tuple(word for word, _, _ in said[place : place + size]), said[place][1], said[place + size - 1][2])
                for size in sizes
                for place in range(len(said) - size + 1)
            ]
            runs = [run for run in places if run[0] in wanted and shared[run[0]] <= MAX_SHARING]
            if runs:
                spans = union([(start, stop) for _, start, stop in runs])
                hits.append(Occurrence(number, item, len({gram for gram, _, _ in runs}), spans))
    return hits


TEXTS = st.lists(st.text(alphabet="ab AB.,'é\u0301ß½京城\n…ﬁ\u00adǅ㋀", max_size=40), max_size=12)


@given(TEXTS, TEXTS, st.integers(1, 4))
@example(["a b"] + [f"a b {'ab' * n}" for n in range(1, 12)], ["a b b a b a"], 2)
def test_what_is_found_is_what_plain_comparing_finds(items: list[str], texts: list[str], length: int) -> None:
    min_words = max(1, length - 1)
    made = index(items, length=length, min_words=min_words)
    assert made.search(texts) == plain_search(items, texts, length=length, min_words=min_words)


@given(st.text(max_size=80) | st.text(alphabet="ab é\u0301ß½京城…ﬁ\u00ad㋀㍿", max_size=80))
def test_words_are_found_in_their_places_both_ways(text: str) -> None:
    found = find_words(text)
    assert len(folded_words(text)) == len(found.starts)
    numbers = dict(zip(folded_words(text), found.hashes.tolist(), strict=True))
    assert [numbers[word] for word in folded_words(text)] == found.hashes.tolist()
    if all(c < "\u0370" or "\u4e00" <= c < "\ua000" for c in text):
        places = list(zip(folded_words(text), found.starts.tolist(), found.stops.tolist(), strict=True))
        assert places == plain_words(text)
