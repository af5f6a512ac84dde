"""Forms: what a user writes on the command line and in a file, what answers come to, and how variants are had."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from gated_engine import make_synthesis

from benchmarks.scripted_engine import ScriptedEngine
from instructpt.engines import Completion
from instructpt.errors import InputError, RecipeError
from instructpt.records import Document, Shot
from instructpt.synthesis.asking import Session
from instructpt.synthesis.forms import FOLDER, load_form, load_language, parse_forms
from instructpt.synthesis.forms.neighbours import LOOKED_BACK, Neighbours
from instructpt.synthesis.forms.reading import ReadAnswer, read
from instructpt.synthesis.forms.writer import Writer
from instructpt.synthesis.ledger import Ledger
from instructpt.verification.checks import Passage
from instructpt.words.vocabulary import Vocabulary

PASSAGE = (
    "Mary Ashworth built the bridge over the Cole in 1843. It is 212 metres long and carries two railway lines. "
    "In 1921 the western pillar sank by 4 centimetres, and trains were stopped for a month."
)
Script = Callable[[str], str]


def answered(form: str, text: str, *, finish: str = "stop") -> ReadAnswer:
    passage = Passage(Document("bridge", PASSAGE, "bridges"))
    completion = Completion(text, 9, finish)  # type: ignore[arg-type]
    return read(completion, form=load_form(form), language=load_language("english"), passage=passage)


def reasons(found: ReadAnswer) -> list[str]:
    return [reject.reason for reject in found.rejects]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("fact=1", "no form is called 'fact': did you mean facts"),
        ("paraphrase:spokn", "paraphrase has no style 'spokn': did you mean spoken?"),
        ("facts=0", "give a whole number above 0, as in facts=2"),
        ("facts=some", "give a whole number above 0"),
        ("facts,facts=2", "name 'facts' twice"),
        ("facts,,faq", "an item without a name"),
    ],
)
def test_forms_that_cannot_be_asked_for_are_one_line(given: str, message: str) -> None:
    with pytest.raises(RecipeError) as error:
        parse_forms(given)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("reads = ", "read = ", "no setting is called read: did you mean reads?"),
        ('layout = "apart"\n', "", "lacks layout"),
        ('"lines"', '"lists"', "reads is 'lists': did you mean lines?"),
        ("[english]", "[latin]", "lacks the table [english]"),
        ("request = ", "requests = ", "[english]: no text is called requests: did you mean request?"),
        ("{passage}\n\nTake", "Take", "[english]: request lacks {passage}"),
        ("{passage}\n\nTake", "{pasage} {passage}\n\nTake", "[english]: request holds {pasage}"),
        (
            "{passage}\n\nTake",
            "{passage}\n\n{Take",
            "[english]: request has a stray brace ('{Take this passage ap')",
        ),
        ('"chatter"', '"chater"', "checks holds 'chater': did you mean chatter"),
        ("tokens = 180", "tokens = 0", "tokens is 0: give a whole number above 0"),
        ("length = [0.3, 2.5]", "length = [2, 1]", "length is [2, 1]"),
        ("example = '''", "example = 3 #'''", "is not TOML"),
    ],
)
def test_a_file_that_is_no_form_is_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (FOLDER / "facts.toml").read_text("utf-8")
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(InputError) as error:
        parse_forms(f"{path}=1")
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_brace_that_stands_for_itself_is_written_twice(tmp_path: Path) -> None:
    path = tmp_path / "braces.toml"
    text = (FOLDER / "facts.toml").read_text("utf-8")
    path.write_text(text.replace("Take this passage apart", 'Write {{"facts": []}}: take this passage apart'), "utf-8")
    (asked,) = parse_forms(str(path))
    assert asked.label == "braces"
    with pytest.raises(InputError, match="cannot be read"):
        parse_forms(str(tmp_path / "missing.toml"))


@pytest.mark.parametrize(
    ("form", "text", "reason"),
    [
        ("summary", "Sure, here is a summary: the bridge was built in 1843 by Mary Ashworth.", "chatter"),
        ("summary", "The bridge was built in 1843. Let me know if you need more!", "chatter"),
        ("summary", "The passage says that a bridge was built in 1843.", "chatter"),
        ("summary", "The bridge over the Cole was built in 1844.", "unsupported_number"),
        ("summary", "The bridge over the Cole is a work of the engineer Isambard Brunel.", "unsupported_name"),
        ("summary", "Die Brücke über den Fluss wurde im Jahr 1843 gebaut und trägt zwei Gleise.", "language_mismatch"),
        ("summary", PASSAGE, "too_long"),
        (
            "summary",
            "I want to tell you about another place, something that nobody remembers without sorrow.",
            "unrelated",
        ),
        ("summary", "NONE", "nothing_to_write"),
        ("summary", "  ", "empty"),
        ("summary", "<think>What would", "cut_off"),
        ("paraphrase", PASSAGE, "copied_passage"),
        ("paraphrase", "A bridge was built.", "too_short"),
        ("paraphrase", "The bridge is long. " * 14, "repetition"),
        ("facts", "Built in 1844.", "unsupported_number"),
        ("dialogue", "Student: When was it built?\nIn 1843, as I said, and so on.", "no_conversation"),
        ("table", "| year | what |\n| 1843 | built |", "no_table"),
        ("table", "| year | what |\n| --- | --- |\n| 1843 | built |\n| 1921 | sank |\n", "no_question"),
        ("table", "| year | what |\n| --- | --- |\n| 1843 | built |\n| 1999 | sank |\n", "unsupported_number"),
        ("problem", "Q: From 1843 to 1921, how many years?\nA: 78 years", "no_reasoning"),
        ("problem", "Q: From 1843 to 1921?\nReasoning: 1921 - 1843 = 87.\nA: 87 years", "wrong_arithmetic"),
        ("problem", "Q: It has 7 arches of 3 metres?\nReasoning: 7 * 3 = 21.\nA: 21", "unsupported_premise"),
        ("pairs", "I do not know.", "no_pair"),
    ],
)
def test_what_is_wrong_with_an_answer_is_its_reason(form: str, text: str, reason: str) -> None:
    found = answered(form, text)
    assert not found.is_kept
    assert reason in reasons(found)


def test_an_answer_that_ran_out_of_tokens_loses_what_was_cut() -> None:
    assert reasons(answered("summary", "A bridge over the Cole was built in", finish="length")) == ["cut_off"]
    lines = "Mary Ashworth built the bridge over the Cole.\nThe bridge carries two railway lines.\nThe bridge is 212"
    found = answered("facts", lines, finish="length")
    assert (found.text.count("\n"), reasons(found)) == (1, ["cut_off"])


def test_one_wrong_fact_leaves_out_that_fact_alone() -> None:
    lines = (
        "Here are the facts:\n\n1. Mary Ashworth built the bridge over the Cole in 1843.\n"
        "2. The bridge cost 999 pounds.\n"
        "3. The bridge over the Cole is 212 metres long.\n4. Trains were stopped for a month in 1921."
    )
    found = answered("facts", lines)
    assert reasons(found) == ["unsupported_number"]
    assert found.text.splitlines()[0] == "Mary Ashworth built the bridge over the Cole in 1843."
    assert found.text.count("\n") == 2


@pytest.mark.parametrize("language", ["english", "german", "chinese"])
@pytest.mark.parametrize("form", ["facts", "faq", "summary"])
def test_what_a_model_says_of_the_example_is_not_of_the_passage(form: str, language: str) -> None:
    """A small model repeats what it was shown, whatever the passage; in German and Chinese no name gives it away."""
    others = {
        "english": f"{PASSAGE} It was closed in 1871 and opened in 1909.",
        "german": "Der Reiher fing 1871 einen Fisch und 1909 zwei, und im Winter wartete er am Ufer des Sees. " * 2,
        "chinese": "鹭鸟在1871年捕到一条鱼，1909年又捕到两条，冬天它就在湖边等着。" * 2,
    }
    wording, spoken = load_form(form).wordings[language], load_language(language)
    text = wording.example[""]
    found = read(
        Completion(text, 9, "stop"),
        form=load_form(form),
        language=spoken,
        passage=Passage(Document("d", others[language], "s")),
        example=f"{spoken.example_passage}\n{text}",
    )
    assert not found.is_kept
    assert (
        {"copied_example"}
        <= {*reasons(found)}
        <= {"copied_example", "too_short", "too_long", "no_pair"}
        | {
            "unsupported_name",
            "unsupported_number",
        }
    )


def test_markdown_around_an_answer_is_no_part_of_it() -> None:
    text = "```markdown\nBuilt in 1843 by Mary Ashworth, the bridge sank a little in 1921.\n```"
    assert answered("summary", text).text == "Built in 1843 by Mary Ashworth, the bridge sank a little in 1921."
    turns = (
        "**Student:** When was it built?\n**Teacher:** In 1843.\n**Student:** By whom?\n**Teacher:** By Mary Ashworth."
    )
    assert answered("dialogue", f"{turns}\n{turns}").text.startswith("Student: When was it built?\nTeacher: In 1843.\n")


class Try:
    """What a writer makes of passages with an engine that answers as a script says."""

    def __init__(self, vocabulary: Vocabulary, folder: Path, ledger: Ledger) -> None:
        self.vocabulary, self.folder, self.ledger, self.prompts = vocabulary, folder, ledger, list[str]()

    def __call__(
        self, forms: str, script: Script, *, variants: int = 1, texts: tuple[str, ...] = (PASSAGE,)
    ) -> list[Shot]:
        def told(prompt: str) -> str:
            self.prompts.append(prompt)
            return script(prompt)

        engine = ScriptedEngine(str(self.folder), script=told)
        synthesis = make_synthesis(self.vocabulary, ledger=self.ledger, engine=engine, window_tokens=9000)
        self.writer = Writer(parse_forms(forms), variants, 0.8, 0, 0)
        documents = [Document(f"bridge#{number}", text, "bridges") for number, text in enumerate(texts)]

        async def write() -> list[Shot]:
            shots: list[Shot] = []
            for number, document in enumerate(self.writer.followed(documents)):
                shots.append(await self.writer.shot(Session(synthesis), document, shots, number))
            return shots

        return asyncio.run(write())

    def counts(self, form: str) -> dict[str, int]:
        return {name.rpartition("/")[2]: n for name, n in self.writer.counts[0].items() if f"/{form}/" in name}


@pytest.fixture
def attempt(small_vocabulary: Vocabulary, vocabulary_folder: Path, ledger: Ledger) -> Try:
    return Try(small_vocabulary, vocabulary_folder, ledger)


WAYS = (
    "In 1843 a bridge crossed the Cole for the first time: Mary Ashworth had made it.",
    "Two railway lines run over 212 metres of bridge, the work of Mary Ashworth.",
    "A pillar that sank by 4 centimetres stopped the trains of the Cole for a month in 1921.",
    "Mary Ashworth is remembered for her bridge, which has stood since 1843 on the Cole.",
    "Since 1843 trains have crossed the Cole, but for a month in 1921.",
)


def test_variants_differ_and_those_that_do_not_are_written_anew(attempt: Try) -> None:
    """The second one says what the first says; six are tried until five are there."""
    answers = iter((WAYS[0], f"{WAYS[0]} ", *WAYS[1:]))
    (shot,) = attempt("summary", lambda _: next(answers), variants=5)
    assert [one.text for one in shot.writings] == list(WAYS)
    assert [one.variant for one in shot.writings] == [0, 2, 3, 4, 5]
    assert [reject.reason for reject in shot.rejects] == ["summary/near_duplicate"]
    counts = attempt.counts("summary")
    expected = {"wanted": 5, "answers": 6, "kept": 5, "rejected": 1, "missing": 0, "compared": 10, "requests": 6}
    assert {name: counts[name] for name in expected} == expected
    asked = [prompt.rstrip().splitlines()[-1] for prompt in attempt.prompts]
    assert "How to write it this time" not in asked[0]
    assert len(set(asked)) == 6, "each variant is asked for in another way"


def test_what_is_not_accepted_is_missing_and_counted(attempt: Try) -> None:
    (shot,) = attempt("summary=2", lambda _: WAYS[0])
    assert len(shot.writings) == 1
    counts = attempt.counts("summary")
    assert (counts["wanted"], counts["kept"], counts["missing"], counts["answers"]) == (2, 1, 1, 5)
    assert counts["answers"] == counts["kept"] + counts["rejected"]


def test_a_form_that_lacks_what_it_needs_is_not_asked_for(attempt: Try) -> None:
    texts = ("The heron waits in shallow water.",)
    (shot,) = attempt("problem,table", lambda _: pytest.fail("asked"), texts=texts)
    assert [reject.reason for reject in shot.rejects] == ["problem/too_few_numbers", "table/too_few_numbers"]
    assert attempt.counts("problem") == {"skipped": 1}
    assert not attempt.prompts


def test_styles_are_taken_in_turn_or_the_one_that_is_named(attempt: Try) -> None:
    attempt("paraphrase=3", lambda _: "NONE")
    told = {prompt.rpartition("===")[2] for prompt in attempt.prompts}
    styles = load_form("paraphrase").wordings["english"].styles
    assert all(any(style in text for text in told) for style in styles.values())
    attempt.prompts.clear()
    attempt("paraphrase:spoken=2", lambda _: "NONE")
    assert all(styles["spoken"] in prompt.rpartition("===")[2] for prompt in attempt.prompts)


def test_relations_are_of_names_that_are_there_also_across_passages(attempt: Try) -> None:
    """Names that the passages do not hold are no topics, and a text that names another thing is off topic."""
    others = ("Herons wait in shallow water for fish.", "Ducks nest in the reeds each spring.")
    texts = (PASSAGE, *others, "The inn at the eastern end of the Cole was closed in 1950. The inn had eight rooms.")

    def script(prompt: str) -> str:
        request = prompt.rpartition("===")[2]
        if "Name the people" in request:
            return (
                "- Mary Ashworth\n- western pillar\n- Atlantis" if "Ashworth" in prompt.split("===")[-3] else "The inn"
            )
        return "The inn and Mary Ashworth have the bridge in common." if "The inn" in request else "It is a bridge."

    first, *between, last = attempt("relations=2", script, texts=texts)
    assert not first.writings
    assert not any(shot.writings for shot in between)
    assert {reject.reason for reject in first.rejects} == {"relations/off_topic"}
    assert [(one.text, one.beside) for one in last.writings] == [
        ("The inn and Mary Ashworth have the bridge in common.", PASSAGE)
    ]
    assert not any("Atlantis" in prompt.rpartition("===")[2] for prompt in attempt.prompts)
    both = next(prompt for prompt in attempt.prompts if "Mary Ashworth – The inn" in prompt)
    assert both.rindex(PASSAGE) < both.rindex(texts[-1]), "it is shown both passages"
    num_asked = sum("Name the people" in prompt.rpartition("===")[2] for prompt in attempt.prompts)
    assert num_asked == len(texts), "what the first passage names is asked for once"


def test_two_passages_that_do_not_fit_together_are_written_about_one_by_one(attempt: Try) -> None:
    long = "The inn of the Cole had eight rooms. " * 300
    (*_, last) = attempt("relations", lambda _: "Ada Brekke", texts=(long, PASSAGE))
    assert not any(long in prompt and PASSAGE in prompt for prompt in attempt.prompts)
    assert [reject.reason for reject in last.rejects] == ["relations/no_topic"]


TOLD = {
    "english": (
        "Ada Brekke came to Aldham.",
        "The town of Aldham has a mill.",
        "Herons wait.",
        "In May Brekke left Aldham.",
    ),
    "german": (
        "Die Müllerin kam ins Gebirge.",
        "Das Gebirge hat eine Kirche.",
        "Reiher warten.",
        "Die Müllerin verließ das Gebirge.",
    ),
    "chinese": ("艾达在山村建了磨坊。", "山村有一座教堂。", "白鹭在等候。", "艾达离开了山村的磨坊。"),
}


@pytest.mark.parametrize("language", TOLD)
def test_a_passage_meets_the_one_that_names_most_of_the_same(language: str) -> None:
    """What all name says little: the first and the last share another name too."""
    neighbours = Neighbours()
    documents = [Document(f"d#{n}", text, "s", {"language": language}) for n, text in enumerate(TOLD[language])]
    assert list(neighbours.followed(documents)) == documents
    assert neighbours.found == {1: TOLD[language][0], 3: TOLD[language][0]}


def test_passages_of_other_documents_and_those_far_back_are_not_looked_at() -> None:
    neighbours = Neighbours()
    documents = [Document(name, "She lives in Aldham.", "s") for name in ("d#0", "e#0", "f", "f")]
    assert len(list(neighbours.followed(documents))) == 4
    assert neighbours.found == {}
    names = {0: "Aldham", LOOKED_BACK + 1: "Aldham"}
    far = [Document(f"d#{n}", f"It is told of X{names.get(n, 'abcdefgh'[n % 8] * (5 + n))}.", "s") for n in range(50)]
    assert len(list(neighbours.followed(far))) == 50
    assert neighbours.found == {}


def test_a_strategy_is_proposed_first_then_followed(attempt: Try) -> None:
    def script(prompt: str) -> str:
        if "How would you study" in prompt.rpartition("===")[2]:
            return "1. Make a timeline.\n2. Draw a map."
        return WAYS["Draw a map." in prompt.rpartition("===")[2]]

    (shot,) = attempt("strategies=2", script)
    assert sorted(one.text for one in shot.writings) == sorted(WAYS[:2])


def test_pairs_of_a_form_stand_among_the_passages_pairs(attempt: Try) -> None:
    asks = iter(
        (
            "Q: Who built the bridge over the Cole?\nA: Mary Ashworth",
            "Q: Who built the bridge over the Cole?\nA: Mary Ashworth\n\nQ: How long is the bridge?\nA: 212 metres",
        )
    )
    (shot,) = attempt("pairs=2", lambda _: next(asks))
    assert [pair.answer for pair in shot.pairs] == ["Mary Ashworth", "212 metres"]
    assert [reject.reason for reject in shot.rejects] == ["pairs/duplicate_question"]
    assert not shot.writings


def test_a_passage_that_does_not_fit_is_not_asked_about(attempt: Try) -> None:
    (shot,) = attempt("summary,facts", lambda _: pytest.fail("asked"), texts=(f"{PASSAGE} " * 300,))
    assert [reject.reason for reject in shot.rejects] == ["passage_too_long"]
    assert attempt.counts("facts") == {"wanted": 1, "missing": 1}
