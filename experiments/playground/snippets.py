"""Python that measures again, by negjax' public functions, what the page shows."""

from experiments.playground.questions import Asked
from experiments.playground.rays import NODES
from negjax.model.language_model import LanguageModel


def snippet(lm: LanguageModel, asked: Asked, tokens: list[int]) -> str:
    """A program that prints the tokens' probabilities at the shift, with and without it.

    Args:
        tokens: ids of those that the page follows, the answer's first; without any, the program
            ends with the gradients.
    """
    options = [f"dtype={lm.dtype.name!r}"] if lm.dtype.name != "float32" else []
    options += [f"precision={lm.precision!r}"] if lm.precision != "highest" else []
    target = f"[{asked.answer!r}]" if asked.answer.strip() else None
    lines = [
        "import negjax",
        "",
        f"lm = negjax.load({', '.join([repr(lm.name), *options])})",
        f"prompt = {asked.prompt!r}",
    ]
    if target is None:
        lines += [
            "alone = negjax.encode(lm, [prompt], [[0]])",
            "likeliest = int(negjax.logits(lm, alone)[0].argmax())",
            "probes = negjax.encode(lm, [prompt], [[likeliest]])",
        ]
    else:
        lines.append(f'probes = negjax.encode(lm, [prompt], {target}, target_mode="first")')
    lines += [
        "gradients = negjax.neurgrad(lm, probes)  # NeurGrad of every neuron",
        "table = negjax.top_neurons(gradients, 20, lm, probes, with_neg=True)",
    ]
    if not len(asked.neurons) or not tokens:
        return "\n".join([*lines, "print(table.neurons[0], table.neurgrad[0], table.slope[0])", ""])
    lines += [
        f"neurons = {asked.neurons.tolist()}  # (layer, index)",
        f"tokens = {tokens}",
        f"shift = {asked.shift!r}",
    ]
    if len(asked.neurons) == 1 and asked.weights[0] == 1:
        lines += [
            "curve = negjax.response(",
            f"    lm, probes, neurons, {asked.radius!r}, {NODES}, tokens=tokens",
            ")",
            "before, after = curve.baseline[0], curve([shift])[0, 0, :, 0]",
        ]
    else:
        lines += [
            f"weights = {asked.weights.tolist()}  # a shift x moves a neuron by x · weight",
            "values = [shift * weight for weight in weights]",
            "sets = negjax.neuron_sets(lm.config, [(neurons, values)])",
            "each = negjax.encode(lm, [prompt], [[[token] for token in tokens]])",
            "moved = [negjax.joint(lm, each, sets, target=k) for k in range(len(tokens))]",
            "before = [float(own.baseline_value[0, 0]) for own in moved]",
            "after = [float(own.value[0, 0]) for own in moved]",
        ]
    lines += [
        "for token, old, new in zip(tokens, before, after):",
        '    print(repr(lm.tokenizer.decode([token])), f"{old:.6f} -> {new:.6f}")',
        "",
    ]
    return "\n".join(lines)
