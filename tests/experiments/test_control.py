"""The study of control, from flags to folder, on tiny models."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from pyarrow import parquet

import negjax
from experiments.control import program as control
from experiments.control import work as control_work
from experiments.control.edits import plain_texts, read_edits
from experiments.running import study
from negjax.control import (
    edit,
    enhance,
    next_token_kl,
    perplexity,
    steer_probes,
    suppress,
    target_probabilities,
)
from negjax.inputs.encoding import encode
from negjax.model.language_model import LanguageModel
from negjax.storage import store
from tests.support import tiny_runs
from tests.support.block_shapes import tiny
from tests.support.moved_texts import greedy_text
from tests.support.pages import Page
from tests.support.sharp_models import sharp
from tests.support.tiny_runs import ANSWERS, PROMPTS, arguments, summary, write_inputs

EDITS = """fact,kind,prompt,answer,new,masked
one,edit,w3 w4,w5,w9,w3 w4 [MASK]
one,paraphrase,w4 w3 w4,w5,w9,w4 w3 w4 [MASK]
one,paraphrase,w6 w3 w4,w5,w9,w6 w3 w4 [MASK]
one,neighbour,w3 w7,w8,w9,w3 w7 [MASK]
unknown,edit,elsewhere,w5,w9,elsewhere [MASK]
unknown,paraphrase,w4,w5,w9,w4 [MASK]
unknown,neighbour,w4,w5,w9,w4 [MASK]
two,neighbour,w12 w7,w8,w10,w12 w7 [MASK]
two,neighbour,w12 w8,w6,w10,w12 w8 [MASK]
two,edit,w12 w4,w5,w10,w12 w4 [MASK]
two,paraphrase,w4 w12 w4,w5,w10,w4 w12 w4 [MASK]
two,paraphrase,w4 w4 w12,w5,w10,w4 w4 w12 [MASK]
"""


pytestmark = pytest.mark.usefixtures("restored_flags", "well_drawn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models and tables, as a user has them."""
    path = tmp_path_factory.mktemp("inputs")
    (path / "edits.csv").write_text(EDITS)
    without_bias = tiny("gated", family="mistral")
    return write_inputs(path, 8, gated=sharp("gated"), bert=sharp("bert"), mistral=without_bias)


def parse(folder: Path, output: Path, *more: str) -> None:
    few = (
        f"--unrelated={folder / 'facts.csv'}",
        f"--edit_table={folder / 'edits.csv'}",
        "--prompts=3",
        "--counts=2,5",
        "--volumes=0.5",
        "--ratios=1",
        "--wanted=0.02,0.1",
        "--edits=2",
        "--edit_probability=0.1",
        "--ways=smallest,reworded",
        "--turns=6",
        # A text takes longer to compile than all else: one test writes.
        "--written=0",
    )
    tiny_runs.parse(*arguments(folder, output, *few, *more))


def rows(output: Path, number: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = parquet.read_table(output / store.CONTROLS[number]).to_pylist()
    return found


def asked(lm: LanguageModel, output: Path) -> negjax.Probes:
    chosen = parquet.read_table(output / store.PROMPTS).to_pydict()
    return encode(lm, chosen["text"], chosen["answer"])


@pytest.mark.slow
def test_what_is_reported_is_what_the_library_measures(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parse(folder, tmp_path)
    assert study.run(control.prepare) == 0
    lm = negjax.load(folder / "gated")
    probes, about = asked(lm, tmp_path), summary(tmp_path)
    turned = rows(tmp_path, 0)
    assert len(turned) == 3 * 2 * 2 * 2
    for row in turned:
        function = enhance if row["direction"] == "enhance" else suppress
        found = function(
            lm, probes.select([row["prompt"]]), row["count"], **{row["amount"]: row["size"]}
        )
        assert row["probability"] == pytest.approx(found.after.probability[0], rel=1e-4)
        assert row["before"] == pytest.approx(found.before.probability[0], rel=1e-5)
        assert (row["rank_before"], row["rank"]) == (found.before.rank[0], found.after.rank[0])
        assert row["top_token_before"] == found.before.top_token[0]
        assert row["top_token"] == found.after.top_token[0]
        assert row["kl"] == pytest.approx(found.kl[0], rel=1e-3)
    others = encode(lm, PROMPTS[:8], ANSWERS[:8])
    for row in rows(tmp_path, 1):
        own = probes.select([row["prompt"]])
        [steered] = steer_probes(lm, own, row["wanted"], turns=6, unrelated=others)
        assert row["steered"] == pytest.approx(row["wanted"], abs=1e-3)
        assert row["reached"]
        assert row["norm"] == pytest.approx(steered.norm, rel=1e-3)
        assert row["norm"] <= row["straight_norm"] * (1 + 1e-6)
        assert row["cosine"] == pytest.approx(steered.cosine, abs=1e-3)
        assert row["kl"] == pytest.approx(steered.kl, rel=1e-2)
        assert row["unrelated_mean"] == pytest.approx(steered.unrelated_kl.mean(), rel=1e-2)
        assert row["unrelated_most"] == pytest.approx(steered.unrelated_kl.max(), rel=1e-2)
        assert row["predicted_norm"] == pytest.approx(steered.predicted, rel=1e-4)
    edited = rows(tmp_path, 2)
    assert [r["fact"] for r in edited[::4][:2]] == ["one", "one"]
    [one, two] = read_edits(lm, str(folder / "edits.csv"), 0).facts
    assert two.kinds == ("edit", "paraphrase", "paraphrase", "neighbour", "neighbour")
    for fact in (one, two):
        for way, taught in (("smallest", 1), ("reworded", 2)):
            facts = encode(lm, fact.prompts[:taught], [fact.new] * taught)
            again = edit(lm, facts, 0.1, turns=6)
            p = target_probabilities(again.lm, fact.probes(lm))
            own_rows = [r for r in edited if (r["fact"], r["way"]) == (fact.name, way)]
            np.testing.assert_allclose([r["new"] for r in own_rows], p[:, 0], rtol=1e-3)
            np.testing.assert_allclose([r["own"] for r in own_rows], p[:, 1], rtol=1e-3)
            measured = own_rows[0]["perplexity"], own_rows[0]["edit_kl"]
            assert measured[0] == pytest.approx(perplexity(again.lm, plain_texts()), rel=1e-4)
            expected = next_token_kl(lm, again.lm, others.select(range(1, 8, 2))).mean()
            assert measured[1] == pytest.approx(expected, rel=1e-2)
    assert about["complete"] is True
    assert about["convention"] == "additive"
    for said in about["turning"]:
        behind = [
            row
            for row in turned
            if (row["direction"], row["count"]) == (said["direction"], said["count"])
            and f"{row['amount']} {row['size']:g}" == said["amount"]
        ]
        assert said["rank_before"] == np.median([row["rank_before"] for row in behind])
        assert said["rank"] == np.median([row["rank"] for row in behind])
        assert said["first"] == np.mean([row["rank"] == 1 for row in behind])
        changed = [row["top_token"] != row["top_token_before"] for row in behind]
        assert said["other"] == np.mean(changed)
    # Some ranks change, so that the columns can be told apart.
    assert any(row["rank"] != row["rank_before"] for row in turned)
    assert any(row["top_token"] != row["top_token_before"] for row in turned)
    assert about["edits"]["left_out"][0]["fact"] == "unknown"
    assert [s["wanted"] for s in about["steering"]] == [0.02, 0.1]
    assert [s["hit"] for s in about["steering"]] == [1, 1]
    # The paraphrase that one way was taught judges none of them.
    assert [e["paraphrase"]["prompts"] for e in about["editing"]] == [2, 2, 2]
    assert [e["neighbourhood"]["prompts"] for e in about["editing"]] == [3, 3, 3]
    assert about["editing"][1]["efficacy"]["probability"] == pytest.approx(0.1, abs=1e-3)
    page = Page((tmp_path / store.REPORT).read_text(encoding="utf-8"))
    assert len(page.images) == 3
    assert {p.stem for p in (tmp_path / store.FIGURES).iterdir()} == {
        "turning",
        "steering",
        "editing",
    }
    tables = {p.stem for p in (tmp_path / store.TABLES).iterdir()}
    assert tables == {"turning", "steering", "editing"}
    printed = capsys.readouterr().out
    assert "turning 3, steering 3, editing 2" in printed
    assert printed.endswith(f"report: {tmp_path / store.REPORT}\n")
    assert {"rank before", "rank after", "argmax changed"} <= set(page.text)


def test_lines_miss_by_what_they_miss(folder: Path, tmp_path: Path) -> None:
    """At the length that a line predicts, along the gradient, by a joint intervention."""
    parse(folder, tmp_path, "--parts=steering", "--turns=0")
    assert study.run(control.prepare) == 0
    lm = negjax.load(folder / "gated")
    probes = asked(lm, tmp_path)
    for row in rows(tmp_path, 1):
        own = probes.select([row["prompt"]])
        for name, output in (("P", "probability"), ("log P", "log_probability")):
            gradients = negjax.neurgrad(lm, own, output=cast(Any, output))
            gradient = gradients.computed[0, 0].astype(np.float64)
            p = float(gradients.probability[0, 0])
            missing = row["wanted"] - p if name == "P" else np.log(row["wanted"] / p)
            shift = gradient * missing / (gradient**2).sum()
            found = negjax.joint(lm, own, shift[None], "additive").probability[0, 0]
            assert row[f"line in {name}"] == pytest.approx(found, rel=1e-3)
        assert abs(row["line in log-odds"] - row["wanted"]) < 0.3
    page = Page((tmp_path / store.REPORT).read_text(encoding="utf-8"))
    assert len(page.images) == 1
    headings = {"The strongest neurons, up and down", "A shift that stays: editing"}
    assert "The smallest shift to a wanted probability" in page.text
    assert not headings & set(page.text)


@pytest.mark.slow
def test_a_masked_model_is_steered_and_edited(folder: Path, tmp_path: Path) -> None:
    parse(
        folder,
        tmp_path,
        f"--model={folder / 'bert'}",
        "--prompt_column=masked",
        "--prompts=2",
        # Nothing at the read position gives this random model's answers much more.
        "--wanted=0.02,0.05",
        "--ways=smallest,straight,upper,preserving",
        "--written=4",
    )
    assert study.run(control.prepare) == 0
    assert not (tmp_path / store.TEXTS).exists()
    page = " ".join(Page((tmp_path / store.REPORT).read_text(encoding="utf-8")).text)
    assert "A masked LM fills in a [MASK] and writes no text" in page
    about = summary(tmp_path)
    assert (about["site"], about["model"]["family"]) == ("act", "bert")
    assert about["editing"][0]["way"] == "none"
    assert [s["hit"] for s in about["steering"]] == [1, 1]


def test_an_interrupted_run_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def interrupted_edit(*args: Any, **options: Any) -> Any:
        calls.append("edit")
        if len(calls) == 2:
            raise KeyboardInterrupt
        return edit(*args, **options)

    monkeypatch.setattr(control_work, "edit", interrupted_edit)
    more = ("--parts=steering,editing", "--ways=smallest", "--turns=2", "--written=4")
    parse(folder, tmp_path, *more)
    assert study.run(control.prepare) == 130
    about = summary(tmp_path)
    assert about["complete"] is False
    assert about["measured"] == {"steering": 3, "editing": 1}
    assert study.run(control.prepare) == 0
    assert len(calls) == 3
    assert summary(tmp_path)["measured"] == {"steering": 3, "editing": 2}
    texts = parquet.read_table(tmp_path / store.TEXTS).to_pylist()
    assert [text["what"] for text in texts] == [
        *["steered to 0.02", "steered to 0.1"] * 3,
        *["edited: smallest"] * 2,
    ]
    lm = negjax.load(folder / "gated")
    probes, others = asked(lm, tmp_path), encode(lm, PROMPTS[:8], ANSWERS[:8])
    steered = steer_probes(
        lm, probes.select([0, 0, 1, 1, 2, 2]), np.tile([0.02, 0.1], 3), turns=2, unrelated=others
    )
    for found, text in zip(steered, texts, strict=False):
        assert (text["prompt"], text["answer"]) == (found.prompt, found.target)
        assert text["before"] == greedy_text(lm, found.prompt, 4)
        assert text["after"] == greedy_text(lm, found.prompt, 4, found.shift)
    for fact, text in zip(
        read_edits(lm, str(folder / "edits.csv"), 0).facts, texts[6:], strict=True
    ):
        assert (text["prompt"], text["answer"]) == (fact.prompts[0], fact.new)
        assert text["before"] == greedy_text(lm, fact.prompts[0], 4)
        again = edit(lm, fact.taught(lm, 0), 0.1, turns=2)
        assert text["after"] == greedy_text(again.lm, fact.prompts[0], 4)
    assert any(text["before"] != text["after"] for text in texts)
    listed = (tmp_path / store.TABLES / "texts.csv").read_text(encoding="utf-8").splitlines()
    assert listed[0] == "prompt,answer,done,written before,written after"
    assert len(listed) == 1 + len(texts)
    parse(folder, tmp_path, *more, "--wanted=0.5")
    with pytest.raises(
        ValueError, match=r"other settings \(wanted was \[0.02, 0.1\], now \[0.5\]\)"
    ):
        study.run(control.prepare)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--parts=turning,other"], r"--parts=turning,other: expected some of turning, steering"),
        (["--ways=best"], r"--ways=best: expected some of smallest, straight"),
        (["--wanted=0.5,1.5"], r"--wanted=0.5,1.5: expected numbers above 0 and below 1"),
        (["--wanted=some"], r"--wanted=some: could not convert"),
        (["--counts=1.5"], r"--counts=1.5: expected whole numbers from 1 on"),
        (["--volumes=-1"], r"--volumes=-1: expected numbers above 0"),
        (
            ["--edit_probability=1"],
            r"--edit_probability=1.0: expected a number above 0 and below 1",
        ),
        (
            ["--edits=3"],
            r"--edits=3: edits.csv has 2 facts that this model can be asked; the first",
        ),
        (["--model=mistral"], r"models of family 'mistral' have no bias"),
        (["--counts=61"], r"k is 61: expected 1 to 60"),
        (["--site=act"], r"site 'act'"),
        (
            ["--written=40"],
            r"--written=40: a prompt is 3 tokens long, .* holds 32; pass 30 at most",
        ),
    ],
)
def test_bad_input_is_refused(folder: Path, tmp_path: Path, more: list[str], message: str) -> None:
    more = [word.replace("mistral", str(folder / "mistral")) for word in more]
    parse(folder, tmp_path / "run", *more)
    with pytest.raises(ValueError, match=message):
        study.run(control.prepare)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["x,edit,w3,w4,w5", "x,paraphrase,w3,w4,w5"], r"'x' has 1 edits, 1 paraphrases, 0 neigh"),
        (["x,edit,w3,w4,w5", "x,other,w3,w4,w5"], r"fact 'x' has kind 'other', expected"),
        (
            ["x,edit,w3,w4,w5", "x,paraphrase,w3,w4,w6", "x,neighbour,w3,w4,w5"],
            r"1 neighbours and 2 new answers; expected 1, some, some and 1",
        ),
    ],
)
def test_bad_edit_tables_are_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    file = tmp_path / "edits.csv"
    file.write_text("\n".join(["fact,kind,prompt,answer,new", *lines]))
    with pytest.raises(ValueError, match=message):
        read_edits(tiny("gated"), str(file), 0)


@pytest.mark.slow
def test_the_shipped_edits(smollm2: LanguageModel) -> None:
    """All can be asked; before an edit the old answer is likelier, and so are neighbours' own."""
    table = read_edits(smollm2, None, 0)
    assert len(table.facts) == 20
    assert table.skipped == ()
    for fact in table.facts:
        assert fact.kinds == ("edit", "paraphrase", "paraphrase", *["neighbour"] * 3)
        assert fact.new not in fact.answers
        assert len(set(fact.prompts)) == 6
    old_wins = [
        new < old
        for fact in table.facts
        for new, old in target_probabilities(smollm2, fact.probes(smollm2))
    ]
    # 119 of 120: "A baby sheep is called a" calf, not a lamb.
    assert np.mean(old_wins) > 0.97
    texts = plain_texts()
    assert len(texts) > 30
    assert 50 < perplexity(smollm2, texts) < 200
