"""Makes docs/neg_by_quadrature.md's table: `python -m tests.support.make_quadrature`.

NEG by few shifts, and by the line through few shifts, against NEG by the whole grid, of random
neurons of both models that come with negjax.
"""

import re

import numpy as np

import negjax
from tests.support.places import ROOT

PAGE = ROOT / "docs" / "neg_by_quadrature.md"
STEP, PROMPTS, NEURONS = 0.2, 4, 60
MARKS = "<!-- quadrature: start -->\n", "<!-- quadrature: stop -->\n"
HEAD = """| model | range | rule | replays | relative error: median | 95% | rounding / median NEG |
|---|---|---|---|---|---|---|
"""


def asked(lm: negjax.LanguageModel, name: str) -> negjax.Probes:
    """Facts, the same each time."""
    facts = negjax.read_facts("facts-bert" if name == "facts-bert" else None, limit=PROMPTS, seed=0)
    return negjax.encode(lm, facts.prompts, facts.answers)


def rows(name: str) -> list[list[str]]:
    """Cells of a model."""
    lm = negjax.load(name)
    probes = asked(lm, name)
    neurons = negjax.random_neurons(lm.config, NEURONS, len(probes), 0)
    found = []
    for radius in (2.0, 10.0):
        grid = negjax.paper_grid(radius, STEP)
        exact = negjax.linear_fit(negjax.sweep(lm, probes, neurons, grid)).slope

        def row(
            rule: str,
            slope: np.ndarray,
            replays: int,
            noise: np.ndarray,
            exact: np.ndarray = exact,
            radius: float = radius,
        ) -> list[str]:
            wrong = np.abs(slope - exact) / np.abs(exact)
            share = np.median(noise) / np.median(np.abs(exact))
            cells = (f"{x:.1e}" for x in (np.median(wrong), np.quantile(wrong, 0.95), share))
            return [name, f"±{radius:g}", rule, str(replays), *cells]

        four = radius * np.asarray([-1, -0.5, 0.5, 1])
        line = negjax.linear_fit(negjax.sweep(lm, probes, neurons, four)).slope
        rules = [negjax.neg(lm, probes, neurons, radius, STEP, pairs=n) for n in (1, 2, 3)]
        noise = rules[0].noise / np.linalg.norm(four)
        found.append(row("line through four shifts", line, 4, noise))
        for fit in rules:
            n = len(fit.shifts)
            words = f"{n // 2} pair{'s' if n > 2 else ''} and the derivative"
            found.append(row(words, fit.slope, n, fit.slope_noise))
    return found


if __name__ == "__main__":
    lines = [
        f"| {' | '.join(cells)} |\n"
        for model in ("smollm2-135m-instruct", "facts-bert")
        for cells in rows(model)
    ]
    table = MARKS[0] + HEAD + "".join(lines) + MARKS[1]
    text = re.sub(
        f"{MARKS[0]}.*{MARKS[1]}", lambda _: table, PAGE.read_text("utf-8"), flags=re.DOTALL
    )
    PAGE.write_text(text, encoding="utf-8")
    print("".join(lines))
