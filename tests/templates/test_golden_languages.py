"""What each layout looks like in each language, as files that a person reads. INSTRUCTPT_WRITE_GOLDEN=1 writes anew.

A pair of each format in one text of our own; Spanish questions bring their marks, French ones their blank.
"""

from __future__ import annotations

import os
from itertools import count, islice
from pathlib import Path

import pytest

from instructpt.records import Document, Group, Pair, Shot
from instructpt.templates.catalog import languages, load
from instructpt.templates.render import render
from instructpt.words.languages import identify

GOLDEN = Path(__file__).parents[1] / "golden" / "templates" / "languages"
LAYOUTS = ["classic", "classic_inverted", "dialog", "dialog_inverted", "numbered", "few_shot", "next_turn"]
NUM_SAMPLES = 2
RULER = "\n" + "=" * 30 + " {layout}, seed {seed} " + "=" * 30 + "\n"

SHOTS = {
    "german": Shot(
        Document(
            "a",
            "Der Hafen von Ostwick wurde zwischen 1846 und 1852 von Hand gegraben. Im Sommer arbeiteten dort "
            "neunhundert Männer, im Winter etwa halb so viele, weil der Lehm gefror. Das erste Schiff, das am 3. Mai "
            "1852 einlief, war ein Kohlenfrachter, die Marianne.",
            "Stadtgeschichte",
        ),
        (
            Pair("Wann lief das erste Schiff in den Hafen ein?", "Am 3. Mai 1852."),
            Pair(
                "Was für ein Schiff war die Marianne?",
                "Ein Kohlenfrachter",
                ("Ein Walfänger", "Ein Kohlenfrachter", "Eine Fähre"),
            ),
            Pair(
                "Wie viele Männer arbeiteten dort etwa im Winter?",
                "450",
                rationale="Im Sommer waren es neunhundert, im Winter etwa halb so viele. Die Hälfte von 900 ist 450",
            ),
            Pair(
                "Welche der folgenden Ursachen hielt die Arbeit auf?",
                "Gefrorener Boden",
                ("Mangel an Kohle", "Gefrorener Boden", "Stürme auf See"),
                "Im Winter arbeiteten weniger Männer, weil der Lehm gefror.",
            ),
        ),
    ),
    "french": Shot(
        Document(
            "a",
            "Le port d’Ostwick fut creusé à la main entre 1846 et 1852. Neuf cents hommes y travaillaient en été, et à "
            "peu près la moitié en hiver, quand l’argile gelait. Le premier navire à y entrer, le 3 mai 1852, fut un "
            "charbonnier, la Marianne.",
            "histoire de la ville",
        ),
        (
            Pair("Quand le premier navire est-il entré dans le port\u00a0?", "Le 3 mai 1852."),
            Pair(
                "Quel genre de navire était la Marianne\u00a0?",
                "Un charbonnier",
                ("Un baleinier", "Un charbonnier", "Un bac"),
            ),
            Pair(
                "Combien d’hommes environ y travaillaient en hiver\u00a0?",
                "450",
                rationale="Ils étaient neuf cents en été et à peu près la moitié en hiver. La moitié de 900 est 450",
            ),
            Pair(
                "Laquelle de ces causes a ralenti les travaux\u00a0?",
                "Le sol gelé",
                ("Le manque de charbon", "Le sol gelé", "Les tempêtes en mer"),
                "Moins d’hommes travaillaient en hiver, quand l’argile gelait.",
            ),
        ),
    ),
    "spanish": Shot(
        Document(
            "a",
            "El puerto de Ostwick se excavó a mano entre 1846 y 1852. En verano trabajaban en él novecientos hombres, "
            "y en invierno más o menos la mitad, porque la arcilla se helaba. El primer barco que entró, el 3 de mayo "
            "de 1852, fue un carbonero, el Marianne.",
            "historia de la ciudad",
        ),
        (
            Pair("¿Cuándo entró el primer barco en el puerto?", "El 3 de mayo de 1852."),
            Pair(
                "¿Qué clase de barco era el Marianne?", "Un carbonero", ("Un ballenero", "Un carbonero", "Una barcaza")
            ),
            Pair(
                "¿Cuántos hombres trabajaban allí, más o menos, en invierno?",
                "450",
                rationale="En verano eran novecientos y en invierno más o menos la mitad. La mitad de 900 es 450",
            ),
            Pair(
                "¿Cuál de estas causas retrasó las obras?",
                "El suelo helado",
                ("La falta de carbón", "El suelo helado", "Las tormentas en el mar"),
                "En invierno trabajaban menos hombres, porque la arcilla se helaba.",
            ),
        ),
    ),
    "chinese": Shot(
        Document(
            "a",
            "奥斯特威克港是1846年至1852年间用手工挖成的。夏天有九百人在那里干活，冬天黏土冻结，人数大约只有一半。"
            "1852年5月3日，第一艘船驶入港口，那是一艘运煤船，名叫“玛丽安娜号”。",
            "城市史",
        ),
        (
            Pair("第一艘船是什么时候驶入港口的？", "1852年5月3日。"),
            Pair("“玛丽安娜号”是一艘什么船？", "运煤船", ("捕鲸船", "运煤船", "渡船")),
            Pair(
                "冬天大约有多少人在那里干活？",
                "450人",
                rationale="夏天有九百人，冬天大约只有一半。900的一半是450",
            ),
            Pair(
                "下列哪一项拖慢了工程？",
                "土地冻结",
                ("缺少煤炭", "土地冻结", "海上风暴"),
                "冬天黏土冻结，干活的人少了。",
            ),
        ),
    ),
    "japanese": Shot(
        Document(
            "a",
            "オストウィックの港は、1846年から1852年にかけて手で掘られた。夏には九百人が働いたが、冬は粘土が凍るため、"
            "人数はおよそ半分になった。1852年5月3日に最初に入港した船は、石炭船マリアンヌ号だった。",
            "町の歴史",
        ),
        (
            Pair("最初の船が入港したのはいつですか。", "1852年5月3日です。"),
            Pair("マリアンヌ号はどのような船でしたか。", "石炭船", ("捕鯨船", "石炭船", "渡し船")),
            Pair(
                "冬にはおよそ何人が働いていましたか。",
                "450人",
                rationale="夏には九百人が働き、冬はおよそ半分だった。900の半分は450である",
            ),
            Pair(
                "次のうち、工事を遅らせたのはどれですか。",
                "凍った地面",
                ("石炭の不足", "凍った地面", "海の嵐"),
                "冬は粘土が凍るため、働く人が減った。",
            ),
        ),
    ),
    "arabic": Shot(
        Document(
            "a",
            "حُفر ميناء أوستويك يدويًا بين عامي 1846 و1852. كان يعمل فيه تسعمئة رجل في الصيف، ونحو نصفهم في الشتاء حين "
            "يتجمد الطين. وكانت أول سفينة دخلته، في 3 مايو 1852، ناقلة فحم اسمها ماريان.",
            "تاريخ المدينة",
        ),
        (
            Pair("متى دخلت أول سفينة إلى الميناء؟", "في 3 مايو 1852."),
            Pair("أي نوع من السفن كانت ماريان؟", "ناقلة فحم", ("سفينة لصيد الحيتان", "ناقلة فحم", "عبّارة")),
            Pair(
                "كم رجلًا تقريبًا كان يعمل هناك في الشتاء؟",
                "450",
                rationale="كانوا تسعمئة في الصيف ونحو نصفهم في الشتاء. ونصف 900 هو 450",
            ),
            Pair(
                "أي مما يلي أبطأ العمل؟",
                "تجمّد الأرض",
                ("نقص الفحم", "تجمّد الأرض", "عواصف البحر"),
                "كان عدد العاملين أقل في الشتاء حين يتجمد الطين.",
            ),
        ),
    ),
}


def test_every_language_but_english_is_here() -> None:
    assert {*SHOTS, "english"} == set(languages())


@pytest.mark.parametrize("language", SHOTS)
def test_layouts_of_a_language_look_as_they_did(language: str) -> None:
    text = "".join(
        RULER.format(layout=layout, seed=seed) + text + "\n"
        for layout in LAYOUTS
        for seed, text in islice(_samples(language, layout), NUM_SAMPLES)
    ).lstrip()
    path = GOLDEN / f"{language}.txt"
    if os.environ.get("INSTRUCTPT_WRITE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")


@pytest.mark.parametrize("language", SHOTS)
def test_the_text_is_told_to_be_in_its_language(language: str) -> None:
    assert identify(SHOTS[language].document.text) == language


def _samples(language: str, layout: str):
    for seed in count():
        (rendered,) = render(Group("harbour", (SHOTS[language],)), catalog=load(language), seed=seed)
        if rendered.layout == layout:
            yield seed, rendered.text
