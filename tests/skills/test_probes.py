"""What all probes share: saving, baselines, explanations; accuracies and their intervals."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import negjax
from negjax.skills import (
    Act,
    FittedProbe,
    ForestProbe,
    Linear,
    LMProb,
    Magn,
    Majority,
    Polar,
    PolarProbe,
    Random,
    Tree,
    bootstrap_interval,
    explain,
    load_probe,
    polar_votes,
    random_ranking,
    share_right,
)
from tests.support.short_arrays import float32, int8

LAYERS, WIDTH = 3, 8
GOLD = np.arange(48) % 3


def made_up():
    """Scores [48, 3, 3, 8] and activations [48, 3, 8] in which some neurons know the label."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(48, 3, LAYERS, WIDTH)).astype(np.float32)
    scores[np.arange(48), GOLD, 1, :4] += 2
    activations = rng.normal(size=(48, LAYERS, WIDTH)).astype(np.float32)
    activations[:, 2, :3] += 3 * (GOLD[:, None] == np.arange(3))
    return scores, activations


SCORES, ACTIVATIONS = made_up()
PROBABILITIES = SCORES[..., 1, 0] ** 2
FITS: dict[str, Callable[[], tuple[Any, np.ndarray]]] = {
    "polar": lambda: (Polar(5).fit(SCORES, GOLD), SCORES),
    "magn": lambda: (Magn(5, "positive").fit(SCORES, GOLD), SCORES),
    "random": lambda: (Random(5, seed=3).fit(SCORES, GOLD), SCORES),
    "act": lambda: (Act(5).fit(ACTIVATIONS, GOLD, 3), ACTIVATIONS),
    "tree": lambda: (Tree(trees=9).fit(SCORES, GOLD), SCORES),
    "tree of activations": lambda: (
        Tree(trees=9).fit_activations(ACTIVATIONS, GOLD, 3),
        ACTIVATIONS,
    ),
    "linear": lambda: (Linear(stages=2).fit(SCORES, GOLD), SCORES),
    "lm-prob": lambda: (LMProb().fit(PROBABILITIES, GOLD), PROBABILITIES),
    "majority": lambda: (Majority().fit(SCORES, GOLD, 3), SCORES),
}


@pytest.mark.parametrize("kind", ["act", "tree of activations", "majority"])
def test_the_number_of_labels_is_that_of_gold_where_nothing_else_is_said(kind):
    told, values = FITS[kind]()
    fits = {
        "act": Act(5).fit,
        "tree of activations": Tree(trees=9).fit_activations,
        "majority": Majority().fit,
    }
    found = fits[kind](values, GOLD)
    assert found.labels == told.labels == 3
    np.testing.assert_array_equal(found.predict(values), told.predict(values))
    with pytest.raises(ValueError, match=r"gold is float64\[2\], expected integers"):
        fits[kind](values[:2], [0.0, 1.0])


@pytest.fixture(scope="module", params=FITS)
def fitted(request):
    return FITS[request.param]()


def test_a_saved_probe_is_the_same(fitted, tmp_path):
    probe, values = fitted
    path = probe.save(tmp_path / "probe.safetensors")
    assert path == tmp_path / "probe.safetensors" and list(tmp_path.iterdir()) == [path]
    for again in (load_probe(path), type(probe).load(str(path))):
        assert type(again) is type(probe)
        for field in dataclasses.fields(probe):
            found, wanted = getattr(again, field.name), getattr(probe, field.name)
            assert type(found) is type(wanted)
            assert np.asarray(found).dtype == np.asarray(wanted).dtype
            np.testing.assert_array_equal(found, wanted)
        np.testing.assert_array_equal(again.predict(values), probe.predict(values))
    assert again.save(tmp_path / "again").read_bytes() == path.read_bytes()


def test_every_probe_has_the_same_face(fitted):
    probe, values = fitted
    assert isinstance(probe, FittedProbe) and probe.labels == 3
    assert probe.total in (0, LAYERS * WIDTH)
    assert probe.neurons.dtype == np.int64 and probe.neurons.ndim == 1
    assert probe.polarity.dtype == np.int8 and probe.polarity.shape == probe.neurons.shape
    predicted = probe.predict(values)
    assert predicted.shape == (48,) and set(predicted) <= {0, 1, 2}
    # A prompt's prediction is its own.
    np.testing.assert_array_equal(probe.predict(values[5:9]), predicted[5:9])


def test_probes_that_know_something():
    for name, least in (
        ("polar", 0.6),
        ("magn", 0.6),
        ("act", 0.5),
        ("tree", 0.9),
        ("linear", 0.9),
    ):
        probe, values = FITS[name]()
        assert share_right(probe.predict(values), GOLD) > least, name


def test_a_probe_of_another_class(tmp_path):
    path = Polar(5).fit(SCORES, GOLD).save(tmp_path / "polar")
    with pytest.raises(ValueError, match="holds a PolarProbe, not a ForestProbe; use load_probe"):
        ForestProbe.load(path)


def test_files_that_hold_no_probe(tmp_path):
    path = tmp_path / "probe"
    with pytest.raises(FileNotFoundError):
        load_probe(path)
    path.write_bytes(b"no probe")
    with pytest.raises(ValueError, match="probe: damaged, or not a saved probe"):
        load_probe(path)
    save_file({"neurons": np.zeros(2)}, path)
    with pytest.raises(ValueError, match="format None, expected 1: not a probe"):
        load_probe(path)
    header = {"format": 1, "probe": "Strange", "settings": {}}
    save_file({"neurons": np.zeros(2)}, path, {"negjax.skills": json.dumps(header)})
    with pytest.raises(ValueError, match="holds a 'Strange', expected one of PolarProbe, Magn"):
        load_probe(path)
    save_file(
        {"neurons": np.zeros(2)},
        path,
        {"negjax.skills": json.dumps(header | {"probe": "MagnProbe"})},
    )
    with pytest.raises(ValueError, match="is damaged: a MagnProbe has"):
        load_probe(path)
    whole = Polar(5).fit(SCORES, GOLD).save(path).read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(ValueError, match="probe: damaged, or not a saved probe"):
        load_probe(path)


def test_the_models_own_answer():
    probabilities = float32([[0.1, 0.3, 0.2], [0.2, 0.2, 0.1], [0.0, 0.1, 0.1]])
    probe = LMProb().fit(probabilities, [1, 0, 2])
    assert probe.predict(probabilities).tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match=r"probabilities are float32\[3, 2\], expected floats"):
        probe.predict(probabilities[:, :2])
    with pytest.raises(ValueError, match="probabilities of prompt 1 are"):
        probe.predict(float32([[0.0, 1.0, 2.0], [np.nan, 0.0, 0.0]]))
    with pytest.raises(ValueError, match="gold of prompt 2 is 3, expected 0 … 2"):
        LMProb().fit(probabilities, [0, 1, 3])


def test_the_most_frequent_label():
    probe = Majority().fit(np.zeros(5), [2, 1, 1, 2, 0], labels=4)
    assert probe.label == 1 and probe.labels == 4
    assert probe.predict(np.zeros((2, 4, 7))).tolist() == [1, 1]
    with pytest.raises(ValueError, match=r"expected integers \[0\]: one label a prompt, of one"):
        Majority().fit(np.zeros(0), np.zeros(0, int), labels=2)


def test_random_neurons():
    votes = np.asarray(polar_votes(SCORES.reshape(48, 3, -1), GOLD))
    probes = [Random(4, seed).from_votes(votes, 3) for seed in range(200)]
    drawn = np.bincount(np.concatenate([probe.neurons for probe in probes]), minlength=24)
    # 800 draws of 24 neurons: 33 each, with a deviation of 5.
    assert drawn.min() > 10 and drawn.max() < 60
    for probe in probes[:3]:
        assert len(set(probe.neurons)) == 4
        np.testing.assert_array_equal(probe.polarity, np.sign(votes[probe.neurons]))
    np.testing.assert_array_equal(
        random_ranking(votes, seed=7).neurons[:4], Random(4, seed=7).fit(SCORES, GOLD).neurons
    )


def test_where_neurons_lie():
    probe = PolarProbe(
        neurons=np.asarray([17, 0, 16, 9]), polarity=int8([1, -1, 1, 1]), labels=3, total=24
    )
    found = explain(probe, (LAYERS, WIDTH))
    assert found.neurons.tolist() == [[2, 1], [0, 0], [2, 0], [1, 1]]
    np.testing.assert_array_equal(probe.layer_index((LAYERS, WIDTH)), found.neurons)
    assert found.polarity.tolist() == [1, -1, 1, 1]
    assert found.per_layer.tolist() == [1, 1, 2]
    assert found.votes is None and found.predicted is None
    with pytest.raises(ValueError, match="model has 4 × 8 neurons, the probe is of one with 24"):
        explain(probe, (4, WIDTH))


@pytest.mark.parametrize("name", ["polar", "magn", "act", "tree", "tree of activations", "linear"])
def test_votes_on_an_item(name):
    probe, values = FITS[name]()
    found = explain(probe, (LAYERS, WIDTH), values[7])
    columns = len(probe.roots) if isinstance(probe, ForestProbe) else len(probe.neurons)
    assert found.votes is not None and found.votes.shape == (3, columns)
    np.testing.assert_array_equal(found.votes, probe.votes(values[7:8])[0])
    assert found.predicted == probe.predict(values)[7]
    if name in ("polar", "magn", "tree", "tree of activations"):
        assert found.predicted == found.votes.sum(1).argmax()


def test_every_prompt_counts_once():
    # Of label 0 one in three is right, of label 1 the only one.
    assert share_right([0, 1, 1, 1], [0, 0, 0, 1]) == 0.5
    assert share_right([[0, 1, 1, 1], [0, 0, 0, 1]], [0, 0, 0, 1]).tolist() == [0.5, 1]
    with pytest.raises(ValueError, match=r"predicted is int64\[3\] and gold int64\[4\], expected"):
        share_right([0, 1, 1], [0, 0, 0, 1])
    with pytest.raises(ValueError, match="of one prompt or more"):
        share_right([], [])


def test_intervals_are_those_of_redrawn_prompts():
    rng = np.random.default_rng(0)
    gold = np.zeros(200, int)
    predicted = (rng.random((3, 200)) < [[0.1], [0.5], [0.97]]).astype(int)
    found = bootstrap_interval(predicted, gold)
    right = predicted == gold
    np.testing.assert_array_equal(found.accuracy, right.mean(1))
    again = right[:, rng.integers(200, size=(20_000, 200))].mean(-1)
    # Quantiles of 10,000 draws, on a grid of 1/200.
    np.testing.assert_allclose(found.low, np.quantile(again, 0.025, axis=1), atol=0.0051)
    np.testing.assert_allclose(found.high, np.quantile(again, 0.975, axis=1), atol=0.0051)
    narrow = bootstrap_interval(predicted, gold, level=0.5)
    assert (found.low < narrow.low).all() and (narrow.high < found.high).all()


def test_intervals_are_reproducible_and_alone():
    gold, predicted = np.arange(50) % 2, np.arange(100).reshape(2, 50) % 3 % 2
    both, one = bootstrap_interval(predicted, gold), bootstrap_interval(predicted[1], gold)
    assert one.low.shape == () and (one.low, one.high) == (both.low[1], both.high[1])
    assert list(bootstrap_interval(gold, gold)) == [1, 1, 1]
    for settings, message in (({"level": 1.0}, "level is 1.0"), ({"draws": 0}, "draws is 0")):
        with pytest.raises(ValueError, match=message):
            bootstrap_interval(gold, gold, **settings)


def test_the_package_leads_to_the_probes_without_growing_slow():
    assert negjax.skills.Polar is Polar
    code = "import sys, negjax; assert negjax.skills.Tree and 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
