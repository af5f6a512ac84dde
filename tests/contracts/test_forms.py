"""Every form in every language: its file is whole, its own example is read and kept, and a model's answers are counted.

What a form asks and lays out stands in tests/golden/forms_<language>.txt.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import write_corpus

from benchmarks.scripted_engine import SCRIPTED
from instructpt.artifacts import Run
from instructpt.corpus.stages import Read, Split
from instructpt.engines import Completion
from instructpt.executors.make import make
from instructpt.records import Document, Group, Writing
from instructpt.synthesis.forms import AskedForm, by_label, form_names, load_form, load_language
from instructpt.synthesis.forms.claims import claims
from instructpt.synthesis.forms.reading import READERS, SEPARATORS, ReadAnswer, pieces, read, read_again
from instructpt.synthesis.forms.requests import BETWEEN, first_request, material_of, request
from instructpt.synthesis.stages import Write
from instructpt.templates.stages import Template
from instructpt.verification.checks import CHECKS, Passage
from instructpt.verification.checks.writing import WRITING_CHECKS
from instructpt.verification.texts import checked_texts
from instructpt.words import vocabulary

GOLDEN = Path(__file__).parents[1] / "golden"
FORMS = form_names()
LANGUAGES = ("english", "german", "chinese")
CASES = [(name, language) for name in FORMS for language in LANGUAGES]
PASSAGES = {
    "english": (
        "Mary Ashworth built the bridge over the Cole in 1843. It is 212 metres long and carries two railway lines. "
        "In 1921 the western pillar sank by 4 centimetres, and trains were stopped for a month. The county paid 12,000 "
        "pounds for the repair, and an inn stood at the eastern end of the bridge until 1950."
    ),
    "german": (
        "Mary Ashworth baute 1843 die Brücke über den Cole. Sie ist 212 Meter lang und trägt zwei Gleise. Im Jahr 1921 "
        "sank der westliche Pfeiler um 4 Zentimeter, und die Züge wurden für einen Monat angehalten. Die Grafschaft "
        "zahlte 12.000 Pfund für die Reparatur, und am östlichen Ende der Brücke stand bis 1950 ein Gasthaus."
    ),
    "chinese": (
        "玛丽·阿什沃思于1843年建造了科尔河上的大桥。这座桥长212米，铺有双线铁路。1921年，西侧的桥墩下沉了4厘米，"
        "列车停运了一个月。郡政府为维修支付了12000英镑。大桥东端有一家客栈，一直营业到1950年。"
    ),
}


def example_of(name: str, language: str) -> dict[str, tuple[str, ReadAnswer]]:
    """Of each style: the form's own example, and what is read from it."""
    form, spoken = load_form(name), load_language(language)
    wording = form.wordings[language]
    passage = Passage(Document("example", wording.example_passage or spoken.example_passage, "examples"))
    return {
        style: (text, read(Completion(text, 9, "stop"), form=form, language=spoken, passage=passage))
        for style, text in wording.example.items()
    }


def test_there_are_readers_for_all_forms_and_forms_for_all_readers() -> None:
    assert {load_form(name).reads for name in FORMS} == READERS.keys()


@pytest.mark.parametrize(("name", "language"), CASES)
def test_its_own_example_is_read_and_kept_as_it_is(name: str, language: str) -> None:
    examples = example_of(name, language)
    assert examples.keys() == set(load_form(name).styles or [""])
    for text, found in examples.values():
        assert not found.rejects
        said = found.text or "\n".join(f"{pair.question}\n{pair.answer}" for pair in found.pairs)
        missing = [word for word in said.split() if word not in text]
        assert not [word for word in missing if word not in ("|", "---")], "nothing is there that was not written"
        if load_form(name).reads in ("text", "lines", "turns"):
            assert said == text


@pytest.mark.parametrize(("name", "language"), CASES)
def test_a_text_that_is_read_again_comes_to_the_same(name: str, language: str) -> None:
    """As `verify` does. The example of a form, and all that the scripted engine writes (below)."""
    form, spoken = load_form(name), load_language(language)
    wording = form.wordings[language]
    passage = Passage(Document("example", wording.example_passage or spoken.example_passage, "examples"))
    for style, (_, found) in example_of(name, language).items():
        if form.layout == "apart":
            again = read_again(Writing(style, 0, found.text), form=form, language=spoken, passage=passage)
            assert (again.text, again.rejects) == (found.text, ())
            assert SEPARATORS.get(form.reads, "").join(pieces(found.text, form)) == found.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_golden_requests_and_texts(language: str) -> None:
    """INSTRUCTPT_WRITE_GOLDEN=1 writes them anew, to be read as a diff."""
    shown = []
    for name in FORMS:
        form = load_form(name)
        material = material_of(form, Document("bridge", PASSAGES[language], "bridges"))
        asks = [first_request(material)] if form.topics else []
        asks.append(request(material, style=(form.styles or ("",))[0], topic=f"A{BETWEEN}B", manner="(...)"))
        for conversation in asks:
            turns = conversation.messages if name == FORMS[0] else conversation.messages[1:]  # the first is the same
            shown += [f"[{name}: {message.role}]\n{message.content}\n" for message in turns]
        for style, (_, found) in example_of(name, language).items():
            text = found.text or "\n".join(map(str, found.pairs))
            shown.append(f"[{name}{style and f':{style}'}: text]\n{text}\n")
            if found.text and (asked := claims(found.text, form, load_language(language))):
                lines = "\n".join(f"{one.piece}: {one.pair.question} -> {one.pair.answer}" for one in asked)
                shown.append(f"[{name}: asked again]\n{lines}\n")
    path, text = GOLDEN / f"forms_{language}.txt", "\n".join(shown)
    if os.environ.get("INSTRUCTPT_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Write]:
    """All forms about a passage in each language, two variants of each, by the scripted engine."""
    folder = tmp_path_factory.mktemp("forms")
    rows = [{"id": language, "text": text} for language, text in PASSAGES.items()]
    rows.append(
        {"id": "without numbers", "text": "The heron waits in shallow water, and eats the fish that come near."}
    )
    corpus = write_corpus(folder / "corpus.jsonl", rows)
    vocabulary.train([*PASSAGES.values()], size=400, folder=folder / "model")
    (folder / "model" / "chat_template.jinja").write_text("{{ messages }}")
    passages = Split(
        name="passages",
        documents=Read(name="documents", files=(str(corpus),)),
        vocabulary=str(folder / "model"),
        budget_tokens=2000,
    )
    stage = Write(
        name="groups",
        passages=passages,
        model=str(folder / "model"),
        forms=",".join(FORMS),
        variants=2,
        window_tokens=20_000,
        max_new_tokens=4000,
    )
    run = Run(root=str(folder / "run"), engine=SCRIPTED, workers=1)
    make(Template(name="texts", groups=stage), run)
    return run, stage


@pytest.mark.parametrize("name", FORMS)
def test_counts_add_up(written: tuple[Run, Write], name: str) -> None:
    run, stage = written
    counts = run.manifest(stage)["tally"]["counts"]
    found = {
        what: counts.get(f"forms/{name}/{what}", 0) for what in ("wanted", "answers", "kept", "rejected", "missing")
    }
    skipped = counts.get(f"forms/{name}/skipped", 0)
    assert skipped == (1 if load_form(name).numbers else 0) == counts.get(f"rejects/{name}/too_few_numbers", 0)
    assert found["wanted"] == 2 * (4 - skipped) == found["kept"] + found["missing"]
    assert found["answers"] == found["kept"] + found["rejected"] >= found["kept"] > 0
    if load_form(name).layout == "apart":
        assert found["kept"] == counts[f"writings/{name}"]
    assert found["rejected"] <= sum(n for reason, n in counts.items() if reason.startswith(f"rejects/{name}/"))


def test_each_writing_is_a_text_of_its_own_apart_from_its_passage(written: tuple[Run, Write]) -> None:
    run, stage = written
    groups: list[Group] = list(run.records(stage))
    texts = list(run.records(Template(name="texts", groups=stage)))
    writings = [one for group in groups for shot in group.shots for one in shot.writings]
    assert writings
    by_text = {text.text: text for text in texts}
    for one in writings:
        assert by_text[one.text].layout == one.form
    for group in groups:
        own = [text for text in texts if text.id.startswith(group.id) or text.text == group.shots[0].document.text]
        (key,) = {text.passage for text in own}
        assert key


def test_verify_leaves_out_nothing_that_was_kept_while_it_was_written(written: tuple[Run, Write]) -> None:
    run, stage = written
    forms = by_label(stage.forms)
    for group in run.records(stage):
        for shot in group.shots:
            assert checked_texts(shot, forms) == shot


@pytest.mark.parametrize("name", FORMS)
def test_its_checks_are_known_and_stand_in_a_table(name: str) -> None:
    form = load_form(name)
    assert form.checks
    assert set(form.checks) <= {*CHECKS, *WRITING_CHECKS}
    assert AskedForm(form, 1).label == name
