"""One tool on one case in a process of its own, for `experiments.bench`: time and memory."""

import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import app, flags
from safetensors.numpy import load_file, save_file

from experiments.bench.cases import CASES, Case
from negjax.process import memory

FLAGS = flags.FLAGS

_FOLDER = flags.DEFINE_string("folder", "", "Where bench put the model and the case's arrays.")
_TOOL = flags.DEFINE_enum("tool", None, ["serial", "best", "negjax"], "What is measured.")
_CASE = flags.DEFINE_enum("case", None, [case.name for case in CASES], "The work.")
_CACHE = flags.DEFINE_string("cache", "", "Folder of JAX's compilation cache; empty: none.")
_DEVICE = flags.DEFINE_string("device", "cpu", "PyTorch's device; JAX finds its own.")

Measure = Callable[[], dict[str, np.ndarray]]

FEW_NODES = 4
"""Through which a line tells a slope without quadrature."""


class Tool(NamedTuple):
    """A case's work, ready to run."""

    work: Measure
    rate: Callable[[], float]
    """Floating-point operations a second of a plain matrix product."""
    peak: Callable[[], int]
    """Bytes of the largest memory that the work took: an accelerator's own, if it runs there."""
    share: float = 1.0
    """Part of the case that `work` does; its time stands for all of it."""
    beside: Measure | None = None
    """Work whose time this one's is judged by."""


def main(arguments: list[str]) -> None:
    """Measures once for each line on stdin, and answers each with one JSON object on stdout.

    The first object, when the case is set up and has run once, holds that run's seconds, and how
    long they really took where only a part of the case is run; the last, at the end of stdin, when
    the answers lie beside the case's arrays, the peak memory.
    """
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]!r}")
    folder = Path(_FOLDER.value)
    case = next(case for case in CASES if case.name == _CASE.value)
    arrays = load_file(folder / f"{case.name}.safetensors")
    make = {"serial": _serial, "best": _best, "negjax": _negjax}[str(_TOOL.value)]
    work, rate, peak, share, beside = make(folder, case, arrays)
    # What loading took is no part of the work, nor what it left behind, in cycles too.
    gc.collect()
    memory.give_back()
    memory.forget_peak()

    def timed(work: Measure) -> tuple[dict[str, np.ndarray], float]:
        start = time.perf_counter()
        found = work()
        return found, time.perf_counter() - start

    found, taken = timed(work)
    _answer({"first": taken / share, "taken": taken})
    if beside is not None:
        beside()
    for _ in sys.stdin:
        found, taken = timed(work)
        values = {"seconds": taken / share, "taken": taken, "rate": rate()}
        if beside is not None:
            values["beside"] = timed(beside)[1]
        _answer(values)
    answer = {name: np.ascontiguousarray(values) for name, values in found.items()}
    save_file(answer, folder / f"{case.name}_{_TOOL.value}.safetensors")
    _answer({"peak_bytes": peak()})


def _answer(values: dict[str, float]) -> None:
    print(json.dumps(values), flush=True)


def _negjax(folder: Path, case: Case, arrays: dict[str, np.ndarray]) -> Tool:
    import jax

    if _CACHE.value:
        jax.config.update("jax_compilation_cache_dir", _CACHE.value)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    import negjax
    from experiments.bench.probes import blank_probes
    from negjax import skills
    from negjax.skills.features.feature_streams import FeatureStream, scores_of

    negjax.configure_process()
    lm = negjax.load(folder / "model", precision="float32")
    probes = blank_probes(arrays["tokens"], arrays["mask"], arrays["targets"])
    neurons, shifts = arrays["neurons"], arrays["shifts"]

    sets = None
    if case.kind == "joint":
        values = np.resize(shifts, case.neurons)
        sets = negjax.neuron_sets(lm.config, [(some, values) for some in neurons])

    def gradients() -> dict[str, np.ndarray]:
        found = negjax.neurgrad(lm, probes)
        return {"computed": found.computed, "probability": found.probability}

    def features() -> dict[str, np.ndarray]:
        b, k = arrays["targets"].shape
        gold = np.arange(b) % k
        neurons = lm.config.layers * lm.config.neurons
        probability = np.empty((b, k), np.float32)
        computed = np.empty((b, k, neurons), np.float32)
        codes = np.empty((b, neurons), np.uint16)
        votes = np.zeros((2, neurons), np.int32)
        for batch in FeatureStream(lm, probes).batches():
            scores, n = scores_of("neurgrad", batch), len(batch.members)
            counted = np.arange(len(scores)) < n
            answers = np.resize(gold[batch.members], len(scores))
            for number, rule in enumerate((skills.POLAR, skills.MAGN)):
                votes[number] += np.asarray(rule.votes(scores, answers, counted))
            probability[batch.members] = np.asarray(batch.probability)[:n]
            computed[batch.members] = np.asarray(batch.computed)[:n]
            codes[batch.members] = np.asarray(skills.encode_scores(scores))[:n]
        shaped = computed.reshape(b, k, lm.config.layers, -1)
        return {"probability": probability, "computed": shaped, "codes": codes, "votes": votes}

    def texts() -> dict[str, np.ndarray]:
        shifted = negjax.neuron_sets(lm.config, [(neurons, case.shifts[1])])
        prompts = [row[real].tolist() for row, real in zip(probes.tokens, probes.mask, strict=True)]
        found = negjax.generate(
            lm,
            prompts,
            negjax.Intervention(shifted, "additive"),
            max_tokens=case.written,
            end_tokens=[],
            # Hooks do without what the unmoved model thinks, too.
            baseline=False,
        )
        return {"probability": np.exp(found.log_probability)}

    def work() -> dict[str, np.ndarray]:
        if case.kind == "generate":
            return texts()
        if case.kind == "features":
            return features()
        if case.kind == "sweep":
            return {"probability": negjax.sweep(lm, probes, neurons, shifts).probability[0]}
        if case.kind == "neurgrad":
            return gradients()
        if case.kind in ("ig", "lpi"):
            return {"estimate": negjax.estimate(lm, probes, case.kind)}
        if sets is not None:
            return {"probability": negjax.joint(lm, probes, sets).probability[0]}
        if case.kind == "neg":
            return {"slope": negjax.neg(lm, probes, neurons, *case.shifts).slope[0]}
        return line(case.nodes)

    def line(nodes: int) -> dict[str, np.ndarray]:
        curve = negjax.response(
            lm, probes, neurons, radius=case.shifts[0], nodes=nodes, max_nodes=nodes
        )
        return {"slope": negjax.linear_fit(curve, shifts).slope[0]}

    left, right = np.ones((4096, 1536), np.float32), np.ones((1536, 1536), np.float32)
    product = jax.jit(lambda a, b: a @ b)
    left, right = jax.device_put((left, right))

    def multiply() -> None:
        with lm.numerics():
            product(left, right).block_until_ready()

    def peak() -> int:
        found = [device.memory_stats() for device in jax.devices()]
        taken = sum(stats["peak_bytes_in_use"] for stats in found if stats)
        return int(taken) or memory.peak_memory()

    beside: dict[str, Measure] = {"ig": gradients, "neg": lambda: line(FEW_NODES)}
    return Tool(work, lambda: _rate(multiply), peak, beside=beside.get(case.kind))


def _torch_model(folder: Path) -> Any:
    import torch

    from experiments.bench.baselines.torch_model import llama_from_tensors

    torch.set_default_device(_DEVICE.value)

    config = json.loads((folder / "model" / "config.json").read_text(encoding="utf-8"))
    return llama_from_tensors(config, load_file(folder / "model" / "model.safetensors"))


def _torch_peak() -> int:
    import torch

    on_cpu = torch.get_default_device().type == "cpu"
    return memory.peak_memory() if on_cpu else torch.cuda.max_memory_allocated()


def _serial(folder: Path, case: Case, arrays: dict[str, np.ndarray]) -> Tool:
    from experiments.bench.baselines.torch_best import matmul_rate
    from experiments.bench.baselines.torch_generate import hooked_texts
    from experiments.bench.baselines.torch_serial import serial_neurgrad, serial_sweep

    model = _torch_model(folder)
    tokens, mask, targets = arrays["tokens"], arrays["mask"], arrays["targets"]
    if case.kind in ("neurgrad", "features"):
        part = case.serial_part if case.kind == "features" else case.prompts
        prompts = np.linspace(0, case.prompts - 1, part).astype(int)

        def gradients() -> dict[str, np.ndarray]:
            asked = tokens[prompts], mask[prompts], targets[prompts]
            computed, probability = serial_neurgrad(model, *asked)
            return {"computed": computed, "probability": probability, "prompts": prompts}

        return Tool(gradients, matmul_rate, _torch_peak, part / case.prompts)
    if case.kind == "generate":

        def texts() -> dict[str, np.ndarray]:
            found = hooked_texts(
                model, tokens, mask, arrays["neurons"], case.shifts[1], case.written
            )
            return {"probability": found}

        return Tool(texts, matmul_rate, _torch_peak)
    # Every neuron and shift costs the same two forwards: a few tell what all would take.
    some = np.linspace(0, len(arrays["neurons"]) - 1, case.serial_part).astype(int)
    few = np.linspace(0, len(arrays["shifts"]) - 1, 2).astype(int)
    share = case.serial_part * 2 / (len(arrays["neurons"]) * len(arrays["shifts"]))

    def shifted() -> dict[str, np.ndarray]:
        found = serial_sweep(
            model,
            tokens[0][mask[0]],
            int(targets[0, 0]),
            arrays["neurons"][some],
            arrays["shifts"][few],
        )
        return {"probability": found, "neurons": some, "shifts": few}

    return Tool(shifted, matmul_rate, _torch_peak, share)


def _best(folder: Path, case: Case, arrays: dict[str, np.ndarray]) -> Tool:
    from experiments.bench.baselines.torch_best import best_neurgrad, best_sweep, matmul_rate
    from experiments.bench.baselines.torch_forward import pack

    weights = pack(_torch_model(folder))
    tokens, mask, targets = arrays["tokens"], arrays["mask"], arrays["targets"]

    def work() -> dict[str, np.ndarray]:
        if case.kind == "neurgrad":
            computed, probability = best_neurgrad(weights, tokens, mask, targets)
            return {"computed": computed, "probability": probability}
        found = best_sweep(
            weights,
            tokens[0][mask[0]],
            int(targets[0, 0]),
            arrays["neurons"],
            arrays["shifts"],
        )
        return {"probability": found}

    return Tool(work, matmul_rate, _torch_peak)


def _rate(product: Callable[[], object]) -> float:
    """Floating-point operations a second of a product of 4096 × 1536 × 1536, the best of ten."""
    product()
    best = np.inf
    for _ in range(10):
        start = time.perf_counter()
        product()
        best = min(best, time.perf_counter() - start)
    return 2 * 4096 * 1536 * 1536 / best


if __name__ == "__main__":
    flags.mark_flags_as_required(["folder", "tool", "case"])
    app.run(main)
