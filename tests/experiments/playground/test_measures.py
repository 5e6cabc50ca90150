"""What the page is answered with, against the library's functions; and what it may not ask."""

import base64
import contextlib
import io
from typing import Any

import numpy as np
import pytest
from numpy.polynomial import chebyshev

import negjax
from experiments.playground import measures, questions, snippets
from negjax.errors import ArgumentError
from negjax.execution.conventions import sign
from negjax.measurements.answers import plain_answers
from tests.support.sharp_models import sharp

PROMPT, ANSWER = "w3 w4 w5 w6 w7", "w9"
MOST = 16
SEVERAL = [[0, 1], [1, 3], [1, 5]]
WEIGHTS = [1.0, -0.5, 0.25]
SHIFTS = np.asarray([-1.9, -0.4, 0.0, 1.3])


def body(**more: object) -> dict[str, Any]:
    return {"prompt": PROMPT, "answer": ANSWER, "radius": 2.0, **more}


@pytest.fixture(scope="module")
def lm() -> negjax.LanguageModel:
    return sharp("gated")


@pytest.fixture(scope="module")
def probes(lm: negjax.LanguageModel) -> negjax.Probes:
    return negjax.encode(lm, [PROMPT], [ANSWER])


def test_an_answer_has_every_neuron_and_the_likeliest_tokens(lm, probes):
    found = measures.answer(lm, questions.read(body()), MOST)
    gradients = negjax.neurgrad(lm, probes)
    shape = (lm.config.layers, lm.config.neurons)
    packed = np.frombuffer(base64.b64decode(found["map"]), "<f4").reshape(shape)
    np.testing.assert_array_equal(packed, gradients.neurgrad[0, 0])
    first = found["neurons"][0]
    assert abs(first["neurgrad"]) == np.abs(packed).max()
    assert packed[tuple(first["neuron"])] == np.float32(first["neurgrad"])
    expected = plain_answers(lm, probes).probability[0, 0]
    np.testing.assert_allclose(found["answer"]["probability"], expected, rtol=1e-5)
    each = [row["probability"] for row in found["likeliest"]]
    assert each == sorted(each, reverse=True) and len(each) == measures.TOKENS
    assert not found["answer"]["cut"]


def test_without_an_answer_the_likeliest_token_is_it(lm):
    found = measures.answer(lm, questions.read(body(answer=" ")), MOST)
    assert found["answer"]["id"] == found["likeliest"][0]["id"]
    assert found["answer"]["rank"] == 1 and not found["answer"]["cut"]
    several = measures.answer(lm, questions.read(body(answer="w9 w8")), MOST)
    assert several["answer"]["text"] == "w9" and several["answer"]["cut"]


def test_curves_of_one_neuron_are_its_response(lm, probes):
    found = measures.ray_curves(lm, questions.read(body(neurons=[[1, 3]])), MOST)
    tokens = [row["id"] for row in found["tokens"]]
    assert tokens[0] == probes.target_ids[0, 0, 0]
    expected = negjax.response(lm, probes, [[1, 3]], 2.0, 12, tokens=tokens)
    values = chebyshev.chebval(SHIFTS / 2, np.asarray(found["coefficients"]).T)
    np.testing.assert_allclose(values, expected(SHIFTS)[0, 0], atol=1e-12)
    np.testing.assert_allclose(found["slopes"], expected.derivative([0.0])[0, 0, :, 0], atol=2e-4)
    neurgrad = negjax.neurgrad(lm, probes).neurgrad[0, 0, 1, 3]
    np.testing.assert_allclose(found["slopes"][0], neurgrad, rtol=1e-4)


def test_curves_of_several_neurons_are_exact_joint_shifts(lm, probes):
    found = measures.ray_curves(lm, questions.read(body(neurons=SEVERAL, weights=WEIGHTS)), MOST)
    values = chebyshev.chebval(SHIFTS / 2, np.asarray(found["coefficients"]).T)
    sets = negjax.neuron_sets(lm.config, [(SEVERAL, x * np.asarray(WEIGHTS)) for x in SHIFTS])
    exact = negjax.joint(lm, probes, sets, spread=True)
    assert exact.top_token is not None
    np.testing.assert_allclose(values[0], exact.value[0], atol=max(found["error"]) + 1e-5)
    assert np.ptp(exact.value) > 1e-3
    tokens = [row["id"] for row in found["tokens"]]
    assert set(exact.top_token[0].tolist()) <= set(tokens)
    gradients = negjax.neurgrad(lm, probes)
    layer, index = np.asarray(SEVERAL).T
    along = (gradients.neurgrad[0, 0, layer, index] * WEIGHTS).sum()
    np.testing.assert_allclose(found["slopes"][0], along, rtol=1e-4)


def test_what_steering_finds_gives_the_probability(lm, probes):
    found = measures.steered(lm, questions.read(body(neurons=SEVERAL, probability=0.5)), MOST)
    sets = negjax.neuron_sets(lm.config, [(SEVERAL, found["shifts"])])
    reached = negjax.joint(lm, probes, sets).value[0, 0]
    np.testing.assert_allclose(reached, found["probability"], atol=1e-4)
    assert found["reached"] == (abs(found["probability"] - 0.5) < 1e-3)
    np.testing.assert_allclose(np.linalg.norm(found["shifts"]), found["norm"], rtol=1e-5)
    assert (sign(np.asarray(found["shifts"])) != 0).all()


def test_neg_of_neurons(lm, probes):
    found = measures.exact_slopes(lm, questions.read(body(neurons=SEVERAL)), MOST)
    np.testing.assert_array_equal(found["neg"], negjax.neg(lm, probes, SEVERAL).slope[0])


def test_what_is_written_with_a_shift_and_without(lm):
    request = questions.read(body(neurons=SEVERAL, weights=WEIGHTS, shift=2.0, max_tokens=4))
    found = measures.written(lm, request, MOST)
    sets = negjax.neuron_sets(lm.config, [(SEVERAL, 2 * np.asarray(WEIGHTS))])
    moved = negjax.generate(lm, [PROMPT], negjax.Intervention(sets), when="generated", max_tokens=4)
    assert found["moved"] == {"text": moved.texts[0], "stop": moved.stops[0]}
    plain = negjax.generate(lm, [PROMPT], max_tokens=4)
    assert found["plain"]["text"] == plain.texts[0]


@pytest.mark.parametrize(("neurons", "weights"), [([[1, 3]], [1.0]), (SEVERAL, WEIGHTS), ([], [])])
@pytest.mark.parametrize("answer", [ANSWER, ""])
def test_the_python_prints_what_the_page_shows(lm, monkeypatch, neurons, weights, answer):
    request = questions.read(body(answer=answer, neurons=neurons, weights=weights, shift=1.3))
    tokens = []
    if neurons:
        curves = measures.ray_curves(lm, request, MOST)
        tokens = [row["id"] for row in curves["tokens"]]
    monkeypatch.setattr(negjax, "load", lambda name: lm if name == lm.name else None)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(snippets.snippet(lm, request, tokens), {})
    if not neurons:
        assert len(printed.getvalue()) > 100
        return
    found = [line.rsplit(" ", 3)[1:] for line in printed.getvalue().splitlines()]
    series = chebyshev.chebval(1.3 / 2, np.asarray(curves["coefficients"]).T)
    before, after = (np.asarray([float(row[place]) for row in found]) for place in (0, 2))
    np.testing.assert_allclose(before, curves["baseline"], atol=1e-6)
    np.testing.assert_allclose(after, series, atol=max(curves["error"]) + 1e-5)


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"prompt": ""}, "prompt", "is empty"),
        ({"prompt": None}, "prompt", "expected text, or a list of messages"),
        ({"prompt": "w" * 20_001}, "prompt", "at most 20,000; shorten it"),
        ({"prompt": [{"role": "user"}]}, "prompt", "message 0"),
        ({"prompt": [{"role": "sys", "content": "x"}]}, "prompt", "one of system, user"),
        ({"prompt": [{"role": "user", "content": " "}]}, "prompt", "(user) is empty"),
        ({"prompt": []}, "prompt", "has 0 messages"),
        ({"answer": 3}, "answer", "expected text"),
        ({"neurons": [[0, 1]] * 2}, "neurons", "more than once"),
        ({"neurons": [[0, -1]]}, "neurons", "expected at most 32"),
        ({"neurons": [[0, n] for n in range(33)]}, "neurons", "expected at most 32"),
        ({"neurons": [[0, 1.5]]}, "neurons", "expected at most 32"),
        ({"neurons": [[0, 1]], "weights": [2.0]}, "weights", "from -1 to 1"),
        ({"neurons": [[0, 1]], "weights": []}, "weights", "expected 1 numbers"),
        ({"radius": 0}, "radius", "above 0"),
        ({"radius": float("nan")}, "radius", "finite"),
        ({"radius": 1.0, "shift": 1.5}, "shift", "at most 1"),
        ({"probability": 1}, "probability", "between 0 and 1"),
        ({"max_tokens": 1000}, "max_tokens", "128 at most"),
        ({"colour": 1}, "colour", "no field"),
    ],
)
def test_fields_are_refused_by_name(given, field, words):
    with pytest.raises(ArgumentError) as found:
        questions.read(body(**given))
    assert found.value.arguments[0] == field and words in str(found.value)


@pytest.mark.parametrize(
    ("measure", "given", "field", "words"),
    [
        ("answer", {"prompt": " ".join(["w3"] * 17)}, "prompt", "17 tokens, expected at most 16"),
        ("answer", {"prompt": [{"role": "user", "content": "w3"}]}, "prompt", "template"),
        ("curves", {}, "neurons", "choose one or more"),
        ("curves", {"neurons": [[9, 0]]}, "neurons", "does not exist"),
        ("write", {"neurons": [[0, 0]], "max_tokens": 30}, "max_tokens", "context holds"),
    ],
)
def test_what_cannot_be_asked_of_the_model_is_refused_by_field(lm, measure, given, field, words):
    with pytest.raises(ArgumentError) as found:
        measures.MEASURES[measure](lm, questions.read(body(**given)), MOST)
    assert found.value.arguments[0] == field and words in str(found.value)


def test_a_masked_model_writes_nothing():
    request = questions.read(body(prompt="w3 [MASK] w5", neurons=[[0, 0]]))
    with pytest.raises(ArgumentError, match="masked LM"):
        measures.written(sharp("bert"), request, MOST)
