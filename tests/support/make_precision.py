"""Measures the rungs of precision: `python -m tests.support.make_precision`.

A processor computes each rung as accelerators do (`tests.support.emulated_products`), and every
answer is compared with float64's. Writes the tables of docs/precision.md; half an hour on two busy
cores.
"""

import dataclasses
import time

import jax
import numpy as np
from absl import app, flags
from tqdm import tqdm

import negjax
from experiments.running import pages
from negjax.model.language_model import LanguageModel
from negjax.process.precisions import RUNGS
from tests.support import emulated_products
from tests.support.places import ROOT
from tests.support.precision_figures import TOP, Figures, Questions, answers, compared, in_float64

PAGE = ROOT / "docs" / "precision.md"

_MODELS = flags.DEFINE_list("models", ["smollm2-135m-instruct", "facts-bert"], "What is measured.")
_PROMPTS = flags.DEFINE_integer("prompts", 4, "Of NeurGrad, ΔP and NEG.", lower_bound=1)
_NEURONS = flags.DEFINE_integer("neurons", 100, "A prompt, whose NEG is measured.", lower_bound=2)
_ITEMS = flags.DEFINE_integer("items", 64, "Of the skill probe's task.", lower_bound=4)

HEADS = (
    *("precision", "NeurGrad: error", "1 − cosine", f"top {TOP} shared", "ΔP: error", "× float32"),
    *("NEG: error", "error of r", "probe: accuracy", "same answers"),
)


def asked(lm: LanguageModel, name: str) -> Questions:
    """Facts that come with negjax, the same each time."""
    path = name if name == "facts-bert" else None
    facts = negjax.read_facts(path, limit=max(_PROMPTS.value, _ITEMS.value), seed=0)
    generator = np.random.default_rng(0)

    def first(answer: str) -> int:
        probes = negjax.encode(lm, facts.prompts[:1], [answer], target_mode="first")
        return int(probes.target_ids[0, 0, 0])

    def another(answer: str) -> str:
        # Of another fact, and another token.
        return next(
            facts.answers[i]
            for i in generator.permutation(len(facts.answers))
            if first(facts.answers[i]) != first(answer)
        )

    gold = np.arange(_ITEMS.value) % 2
    pairs = [(answer, another(answer)) for answer in facts.answers[: _ITEMS.value]]
    pairs = [pair[::-1] if number else pair for pair, number in zip(pairs, gold, strict=True)]
    few = slice(_PROMPTS.value)
    return Questions(
        probes=negjax.encode(lm, facts.prompts[few], facts.answers[few], target_mode="first"),
        task=negjax.encode(lm, facts.prompts[: _ITEMS.value], pairs, target_mode="first"),
        gold=gold,
        neurons=negjax.random_neurons(lm.config, _NEURONS.value, _PROMPTS.value, 0),
        radius=2.0,
        step=0.2,
    )


def row(rung: str, f: Figures, float32: Figures) -> str:
    """A line of the table."""
    cells = [rung, f"{f.neurgrad:.1e}", f"{f.angle:.0e}", f"{f.overlap:.1%}", f"{f.change:.1e}"]
    cells += [f"{f.change / float32.change:.3g}", f"{f.slope:.1e}", f"{f.pearson:.0e}"]
    return f"| {' | '.join([*cells, f'{f.accuracy:.1%}', f'{f.same:.1%}'])} |"


def table(name: str) -> list[str]:
    """Lines of a model."""
    lm = negjax.load(name, precision="float32")
    questions = asked(lm, name)
    with jax.enable_x64(True):
        exact = answers(in_float64(lm), questions)
    found = {}
    for rung, algorithm in tqdm(RUNGS.items(), name):
        model = dataclasses.replace(lm, precision=algorithm)
        found[rung] = compared(answers(model, questions), exact)
    rows = [row(rung, figures, found["float32"]) for rung, figures in found.items()]
    kind = f"r of float64 {exact.pearson.min():.3f} to {exact.pearson.max():.3f}"
    items = f"the probe's accuracy in float64 {exact.right.mean():.1%} of {exact.right.size}"
    sizes = f"{_PROMPTS.value} prompts, {_NEURONS.value} neurons each, NEG within ±2 by 0.2"
    head = [f"| {' | '.join(HEADS)} |", "|---" * len(HEADS) + "|"]
    return [f"{name}: {sizes}; {kind}; {items}.", "", *head, *rows]


def main(_: list[str]) -> None:
    """Measures, and writes the page's parts."""
    negjax.configure_process()
    emulated_products.teach()
    for name in _MODELS.value:
        start = time.perf_counter()
        lines = table(name)
        seconds = time.perf_counter() - start
        day = time.strftime("%Y-%m-%d")
        lines += ["", f"Measured {day} with JAX {jax.__version__}, in {seconds:.0f} s."]
        print("\n".join(lines), flush=True)
        pages.write_part(PAGE, f"precision {name}".replace("-", " "), "\n".join(lines))


if __name__ == "__main__":
    app.run(main)
