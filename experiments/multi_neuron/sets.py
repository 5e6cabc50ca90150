"""Which neurons the study of many neurons shifts together, and by how much: functions of arrays.

Of every prompt and every way of choosing there is a pool of neurons whose NEG is measured. A set of
a pool is some of its neurons with a shift each.
"""

import dataclasses

import numpy as np

CHOICES = {
    "random": "drawn from all neurons",
    "even": "drawn, as many from every layer",
    "layer": "drawn from one layer",
    "top": "of largest |NeurGrad|",
}
"""How neurons are chosen, and what that means."""

SIGNS = {
    "same": "all shifts of a set have one sign",
    "random": "each neuron's shift has a sign of its own, drawn",
}
"""Which signs the shifts of a set have."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Design:
    """R sets of a pool: one entry a set in each array, the same for every prompt."""

    size: np.ndarray
    """[R], neurons shifted together."""
    draw: np.ndarray
    """[R], which of the pool's neurons."""
    random_signs: np.ndarray
    """[R], True where each neuron's shift has a sign of its own."""
    shift: np.ndarray
    """[R], every neuron's, but for those signs."""

    def __len__(self) -> int:
        return len(self.size)


def design(
    choice: str, largest: int, draws: int, signs: list[str], magnitudes: np.ndarray
) -> Design:
    """All combinations of sizes, draws, kinds of signs, magnitudes and directions.

    But none twice: a draw of neurons that an earlier one has had comes with random signs alone.
    """
    shifts = np.concatenate([-magnitudes[::-1], magnitudes])
    kinds = [name == "random" for name in signs]
    grid = np.meshgrid(sizes_up_to(largest), np.arange(draws), kinds, shifts, indexing="ij")
    size, draw, random, shift = (values.reshape(-1) for values in grid)
    repeated = {"top": draw > 0, "layer": np.zeros(size.shape, bool)}
    fresh = random | ~repeated.get(choice, draw * size >= largest)
    return Design(
        size=size[fresh], draw=draw[fresh], random_signs=random[fresh], shift=shift[fresh]
    )


def sizes_up_to(largest: int) -> np.ndarray:
    """1, 2, 4, … up to `largest`."""
    return 2 ** np.arange(largest.bit_length())


def pool(
    choice: str, neurgrad: np.ndarray, largest: int, draws: int, generator: np.random.Generator
) -> np.ndarray:
    """Neurons [N, 2], (layer, index), that sets of up to `largest` are taken of.

    Args:
        choice: one of `CHOICES`; `layer` chooses a layer for each draw.
        neurgrad: [L, F].
        largest: at most the neurons of the model, for `layer` those of a layer.
    """
    layers, neurons = neurgrad.shape
    if choice == "random":
        flat = generator.permutation(neurgrad.size)[:largest]
    elif choice == "top":
        flat = np.argsort(-np.abs(neurgrad).reshape(-1), kind="stable")[:largest]
    elif choice == "even":
        # Round and round through the layers, a neuron of each: any run of them is even.
        index = np.stack([generator.permutation(neurons) for _ in range(layers)])
        order = generator.permutation(layers)
        flat = (order[:, None] * neurons + index[order]).T.reshape(-1)[:largest]
    else:
        chosen = generator.choice(layers, draws, replace=draws > layers)
        flat = np.concatenate(
            [layer * neurons + generator.permutation(neurons)[:largest] for layer in chosen]
        )
    return np.stack(np.divmod(flat, neurons), axis=-1).astype(np.int32)


def shifts_of(
    choice: str, sets: Design, largest: int, generator: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each set, numbers [n] of its neurons within the pool, and their shifts [n].

    Sets of one size and draw share their random signs.
    """
    parts, signs = [], {}
    for size, draw, random, shift in zip(
        sets.size.tolist(), sets.draw.tolist(), sets.random_signs, sets.shift, strict=True
    ):
        if random and (size, draw) not in signs:
            signs[size, draw] = generator.choice([-1.0, 1.0], size)
        directions = signs[size, draw] if random else np.ones(size)
        parts.append((_members(choice, largest, size, draw), shift * directions))
    return parts


def _members(choice: str, largest: int, size: int, draw: int) -> np.ndarray:
    if choice == "top":
        return np.arange(size)
    if choice == "layer":
        return draw * largest + np.arange(size)
    # One draw after the other; where the pool ends, from its start.
    return (draw * size + np.arange(size)) % largest
