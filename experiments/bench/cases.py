"""What `experiments.bench` measures: cases as data, and the arrays they are about."""

import dataclasses
from typing import Literal

import numpy as np

import negjax
from negjax.model.language_model import LanguageModel

Kind = Literal["sweep", "response", "neg", "neurgrad", "features", "ig", "lpi", "joint", "generate"]
Tool = Literal["serial", "best", "negjax"]

SEED = 0
BASELINES = ("serial", "best")
"""The tools that run PyTorch."""
# P(label) of four answers: what a multiple-choice prompt asks for.
LABELS = ("a", "b", "c", "d")


@dataclasses.dataclass(frozen=True)
class Goal:
    """A figure to reach."""

    what: str
    value: float
    at_most: bool = False
    """It must not be exceeded; else it is the least that is wanted."""


def judged(goal: Goal | None, value: float, text: str) -> str:
    """A figure as it is printed, with its goal if it has one; bold where it misses that."""
    if goal is None:
        return text
    beside = f"{text} ({'at most ' if goal.at_most else ''}{goal.value:g})"
    # What is no number has reached nothing.
    reached = value <= goal.value if goal.at_most else value >= goal.value
    return beside if reached else f"**{beside}**"


@dataclasses.dataclass(frozen=True)
class Case:
    """One kind of work at one size."""

    name: str
    what: str
    """A line of the table."""
    kind: Kind
    tokens: int
    """T, about."""
    head: int = 0
    """First tokens, about, that all prompts have in common."""
    prompts: int = 1
    targets: int = 1
    neurons: int = 0
    shifts: tuple[float, float] = (0.0, 0.0)
    """Range and step of a sweep's grid."""
    sets: int = 0
    """Sets of `neurons` neurons, those of a set shifted together."""
    nodes: int = 0
    written: int = 0
    """Tokens that are written after each prompt, `neurons` shifted by the step of the grid."""
    serial_part: int = 1
    """Neurons and shifts, or prompts, that `serial` measures; its time is proportional to them."""
    tools: tuple[Tool, ...] = ("serial", "best", "negjax")
    wanted: tuple[Goal, ...] = ()

    def goal(self, what: str) -> Goal | None:
        """The goal of that name, if the case has it."""
        return next((goal for goal in self.wanted if goal.what == what), None)


COMPILING: dict[str, Goal] = {
    kind: Goal("seconds of compiling", 10.0, at_most=True) for kind in ("sweep", "neurgrad")
}
"""What a first call may take beyond a later one, by kind."""


def _sweep(tokens: int, times_serial: float) -> Case:
    return Case(
        f"sweep_{tokens}",
        f"a neuron and shift, T ≈ {tokens}",
        "sweep",
        tokens=tokens,
        neurons=128,
        shifts=(10.0, 0.2),
        serial_part=2,
        wanted=(
            Goal("× serial", times_serial),
            Goal("of the product rate", 0.70),
            Goal("× best", 0.90),
        ),
    )


CASES = (
    _sweep(32, 250.0),
    _sweep(440, 1200.0),
    Case(
        "response_32",
        "a neuron and shift of the paper's 100, through response, T ≈ 32",
        "response",
        tokens=32,
        neurons=1000,
        shifts=(10.0, 0.2),
        nodes=8,
        serial_part=2,
        tools=("serial", "negjax"),
        wanted=(
            Goal("× serial", 2000.0),
            Goal("NEG: median", 1e-3, at_most=True),
            Goal("NEG: 95%", 1e-2, at_most=True),
        ),
    ),
    Case(
        "neg_32",
        "NEG of a neuron within ±10 by quadrature, T ≈ 32",
        "neg",
        tokens=32,
        neurons=3000,
        # Within ±2 float32's rounding alone is 7e-4 of a NEG, whatever the rule.
        shifts=(10.0, 0.2),
        tools=("negjax",),
        wanted=(
            Goal("× the speed of a line through 4 nodes", 1.8),
            Goal("NEG: median", 1e-3, at_most=True),
            Goal("NEG: 95%", 1e-2, at_most=True),
        ),
    ),
    Case(
        "neurgrad_35_1",
        "NeurGrad of a prompt, 1 target, T ≈ 35, batch 8",
        "neurgrad",
        tokens=35,
        prompts=8,
        wanted=(Goal("× serial", 2.2),),
    ),
    Case(
        "neurgrad_35_4",
        "NeurGrad of a prompt, 4 targets, T ≈ 35, batch 8",
        "neurgrad",
        tokens=35,
        prompts=8,
        targets=4,
        wanted=(Goal("× serial", 4.0),),
    ),
    Case(
        "neurgrad_440_4",
        "NeurGrad of a prompt, 4 targets, T ≈ 440, batch 8",
        "neurgrad",
        tokens=440,
        prompts=8,
        targets=4,
        wanted=(Goal("× serial", 6.5), Goal("memory × serial", 5.0)),
    ),
    Case(
        "features_440_4",
        "features of a prompt for probes, 4 labels, T ≈ 440, of which all share 350",
        "features",
        tokens=440,
        head=350,
        prompts=64,
        targets=4,
        serial_part=8,
        tools=("serial", "negjax"),
        wanted=(Goal("× serial", 25.0),),
    ),
    Case(
        "ig_35",
        "integrated gradients of a prompt, 20 steps, T ≈ 35, batch 8",
        "ig",
        tokens=35,
        prompts=8,
        tools=("negjax",),
        wanted=(Goal("× NeurGrad in the same process", 40.0, at_most=True),),
    ),
    Case(
        "lpi_35",
        "log-probability increase of all neurons of a prompt, T ≈ 35",
        "lpi",
        tokens=35,
        tools=("negjax",),
        wanted=(Goal("of the product rate", 0.60),),
    ),
    Case(
        "joint_32",
        "a set of 4,096 neurons shifted together, T ≈ 32",
        "joint",
        tokens=32,
        neurons=4096,
        shifts=(0.5, 0.5),
        sets=1000,
        tools=("negjax",),
        wanted=(Goal("seconds for all sets", 10.0, at_most=True),),
    ),
    Case(
        "generate_35",
        "a token written while 100 neurons are shifted, T ≈ 35, batch 8",
        "generate",
        tokens=35,
        prompts=8,
        neurons=100,
        shifts=(0.5, 0.5),
        written=24,
        tools=("serial", "negjax"),
        wanted=(Goal("× serial", 1.5),),
    ),
)


def case_arrays(lm: LanguageModel, case: Case) -> dict[str, np.ndarray]:
    """Arrays of a case: prompts made of shipped facts, random neurons, the grid of shifts.

    Returns:
        tokens [B, T], mask [B, T], targets [B, K], neurons [N, 2] or, of R sets, [R, N, 2],
        shifts [X].
    """
    facts = negjax.read_facts()
    order = np.random.default_rng(SEED).permutation(len(facts.prompts))
    texts, answers = [], []

    def lengthened(text: str, first: int, tokens: int) -> tuple[str, str, str]:
        # Facts in sequence until the text is long enough: few-shot prompts of real length.
        for fact in np.resize(order[first:], len(order)):
            prompt, answer = facts.prompts[fact], facts.answers[fact]
            if len(lm.tokenizer(text + prompt)["input_ids"]) >= tokens:
                break
            text += f"{prompt} {answer}.\n"
        return text, prompt, answer

    head = lengthened("", 0, case.head)[0] if case.head else ""
    for number in range(case.prompts):
        first = number * len(order) // case.prompts
        text, prompt, answer = lengthened(head, first, case.tokens)
        texts.append(text + prompt)
        answers.append([answer, *LABELS][: case.targets])
    probes = negjax.encode(lm, texts, answers)
    neurons = negjax.random_neurons(lm.config, max(case.neurons, 1), max(case.sets, 1), SEED)
    arrays = {
        "tokens": probes.tokens,
        "mask": probes.mask,
        "targets": probes.target_ids[..., 0],
        "neurons": neurons if case.sets else neurons[0],
        "shifts": negjax.paper_grid(*case.shifts) if case.neurons else np.ones(1),
    }
    return {name: np.ascontiguousarray(values) for name, values in arrays.items()}


def arithmetic(lm: LanguageModel, case: Case, arrays: dict[str, np.ndarray]) -> float:
    """Floating-point operations that a sweep cannot avoid: 2 a weight and row, above its layer.

    Attention's products over the prompt's T tokens count as well. LPI has a row for every neuron,
    and no layers above it; a set is a row that runs through the lowest of its layers, too. Features
    take every token once, a common head's once for all, and the read position K + 1 times more.
    """
    c = lm.config
    if case.kind == "lpi":
        return 2.0 * c.layers * c.neurons * c.width * c.vocab_size
    attention = 2 * c.width * c.head_width * (c.heads + c.kv_heads)
    a_layer = attention + (3 if c.gated else 2) * c.width * c.neurons
    if case.kind == "features":
        length, prompts = arrays["mask"].sum(1), len(arrays["mask"])
        own = length - _common(arrays["tokens"], length)
        tokens = own.sum() + (length - own)[0] + prompts * (1 + case.targets)
        pairs = (own * (length - own / 2)).sum()
        seen = 4 * c.layers * c.heads * c.head_width * pairs
        return float(2 * c.layers * a_layer * tokens + seen + 4 * prompts * c.width * c.vocab_size)
    scores = 2 * c.heads * c.head_width * arrays["mask"].sum()
    if case.kind == "joint":
        layers = c.layers - arrays["neurons"][..., 0].min(1)
        return float(2 * (layers * (a_layer + scores) + c.width * c.vocab_size).sum())
    above = c.layers - 1 - arrays["neurons"][:, 0]
    rows = case.nodes or len(arrays["shifts"])
    return float(2 * rows * (above * (a_layer + scores) + c.width * c.vocab_size).sum())


def _common(tokens: np.ndarray, length: np.ndarray) -> int:
    """How many first tokens [B, T] all rows have in common, their last ones aside."""
    same = (tokens == tokens[0]).all(0)
    return min(int(np.argmin(same)) if not same.all() else len(same), int(length.min()) - 1)
