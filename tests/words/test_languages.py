"""Which language a text is told to be in, what a document may say of it, and what is left open."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructpt.records import Document, Group, Pair, Shot
from instructpt.synthesis import prompts
from instructpt.templates import catalog
from instructpt.words.languages import CODES, identify, named, of_group

SENTENCES = {
    "arabic": "كان الرجل العجوز يجلس كل مساء أمام بيته، وينظر إلى البحر حتى تغيب الشمس.",
    "catalan": "El vell s'asseia cada vespre davant de casa seva i mirava el mar fins que el sol es ponia, com també "
    "havia fet el seu pare.",
    "chinese": "老人每天傍晚都坐在屋前，望着大海，直到太阳落下。",
    "danish": "Den gamle mand sad hver aften foran huset og så ud over havet, og han blev der, til solen var væk. Det "
    "var ikke noget, han talte om.",
    "dutch": "De oude man zat elke avond voor het huis en keek uit over de zee, en hij bleef daar tot de zon weg was.",
    "english": "The old man sat in front of the house every evening and looked at the sea until the sun was gone.",
    "french": "Le vieil homme s’asseyait chaque soir devant la maison et regardait la mer, et il ne rentrait pas avant "
    "la nuit.",
    "german": "Der alte Mann saß jeden Abend vor dem Haus und sah auf das Meer, bis die Sonne nicht mehr zu sehen war.",
    "greek": "Ο γέρος καθόταν κάθε βράδυ μπροστά στο σπίτι και κοίταζε τη θάλασσα.",
    "hindi": "बूढ़ा आदमी हर शाम घर के सामने बैठकर समुद्र को देखता था।",
    "italian": "Il vecchio sedeva ogni sera davanti alla casa e guardava il mare, e non rientrava che con il buio. Era "
    "una cosa di cui non parlava.",
    "japanese": "老人は毎晩、家の前に座って、日が沈むまで海を眺めていた。",
    "korean": "노인은 매일 저녁 집 앞에 앉아 해가 질 때까지 바다를 바라보았다.",
    "persian": "پیرمرد هر شب جلوی خانه می‌نشست و تا غروب به دریا نگاه می‌کرد.",
    "polish": "Stary człowiek siadał co wieczór przed domem i patrzył na morze, a nie wracał do domu, jak było jeszcze "
    "widać słońce. To nie było coś, o czym mówił.",
    "portuguese": "O velho sentava-se todas as noites em frente da casa e olhava para o mar, e não entrava até o sol "
    "se pôr. Era uma coisa de que não falava com os seus.",
    "russian": "Старик каждый вечер сидел перед домом и смотрел на море, пока не садилось солнце.",
    "spanish": "El viejo se sentaba todas las tardes delante de la casa y miraba el mar hasta que el sol no se veía.",
    "swedish": "Den gamle mannen satt varje kväll framför huset och såg ut över havet, och han blev kvar till dess att "
    "solen inte var att se.",
    "thai": "ชายชรานั่งอยู่หน้าบ้านทุกเย็นและมองทะเลจนพระอาทิตย์ตก",
    "turkish": "Yaşlı adam her akşam evin önünde oturur ve güneş batana kadar denize bakardı. Bu onun için bir "
    "alışkanlık değil, daha çok bir dua gibi idi.",
    "urdu": "بوڑھا آدمی ہر شام گھر کے سامنے بیٹھ کر سمندر کو دیکھتا تھا۔",
}


@pytest.mark.parametrize("language", SENTENCES)
def test_one_sentence_is_enough(language: str) -> None:
    assert identify(SENTENCES[language]) == language


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        "ISBN 3-16-148410-0",
        "Ostwick",
        "The",
        "def f(x): return x + 1",
        "lorem ipsum dolor sit amet",
        "😀 !!",
    ],
)
def test_what_cannot_be_told_is_left_open(text: str) -> None:
    assert identify(text) is None


def test_a_few_foreign_words_change_nothing() -> None:
    assert identify(SENTENCES["english"] + " He called it 大海 and мир.") == "english"
    assert identify(SENTENCES["chinese"] + "他说：OK。") == "chinese"
    assert identify(SENTENCES["german"] + ' Er sagte: "the end".') == "german"


def test_half_one_script_and_half_others_is_open() -> None:
    assert identify("abcd гдеж αβγδ") is None


@pytest.mark.parametrize(
    ("value", "language"),
    [
        ("de", "german"),
        ("DEU", "german"),
        ("de-AT", "german"),
        ("zh_Hans_CN", "chinese"),
        (" Deutsch ", "german"),
        ("日本語", "japanese"),
        ("português", "portuguese"),
        ("Python", None),
        ("", None),
        (7, None),
        (None, None),
        (["de"], None),
    ],
)
def test_documents_name_their_language_in_many_ways(value: object, language: str | None) -> None:
    assert named(value) == language


def test_no_code_stands_for_two_languages() -> None:
    codes = [code for language, names in CODES.items() for code in (language, *names)]
    assert len(codes) == len(set(codes))


def test_every_language_of_the_package_can_be_told_and_has_both_wordings() -> None:
    assert set(catalog.languages()) == set(prompts.languages())
    assert set(catalog.languages()) <= set(CODES) & set(SENTENCES)


def test_a_group_is_in_the_language_of_most_of_its_passages() -> None:
    german, french = (Shot(Document("d", SENTENCES[name], "s")) for name in ("german", "french"))
    assert of_group(Group("g", (german, french, german))) == ("german", True)
    assert of_group(Group("g", (french, german))) == ("french", True)
    assert of_group(Group("g", (german, Shot(Document("d", "ISBN", "s"))))) == ("german", False)
    assert of_group(Group("g", (Shot(Document("d", "ISBN", "s")),))) == (None, False)


def test_what_a_document_says_comes_first_and_pairs_come_last() -> None:
    pairs = (Pair("¿Dónde se sentaba el viejo todas las tardes?", "Delante de la casa, en el banco que daba al mar."),)
    says = Document("d", SENTENCES["german"], "s", {"language": "Python", "lang": "fr"})
    assert of_group(Group("g", (Shot(says, pairs),))) == ("french", False)
    assert of_group(Group("g", (Shot(Document("d", SENTENCES["german"], "s"), pairs),))) == ("german", False)
    assert of_group(Group("g", (Shot(Document("d", "", "s"), pairs),))) == ("spanish", False)


@given(st.text(max_size=200))
def test_any_text_has_one_guess(text: str) -> None:
    guess = identify(text)
    assert guess == identify(text)
    assert guess is None or guess in CODES
