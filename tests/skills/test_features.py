"""Features streamed window by window: those of all prompts at once, whatever the windows."""

import dataclasses
import json
import resource
import shutil
from pathlib import Path
from typing import Any, cast

import jax.numpy as jnp
import numpy as np
import pytest

import negjax.skills as skills
from negjax.execution import batching, common_heads
from negjax.inputs.probes import Probes, probes_key
from negjax.measurements.gradients import NeurGrad, neurgrad
from negjax.model.language_model import LanguageModel
from negjax.skills.features import feature_streams
from negjax.skills.features import features as features_module
from negjax.skills.features.feature_files import RULES, layout, read_features
from negjax.skills.features.feature_streams import Kind, activation_windows, chosen_scores
from negjax.skills.features.features import extract
from negjax.storage import progress, run_settings, store
from tests.support.block_shapes import VOCABULARY, precision, tiny
from tests.support.few_shot import content, task_prompts

PROMPTS = 21


@pytest.fixture(autouse=True)
def _float64(monkeypatch):
    """Rounding of float32 may turn the order of two scores; and short heads count."""
    monkeypatch.setattr(common_heads, "GROUP_TOKENS", 20)
    with precision("float64"):
        yield


KINDS: tuple[Kind, ...] = ("neurgrad", "cg", "cgxa")


def lm() -> LanguageModel:
    return tiny("gated", "float64")


def in_memory(probes: Probes) -> NeurGrad:
    return neurgrad(lm(), probes)


def flat_scores(found: NeurGrad, kind: str) -> np.ndarray:
    """[B, K, N]."""
    factor = {
        "neurgrad": np.where(found.activation > 0, 1, -1),
        "cg": np.ones_like(found.activation),
        "cgxa": found.activation,
    }[kind]
    return (found.computed * factor[:, None]).reshape(*found.probability.shape, -1)


@pytest.mark.slow
@pytest.mark.parametrize(("window", "tight"), [(1, False), (4, False), (8, True), (100, False)])
def test_streamed_features_are_those_of_all_prompts_at_once(tmp_path, window, tight):
    probes, gold = task_prompts(PROMPTS)
    assert [group.head for group in common_heads.head_groups(lm(), probes)] == [11, 11]
    found = in_memory(probes)
    # So little that each prompt goes by itself.
    sizes = batching.Sizes(config=lm().config, length=8, targets=3, suffix=1, itemsize=8, head=12)
    budget = sizes.pull_back_bytes if tight else 10**9
    counts = (2, 5, 8, 16)
    seen: list[int] = []
    features = extract(
        *(tmp_path, lm(), probes, gold),
        kinds=KINDS,
        activations=True,
        counts=counts,
        window=window,
        budget_bytes=budget,
        after_window=seen.append,
    )
    assert seen == [window] * (PROMPTS // window) + [PROMPTS % window] * (PROMPTS % window > 0)
    assert len(features) == PROMPTS and features.labels == 3 and features.kinds == KINDS
    np.testing.assert_allclose(features.probability, found.probability, rtol=1e-12)
    np.testing.assert_array_equal(features.gold, gold)
    activations, answers = map(np.concatenate, zip(*features.activations(), strict=True))
    np.testing.assert_allclose(activations, found.activation.reshape(PROMPTS, -1), rtol=1e-11)
    np.testing.assert_array_equal(answers, gold)
    for kind in KINDS:
        scores = flat_scores(found, kind)
        codes, answers = map(np.concatenate, zip(*features.codes(kind), strict=True))
        assert codes.dtype == np.uint8
        np.testing.assert_array_equal(codes, skills.encode_scores(scores))
        np.testing.assert_array_equal(answers, gold)
        for count in (*counts, PROMPTS):
            some = scores[:count], gold[:count]
            for rule, votes in zip(RULES, (skills.polar_votes, skills.magn_votes), strict=True):
                np.testing.assert_array_equal(features.votes(rule, kind, count), votes(*some))
    first = [len(codes) for codes, _ in features.codes(count=5)]
    assert sum(first) == 5 and max(first) <= window


def test_masked_models_have_features(tmp_path):
    model = tiny("bert", "float64")
    causal, gold = task_prompts(6)
    tokens, mask_id = causal.tokens.copy(), VOCABULARY.index("[MASK]")
    tokens[np.arange(6), causal.read] = mask_id
    probes = dataclasses.replace(causal, tokens=tokens, mask_id=mask_id)
    features = extract(tmp_path, model, probes, gold, window=4)
    found = neurgrad(model, probes)
    codes = np.concatenate([codes for codes, _ in features.codes()])
    np.testing.assert_array_equal(codes, skills.encode_scores(flat_scores(found, "neurgrad")))


def test_probes_from_features(tmp_path):
    """What probes are fitted from and predict from, without scores of all prompts in memory."""
    probes, gold = task_prompts(PROMPTS)
    found = in_memory(probes)
    scores = flat_scores(found, "neurgrad")
    features = extract(tmp_path, lm(), probes, gold, activations=True, window=4)
    expected = skills.Polar(k=5).fit(scores, gold)
    probe = skills.Polar(k=5).from_votes(features.votes("polar"), features.labels)
    np.testing.assert_array_equal(probe.neurons, expected.neurons)
    predicted = np.concatenate([probe.predict_codes(codes) for codes, _ in features.codes()])
    np.testing.assert_array_equal(predicted, expected.predict(scores))
    # Act takes two passes over activations, from the disk or through the model.
    act = skills.Act(k=3).fit(found.activation, gold, 3)
    for batches in (
        features.activations,
        lambda: activation_windows(lm(), probes, gold, window=4),
    ):
        again = skills.Act(k=3).fit_batches(batches, 3)
        np.testing.assert_array_equal(again.neurons, act.neurons)
        np.testing.assert_allclose(again.threshold, act.threshold, rtol=1e-11)
    some = np.asarray([40, 3, 17])
    for kind in ("neurgrad", "cg"):
        chosen = chosen_scores(lm(), probes, some, kind)
        np.testing.assert_allclose(chosen, flat_scores(found, kind)[..., some], rtol=1e-9)
    pairs = np.stack(np.divmod(some, lm().config.neurons), axis=1)
    np.testing.assert_array_equal(chosen_scores(lm(), probes, pairs, "cg"), chosen)


def test_pieces():
    cut = layout(20, 8, (2, 4, 8, 11, 20))
    assert [(span.start, span.stop) for span in cut.windows] == [(0, 8), (8, 16), (16, 20)]
    assert [piece.stop for piece in cut.pieces] == [2, 4, 8, 11, 16, 20]
    assert [cut.pieces_of(window) for window in cut.windows] == [
        slice(0, 3),
        slice(3, 5),
        slice(5, 6),
    ]


# ---- What is there and whole is not computed again; what is not, is.


def test_finished_windows_are_kept(tmp_path, monkeypatch):
    probes, gold = task_prompts(9)
    whole = extract(tmp_path, lm(), probes, gold, window=3).path
    before = content(whole)
    monkeypatch.setattr("negjax.skills.features.features._measure", pytest.fail)
    assert extract(tmp_path, lm(), probes, gold, window=3).path == whole
    assert content(whole) == before


def test_scores_that_are_not_finite_are_refused(tmp_path, monkeypatch):
    probes, gold = task_prompts(5)
    known = feature_streams.scores_of

    def overflowing(kind, batch):
        wrong = jnp.asarray(batch.members == 3)[:, None, None]
        return known(kind, batch).at[: len(batch.members)].multiply(jnp.where(wrong, jnp.nan, 1))

    monkeypatch.setattr(features_module, "scores_of", overflowing)
    message = r"^prompt 3 has scores \(neurgrad\) that are not finite in float64"
    with pytest.raises(ValueError, match=message):
        extract(tmp_path, lm(), probes, gold)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the features of nine prompts, in windows of three; to be copied."""
    folder = tmp_path_factory.mktemp("finished")
    probes, gold = task_prompts(9)
    with pytest.MonkeyPatch.context() as patched, precision("float64"):
        patched.setattr(common_heads, "GROUP_TOKENS", 20)
        extract(folder, lm(), probes, gold, window=3)
    return folder


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "other"])
@pytest.mark.parametrize("array", ["codes_neurgrad", "probability", "magn_neurgrad"])
def test_a_damaged_chunk_is_computed_again(tmp_path, finished, array, damage):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    probes, gold = task_prompts(9)
    (path,) = (file.parent for file in tmp_path.rglob(progress.PROGRESS))
    before = content(path)
    file = path / store.ARRAYS / array / "c/1/0"
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 0x10
    elif damage == "truncate":
        data = data[: len(data) // 2]
    elif damage == "other":
        data = bytearray((file.parent.parent / "0/0").read_bytes())
    file.unlink()
    if damage != "delete":
        file.write_bytes(data)
    assert content(path) != before
    seen: list[tuple[int, int]] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("negjax.skills.features.features._measure", counted(seen))
        extract(tmp_path, lm(), probes, gold, window=3)
    assert seen == [(3, 6)]
    assert content(path) == before


def counted(seen: list[tuple[int, int]]):
    """`_measure` that notes the windows it measures."""
    measure = features_module._measure

    def noted(stream, gold, cut, window, *rest):
        seen.append(tuple(window))
        return measure(stream, gold, cut, window, *rest)

    return noted


def test_whatever_changes_starts_anew(tmp_path):
    probes, gold = task_prompts(6)
    other = dataclasses.replace(lm(), fingerprint="another")
    tokens = probes.tokens.copy()
    tokens[2, 12] = 23 - tokens[2, 12]
    targets = probes.target_ids.copy()
    targets[1, 2] = 25 - targets[1, 2]
    paths = [
        extract(tmp_path, model, some, answers, **arguments).path
        for model, some, answers, arguments in (
            (lm(), probes, gold, {}),
            (other, probes, gold, {}),
            (lm(), dataclasses.replace(probes, tokens=tokens), gold, {}),
            (lm(), dataclasses.replace(probes, target_ids=targets), gold, {}),
            (lm(), probes.select(range(5)), gold[:5], {}),
            (lm(), probes, (gold + 1) % 3, {}),
            (lm(), probes, gold, {"kinds": ("cg",)}),
            (lm(), probes, gold, {"site": "product"}),
            (lm(), probes, gold, {"activations": True}),
            (lm(), probes, gold, {"counts": (3,)}),
            (lm(), probes, gold, {"window": 3}),
            (lm(), probes, gold, {"about": {"template": "1.0", "seed": 3}}),
        )
    ]
    assert len(set(paths)) == len(paths)
    # Padding is no content.
    wider = [np.pad(x, ((0, 0), (2, 3))) for x in (probes.tokens, probes.mask)]
    padded = dataclasses.replace(probes, tokens=wider[0], mask=wider[1], read=probes.read + 2)
    assert extract(tmp_path, lm(), padded, gold).path == paths[0]
    assert probes_key(padded) == probes_key(probes)


def test_a_second_process_is_refused(tmp_path):
    probes, gold = task_prompts(6)
    path = extract(tmp_path, lm(), probes, gold).path
    settings = json.loads((path / run_settings.SETTINGS).read_text())["settings"]
    with (
        store.open_to_measure(path, settings, {}, attributes={}),
        pytest.raises(ValueError, match="in use by another process; wait"),
    ):
        extract(tmp_path, lm(), probes, gold)
    # Reading needs no lock.
    with store.open_to_measure(path, settings, {}, attributes={}):
        assert len(read_features(path)) == 6


def test_finished_features_are_read_by_several_at_once(tmp_path):
    probes, gold = task_prompts(6)
    path = extract(tmp_path, lm(), probes, gold).path
    settings = json.loads((path / run_settings.SETTINGS).read_text())["settings"]
    found = store.open_finished(path, settings)
    assert found is not None
    with found:
        assert extract(tmp_path, lm(), probes, gold).path == path
        with pytest.raises(ValueError, match="in use by another process"):
            extract(tmp_path, lm(), probes, gold, overwrite=True)


def test_a_full_disk_costs_one_window(tmp_path):
    probes, gold = task_prompts(9)
    whole = content(extract(tmp_path / "whole", lm(), probes, gold, window=3).path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_up(prompts: int) -> None:
        # Beyond this size writing fails, as on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))

    try:
        with pytest.raises(OSError, match=r"3-6 could not be saved: .* run the same command again"):
            extract(tmp_path / "full", lm(), probes, gold, window=3, after_window=fill_up)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (path,) = (tmp_path / "full").iterdir()
    with pytest.raises(ValueError, match="holds no finished features: run extract to its end"):
        read_features(path)
    seen: list[tuple[int, int]] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("negjax.skills.features.features._measure", counted(seen))
        extract(tmp_path / "full", lm(), probes, gold, window=3)
    assert seen == [(3, 6), (6, 9)]
    assert content(path) == whole


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kinds": ("neurgrad", "odds")}, r"kinds hold 'odds', expected some of \('neurgrad', 'c"),
        ({"counts": (3, 7)}, r"counts hold 7: expected 1 to 6, as many as prompts"),
        ({"counts": (0,)}, r"counts hold 0: expected 1 to 6"),
        ({"window": 0}, r"window is 0, expected a whole number, 1 or more"),
        ({"site": "act"}, r"site 'act': a model with gated"),
        ({"gold": [0, 1, 2, 3, 0, 0]}, r"gold of prompt 3 is 3, expected 0 … 2"),
        ({"gold": [0, 1]}, r"gold is int64\[2\], expected integers \[6\]"),
        ({"budget_bytes": 100}, r"budget_bytes=100 is too small: one prompt of"),
    ],
)
def test_refused(tmp_path, arguments, message):
    probes, gold = task_prompts(6)
    with pytest.raises(ValueError, match=message):
        extract(tmp_path, lm(), probes, **({"gold": gold} | arguments))


def test_what_was_not_kept_is_named(tmp_path):
    probes, gold = task_prompts(6)
    features = extract(tmp_path, lm(), probes, gold, kinds=("cg",), window=4)
    with pytest.raises(ValueError, match=r"votes of the first 3 prompts are not kept, only of"):
        features.votes("polar", count=3)
    with pytest.raises(ValueError, match=r"rule is 'act', expected one of polar, magn"):
        features.votes(cast(Any, "act"))
    with pytest.raises(ValueError, match=r"kind is 'neurgrad', .* holds cg"):
        next(features.codes("neurgrad"))
    with pytest.raises(ValueError, match=r"keeps no activations: pass activations=True"):
        next(features.activations())
