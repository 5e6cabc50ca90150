"""Prompts of MCEval8K, as written out by hand."""

import hashlib
import json
from pathlib import Path

import pytest

from negjax import mceval8k
from negjax.mceval8k.catalogue import LANGUAGES, TASKS
from negjax.mceval8k.files import Row
from negjax.mceval8k.wording import read_template
from tests.support.made_up_mceval8k import Record, records, write_benchmark, write_part
from tests.support.places import STORED

PINNED = STORED / "mceval8k_templates.json"


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_benchmark(tmp_path_factory.mktemp("benchmark"))


# ---- Whole prompts. The records of train are chosen so that there is one demonstration to take.

NER_TRAIN: list[Record] = [
    {
        "text": "Ada met  Bo .",
        "target_chunk": ["Bo"],
        "options": ["PER", "LOC", "ORG", "MISC"],
        "label": 0,
    },
    {
        "text": "Lima is far .",
        "target_chunk": ["Lima"],
        "options": ["PER", "LOC", "ORG", "MISC"],
        "label": 1,
    },
    {
        "text": "They joined the New Club .",
        "target_chunk": ["New", "Club"],
        "options": ["LOC", "MISC", "ORG", "PER"],
        "label": 2,
    },
    {
        "text": "A Peruvian song .",
        "target_chunk": ["Peruvian"],
        "options": ["LOC", "PER", "ORG", "MISC"],
        "label": 3,
    },
]
NER_TEST: Record = {
    "text": "Snow fell\non Oslo Airport .",
    "target_chunk": ["Oslo", "Airport"],
    "options": ["ORG", "LOC", "PER", "MISC"],
    "label": 1,
}
NER_PROMPT = """\
Read the text and decide which type of entity the target phrase names in it. Reply with one letter.

### Text:Ada met Bo .
### Target phrase:Bo
### Options:
a.PER
b.LOC
c.ORG
d.MISC
### Answer:a

### Text:Lima is far .
### Target phrase:Lima
### Options:
a.PER
b.LOC
c.ORG
d.MISC
### Answer:b

### Text:They joined the New Club .
### Target phrase:New Club
### Options:
a.LOC
b.MISC
c.ORG
d.PER
### Answer:c

### Text:A Peruvian song .
### Target phrase:Peruvian
### Options:
a.LOC
b.PER
c.ORG
d.MISC
### Answer:d

### Text:Snow fell on Oslo Airport .
### Target phrase:Oslo Airport
### Options:
a.ORG
b.LOC
c.PER
d.MISC
### Answer:"""


def test_a_whole_prompt_with_demonstrations(tmp_path: Path) -> None:
    # Longer ones, which are no demonstrations, are left to train on.
    longer = [
        record | {"text": f"{record['text']} This is a much longer text to train on than others."}
        for record in NER_TRAIN
    ]
    write_part(tmp_path, "ner", "train", NER_TRAIN + longer)
    write_part(tmp_path, "ner", "valid", records("ner", 0, 1))
    write_part(tmp_path, "ner", "test", [NER_TEST])
    task = mceval8k.load("ner", tmp_path, template=1)
    [item] = task.test
    assert item.prompt == NER_PROMPT
    assert item.head == NER_PROMPT[: NER_PROMPT.index("\n\n### Text:Snow")]
    assert item.text == "Snow fell on Oslo Airport .\nOslo Airport"
    assert (item.label, item.language, item.row.number) == (1, None, 0)
    assert [d.label for d in task.demonstrations] == [0, 1, 2, 3]
    assert task.demonstrations[0].head == NER_PROMPT.partition("\n")[0]
    [bare] = mceval8k.load("ner", tmp_path, template=1, shots=0).test
    assert bare.prompt == f"{bare.head}\n\n{item.question}"
    assert bare.head == task.demonstrations[0].head


# One record, the number of the template, and the prompt without demonstrations.
WRITTEN_OUT: dict[str, tuple[Record, int, str]] = {
    "ged": (
        {"sentence1": "He go .", "sentence2": "He goes .", "acceptable": 1},
        1,
        "Compare sentences a and b. Which of them is grammatically acceptable? Reply with a or b."
        "\n\n### Sentence a:He go .\n### Sentence b:He goes .\n### Answer:",
    ),
    "pos": (
        {
            "text": "Dogs bark.",
            "tokens": ["Dogs", "bark", "."],
            "target_token": "bark",
            "options": ["NOUN", "VERB", "_", "ADJ"],
            "label": 1,
        },
        0,
        "Which part of speech is the target word in the text? Answer with the letter of the right "
        "tag.\n\n### Text:Dogs bark.\n### Target word:bark\n### Options:\na.NOUN\nb.VERB\nc._\n"
        "d.ADJ\n### Answer:",
    ),
    "agnews": (
        {"text": "Shares fell", "label": 2},
        0,
        "Which topic is this piece of news about? Answer with the letter of the topic.\n\n"
        "### Text:Shares fell\n### Options:\na.World\nb.Sports\nc.Business\n"
        "d.Science and technology\n### Answer:",
    ),
    "amazon": (
        {"text": "Broke at once", "label": 1.0},
        2,
        "Read the review and guess its star rating: 1, 2, 3, 4 or 5, where 5 is the best.\n\n"
        "### Review:Broke at once\n### Answer:",
    ),
    "fever": (
        {"claim": "Water is dry.", "label": 0},
        0,
        "Is this claim true? Answer with True or False.\n\n### Claim:Water is dry.\n### Answer:",
    ),
    "csqa": (
        {"text": "Where is a pan?", "options": ["x", "y", "kitchen", "z", "w"], "label": 2},
        2,
        "Think of everyday life and give the letter of the answer that most people would choose."
        "\n\n### Question:Where is a pan?\n### Options:\na.x\nb.y\nc.kitchen\nd.z\ne.w\n"
        "### Answer:",
    ),
    "paws": (
        {"sentence1": "A hit B", "sentence2": "B hit A", "label": 0},
        3,
        "Do the two sentences mean the same? Answer with the letter of the right option.\n\n"
        "### Sentence 1:A hit B\n### Sentence 2:B hit A\n### Options:\na.no\nb.yes\n### Answer:",
    ),
    "halueval": (
        {"knowledge": "K", "dialogue": "[Human]: D ", "response": "R", "hallucination": 1},
        2,
        "Check the last response for hallucinated information. Is there any? Answer yes or no.\n\n"
        "### Knowledge:K\n### Dialogue:[Human]: D\n### Response:R\n### Answer:",
    ),
    "stereoset": (
        {
            "context": "The man",
            "sentences": ["He ran.", "It rained.", "He sat."],
            "stereotype": 0,
            "anti-stereotype": 2,
            "non-stereotype": 1,
        },
        2,
        "Read the context and give the letter of the sentence that has nothing to do with "
        "prejudice.\n\n### Context:The man\n### Options:\na.He ran.\nb.It rained.\nc.He sat.\n"
        "### Answer:",
    ),
    "m-amazon": (
        {"review": "太差了", "label": 1, "lang": "zh"},
        2,
        "请阅读这条评论并猜测它的星级\uff1a1、2、3、4或5\uff0c其中5为最好。\n\n"
        "### 评论:太差了\n### 答案:",
    ),
    "lti": (
        {"text": "Guten Tag", "lang": "de"},
        0,
        "Which language is this text written in? Answer with the letter of the language.\n\n"
        "### Text:Guten Tag\n### Options:\na.English\nb.French\nc.German\nd.Chinese\ne.Spanish\n"
        "### Answer:",
    ),
    "mlama": (
        {
            "text": "Oslo está en [Y].",
            "options": list("pqrs"),
            "label": 3,
            "lang": "es",
            "uuid": "1",
        },
        2,
        "Completa el hecho: indica la letra de la opción que representa [Y].\n\n"
        "### Enunciado:Oslo está en [Y].\n### Opciones:\na.p\nb.q\nc.r\nd.s\n### Respuesta:",
    ),
    "xnli": (
        {"premise": "Il dort.", "hypothesis": "Il court.", "label": 2, "lang": "fr", "index": 7},
        1,
        "Quel est le rapport entre l'hypothèse et la prémisse ? Donne une seule lettre.\n\n"
        "### Prémisse:Il dort.\n### Hypothèse:Il court.\n### Options:\na.implication\nb.neutre\n"
        "c.contradiction\n### Réponse:",
    ),
    "m-pos": (
        {
            "text": "Er schläft.",
            "target_token": "schläft",
            "options": ["DET", "VERB", "ADP", "ADJ"],
            "label": 1,
            "lang": "de",
        },
        0,
        "Welche Wortart hat das Zielwort im Text? Antworte mit dem Buchstaben der richtigen "
        "Kategorie.\n\n### Text:Er schläft.\n### Zielwort:schläft\n### Optionen:\na.DET\nb.VERB\n"
        "c.ADP\nd.ADJ\n### Antwort:",
    ),
}
ANSWERS = {
    "ged": "b",
    "amazon": "1",
    "fever": "False",
    "stereoset": "b",
    "m-amazon": "1",
    "lti": "c",
}


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_prompts_written_out(name: str, made_up: Path, tmp_path: Path) -> None:
    record, template, prompt = WRITTEN_OUT[name]
    for part in ("train", "valid"):
        number = 0 if part == "train" else 5
        write_part(tmp_path, name, part, records(name, number, 2))
    write_part(tmp_path, name, "test", [record])
    task = mceval8k.load(name, tmp_path, template=template, shots=0)
    [item] = task.test
    assert item.prompt == prompt
    assert task.labels[item.label] == ANSWERS.get(name, task.labels[item.label])


# ---- Wordings.


def wordings() -> dict[str, str]:
    """What each version of a template makes of a record, as a hash."""
    found = {}
    for name, spec in TASKS.items():
        for number in range(mceval8k.template_count(name)):
            template = read_template(name, number)
            texts = tuple(f"<{field}>" for field in spec.texts)
            options = tuple(f"<{n}>" for n in range(len(spec.labels))) if spec.options else ()
            target = spec.target and "<target>"
            made = [*template.labels]
            for language in template.instructions:
                row = Row(
                    part="test",
                    number=0,
                    texts=texts,
                    target=target,
                    options=options,
                    label=0,
                    language=language,
                    translation=None,
                )
                made += [template.instruction(language), template.demonstration(spec, row)]
            digest = hashlib.sha256(json.dumps(made).encode()).hexdigest()
            found[template.version] = digest[:16]
    return found


def test_no_wording_changes_without_its_version() -> None:
    pinned = json.loads(PINNED.read_text(encoding="utf-8"))
    found = wordings()
    changed = sorted(v for v in found if v in pinned and pinned[v] != found[v])
    assert not changed, "raise the version of these in templates.toml, and pin it (see below)"
    # json.dump(pinned | wordings(), open(PINNED, "w"), indent=1) pins what is new.
    assert sorted(set(found) - set(pinned)) == []


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_put_in_three_ways_and_all_its_languages(name: str) -> None:
    spec = TASKS[name]
    languages = set(LANGUAGES) if spec.language else {"en"}
    templates = [read_template(name, number) for number in range(mceval8k.template_count(name))]
    for language in languages:
        told = {template.instruction(language) for template in templates}
        assert len(told) >= 3
    for template in templates:
        assert set(template.instructions) == languages
        assert set(template.options) in (set(), languages)
        assert len(template.labels) == len(spec.labels)
        for text in template.instructions.values():
            # A blank line or a header within would end the instruction.
            assert text == " ".join(text.split()) and "###" not in text
            assert text[-1] in ".?。"


def test_options_are_lettered_once_each_and_headers_are_those_of_the_language(
    made_up: Path,
) -> None:
    lines = mceval8k.load("lti", made_up, shots=0).test[0].question.splitlines()
    assert [line[0] for line in lines if line[1:2] == "."] == ["a", "b", "c", "d", "e"]
    answers = {
        item.language: item.question.splitlines()[-1]
        for item in mceval8k.load("xnli", made_up).test
    }
    assert answers == {
        "en": "### Answer:",
        "de": "### Antwort:",
        "fr": "### Réponse:",
        "es": "### Respuesta:",
        "zh": "### 答案:",
    }
