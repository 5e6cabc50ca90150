"""`pretrain_bert` from flags to model: what it shows, and resumption to the bit."""

import csv
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from absl.testing import flagsaver
from pyarrow import parquet

import negjax
from experiments.pretrain_bert import card as pretrain_card
from experiments.pretrain_bert import program as pretrain_bert
from experiments.pretrain_bert import report as pretrain_report
from experiments.pretrain_bert import training
from experiments.pretrain_bert.corpus import Statement
from experiments.pretrain_bert.job import read_job
from experiments.pretrain_bert.recall import recall_of
from experiments.pretrain_bert.saved_states import SavedStates
from experiments.reporting import templates
from experiments.reporting.escaping import for_terminal
from experiments.reporting.figures import Picture
from experiments.reporting.report import Failure, html_page
from experiments.running import study
from negjax.storage import progress, store
from tests.support.hostile_text import ALL_OF_THEM, HOSTILE, unseen
from tests.support.made_up_facts import NAMES, facts
from tests.support.pages import Page
from tests.support.processes import command, started
from tests.support.tiny_runs import parse

pytestmark = pytest.mark.usefixtures("restored_flags", "well_drawn")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The facts as a user has them."""
    path = tmp_path_factory.mktemp("text") / "facts.jsonl"
    lines = [json.dumps({"text": s.text, "answer": s.answer}) for s in facts()]
    path.write_text("\n".join(lines) + "\n\n")
    return path


def arguments(text: Path, output: Path, *more: str) -> list[str]:
    return [
        f"--corpus={text}",
        f"--output={output}",
        "--compilation_cache=none",
        "--held_out=4",
        "--vocabulary_size=300",
        "--bert_layers=2",
        "--bert_width=16",
        "--bert_neurons=32",
        "--bert_heads=2",
        "--bert_context=16",
        "--train_steps=24",
        "--batch_tokens=160",
        "--learning_rate=0.02",
        "--warmup_steps=2",
        "--save_every=4",
        *more,
    ]


def losses(output: Path) -> dict[str, np.ndarray]:
    table = parquet.read_table(output / store.LOSSES)
    timed = ("seconds", "cpu_seconds")
    return {name: table[name].to_numpy() for name in table.column_names if name not in timed}


def final_params(output: Path) -> dict[str, bytes]:
    """float32 bytes of the last saved state."""
    job = read_job()
    fresh = training.initial_state(job.config, job.recipe, job.seed)
    with SavedStates(output / store.STATES) as states:
        state = states.resume(job.recipe.steps, fresh)
    return {name: np.asarray(value).tobytes() for name, value in state.params.items()}


@pytest.fixture(scope="module")
def whole(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run from beginning to end."""
    output = tmp_path_factory.mktemp("whole")
    with flagsaver.flagsaver():
        parse(*arguments(text, output))
        assert study.run(pretrain_bert.prepare) == 0
    return output


def assert_same_run(text: Path, output: Path, whole: Path) -> None:
    """To the last bit: losses, norms, rates, recall on the way, and the parameters."""
    found, expected = losses(output), losses(whole)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    assert found["step"].tolist() == list(range(24))
    parse(*arguments(text, whole))
    assert final_params(output) == final_params(whole)
    weights = Path(store.MODEL) / "model.safetensors"
    assert (output / weights).read_bytes() == (whole / weights).read_bytes()


def test_a_run_learns_and_shows_what(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured = losses(whole)
    assert measured["loss"][:3].mean() > 5.0
    assert measured["loss"][-3:].mean() < 4.0
    about = json.loads((whole / store.SUMMARY).read_text())
    assert about["complete"] is True
    assert about["corpus"]["statements"] == 36
    assert about["corpus"]["single_token_answers"] == pytest.approx(
        np.mean([s.answer != "Saint Petersburg" for s in trained_statements(whole)])
    )
    lm = negjax.load(whole / store.MODEL)
    for name, file in (("trained", "facts.csv"), ("held_out", "held_out.csv")):
        rows = list(csv.DictReader((whole / store.MODEL / file).open()))
        asked = negjax.encode(lm, [r["prompt"] for r in rows], [r["answer"] for r in rows])
        found = recall_of(lm, asked)
        told = about["recall"][name]
        assert told == found.summary
        np.testing.assert_allclose(
            [float(row["probability"]) for row in rows], found.probability, atol=6e-5
        )
    assert sum(about["corpus"]["by_source"].values()) == 36
    card = (whole / store.MODEL / pretrain_report.README).read_text()
    assert f"| trained on | {about['recall']['trained']['facts']} |" in card
    assert "its licence is unknown" in card
    page = Page((whole / store.REPORT).read_text())
    assert len(page.images) == 2


def trained_statements(output: Path) -> list[Statement]:
    with flagsaver.flagsaver():
        settings = json.loads((output / store.SUMMARY).read_text())["flags"]
        parse(*arguments(Path(settings["corpus"]), output))
        return read_job().statements


def test_a_killed_run_continues_to_the_same_losses(text: Path, whole: Path, tmp_path: Path) -> None:
    run = command("pretrain_bert", *arguments(text, tmp_path))
    process = started(run, tmp_path, groups=2)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    finished = json.loads((tmp_path / progress.PROGRESS).read_text())["seconds"]
    assert 2 <= len(finished) < 6
    parse(*arguments(text, tmp_path))
    assert study.run(pretrain_bert.prepare) == 0
    kept = json.loads((tmp_path / store.SUMMARY).read_text())["seconds"]["measure"]
    assert {name: kept[name] for name in finished} == finished
    assert_same_run(text, tmp_path, whole)


def test_a_state_that_the_folder_does_not_count_is_made_again(
    text: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if killed between the two: the state of step 12 is saved, the losses up to it are not."""
    save = store.RunFolder.save
    saved: list[str] = []

    def stopped(folder: store.RunFolder, group: str, *rest: Any) -> None:
        if len(saved) == 2:
            raise KeyboardInterrupt
        saved.append(group)
        save(folder, group, *rest)

    parse(*arguments(text, tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(store.RunFolder, "save", stopped)
        assert study.run(pretrain_bert.prepare) == 130
    assert {path.name for path in (tmp_path / store.STATES).iterdir()} == {"8", "12"}
    assert len(losses(tmp_path)["loss"]) == 8
    partial = json.loads((tmp_path / store.SUMMARY).read_text())
    assert (partial["complete"], partial["recall"]) == (False, {})
    assert "was interrupted" in (tmp_path / store.REPORT).read_text()
    assert not (tmp_path / store.MODEL).exists()
    assert study.run(pretrain_bert.prepare) == 0
    assert_same_run(text, tmp_path, whole)


def test_a_lost_state_is_named(text: Path, whole: Path, tmp_path: Path) -> None:
    with SavedStates(tmp_path) as states:
        parse(*arguments(text, whole))
        job = read_job()
        fresh = training.initial_state(job.config, job.recipe, job.seed)
        states.save(4, fresh)
        with pytest.raises(ValueError, match=r"the state after 8 steps is missing \(found: 4\)"):
            states.resume(8, fresh)


def test_text_without_facts_is_learned_too(tmp_path: Path) -> None:
    plain = tmp_path / "plain.txt"
    plain.write_text("\n".join(f"{name} lived far away, in the hills." for name in NAMES))
    parse(*arguments(plain, tmp_path / "run", "--held_out=0", "--train_steps=4"))
    assert study.run(pretrain_bert.prepare) == 0
    about = json.loads((tmp_path / "run" / store.SUMMARY).read_text())
    assert about["recall"] == {}
    assert about["corpus"]["single_token_answers"] is None
    assert "the text has no facts" in (tmp_path / "run" / store.REPORT).read_text()
    assert not (tmp_path / "run" / store.MODEL / "facts.csv").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--model=gpt2"], r"--model=gpt2 has no effect on pretrain_bert, which"),
        (["--dtype=float32"], r"--dtype=float32 has no effect on pretrain_bert, which"),
        (["--assume_harmless=x"], r"--assume_harmless=\['x'\] has no effect on pretrain_bert"),
        (
            ["--warmup_steps=24"],
            r"--warmup_steps=24: expected fewer than --train_steps, which are 24",
        ),
        (["--answer_share=-0.1"], r"answer share -0.1: expected 0 to 1"),
        (["--bert_heads=3"], r"num_attention_heads"),
        (["--vocabulary_size=9"], r"a vocabulary of 9: expected at least"),
        (["--bert_context=6"], r"the context holds 6"),
        (["--held_out=21"], r"21 statements to hold out, but only 20"),
        (["--corpus=none.txt"], r"--corpus=none.txt: path 'none.txt': no such file"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    text: Path, tmp_path: Path, more: list[str], message: str
) -> None:
    parse(*arguments(text, tmp_path / "run", *more))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        study.run(pretrain_bert.prepare)
    assert not (tmp_path / "run").exists()


def test_divergence_is_named(text: Path, tmp_path: Path) -> None:
    parse(*arguments(text, tmp_path, "--learning_rate=1e30", "--warmup_steps=0"))
    with pytest.raises(ValueError, match=r"the loss of step \d+ is .*: the training diverged; low"):
        study.run(pretrain_bert.prepare)


def test_the_card_names_texts_and_commands_of_any_kind(whole: Path) -> None:
    about = json.loads((whole / store.SUMMARY).read_text())
    about["command"] = ALL_OF_THEM
    about["corpus"]["by_source"] = dict.fromkeys(HOSTILE, 1)
    text = pretrain_card.model_card(about)
    assert not unseen(text) - {"\n"}
    assert text.count("\n## ") == 4
    # As a code span, of which only a longer run of backticks than in it is the end.
    assert f"- command: ````{for_terminal(ALL_OF_THEM)}````" in text
    draws = {name: lambda: Picture(b"", b"") for name in ("training", "recall")}
    report = pretrain_report.make_report(about, draws, 24, [])
    document = templates.document(study.template("pretrain_bert"), report.contents)
    failed = dict.fromkeys(draws, Failure(ALL_OF_THEM))
    content = html_page(document, failed)
    assert not unseen(content) - {"\n", "\t"} and "<script" not in content
    Page(content)
