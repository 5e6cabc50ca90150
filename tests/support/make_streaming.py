"""Measures streamed weights: `python -m tests.support.make_streaming --model=FOLDER`.

`tests.support.make_checkpoint` makes the models. Each case runs in a process of its own, and its
line goes to docs/streaming.md: time, memory, arithmetic beside the rate of a plain product that the
same process reaches before and after.
"""

import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

import negjax
from experiments.running import pages
from negjax.model.language_model import LanguageModel
from negjax.process import memory
from tests.support import checkpoints
from tests.support.streaming_cases import (
    PAGE,
    Case,
    encoded,
    layer_parameters,
    neurgrad,
    product_rate,
    prompts,
)

STUDIED, NEURONS = 8, 64

_MODEL = flags.DEFINE_string("model", None, "Folder or GGUF file.", required=True)
_NAME = flags.DEFINE_string("name", None, "Of the model on the page.", required=True)
_CASES = flags.DEFINE_list("cases", ["neurgrad", "linearity", "neg"], "What is measured.")
_DTYPE = flags.DEFINE_string("dtype", "bfloat16", "Of the weights.")
_LAYER = flags.DEFINE_integer("layer", -4, "Whose NEG map is made; negative: from the top.")
_BUDGET = flags.DEFINE_integer("budget_mib", 2048, "Memory of a batch.")
_CHILD = flags.DEFINE_bool("child", False, "Measure here, and print it.")

FLAGS = flags.FLAGS


def budget() -> int:
    """Bytes of a batch."""
    return int(_BUDGET.value) << 20


def neg(lm: LanguageModel) -> Case:
    """The exact NEG of every neuron of a layer."""
    c = lm.config
    layer = _LAYER.value % c.layers
    neurons = np.stack([np.full(c.neurons, layer), np.arange(c.neurons)], 1)
    probes = encoded(lm, 1, 1)
    above = layer_parameters(lm) * (c.layers - 1 - layer) + c.vocab_size * c.width
    operations = 2 * 2 * c.neurons * above
    what = f"NEG of all {c.neurons:,} neurons of layer {layer} of {c.layers}, one prompt"
    return (
        what,
        lambda: negjax.neg(lm, probes, neurons, 2.0, 0.2, budget_bytes=budget()),
        operations,
    )


def child(case: str) -> dict[str, Any]:
    """Figures of a case in this process."""
    negjax.configure_process()
    start = time.perf_counter()
    lm = negjax.load(_MODEL.value, dtype=_DTYPE.value, weights="streamed")
    loaded = time.perf_counter() - start
    what, work, operations = neurgrad(lm, budget()) if case == "neurgrad" else neg(lm)
    rates = [product_rate(lm)]
    memory.give_back()
    memory.forget_peak()
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    peak = memory.peak_memory()
    rates.append(product_rate(lm))
    return {
        "what": what,
        "load": loaded,
        "seconds": seconds,
        "peak": peak,
        "operations": operations,
        "rates": rates,
    }


def study() -> dict[str, Any]:
    """`experiments.linearity`, as its users run it."""
    with tempfile.TemporaryDirectory() as temporary:
        table = Path(temporary) / "probes.csv"
        with table.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["prompt", "answer"])
            texts = prompts(STUDIED, 2)
            rows.writerows(
                [text, f" {checkpoints.word(number + 7)}"] for number, text in enumerate(texts)
            )
        command = [sys.executable, "-m", "experiments.linearity", f"--model={_MODEL.value}"]
        command += [f"--dtype={_DTYPE.value}", "--weights=streamed", f"--probes={table}"]
        command += [f"--prompts={STUDIED}", f"--neurons={NEURONS}", "--target_mode=first"]
        command += [
            f"--budget_mib={_BUDGET.value}",
            "--range=10",
            "--step=0.2",
            f"--output={temporary}/run",
        ]
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=sys.stderr)
        seconds = time.perf_counter() - start
        summary = json.loads((Path(temporary) / "run" / "summary.json").read_text("utf-8"))
    return {
        "what": f"experiments.linearity, {STUDIED} prompts × {NEURONS} neurons × 100 shifts, ±10",
        "seconds": seconds,
        "peak": summary["peak_memory_bytes"],
    }


def line(figures: dict[str, Any]) -> str:
    """What the page says of a case."""
    said = [
        f"{figures['what']}, batches of {_BUDGET.value:,} MiB: {figures['seconds']:.0f} s",
        f"peak {figures['peak'] / 1e9:.2f} GB",
    ]
    if "rates" in figures:
        rate, best = figures["operations"] / figures["seconds"], np.mean(figures["rates"])
        each = " and ".join(f"{x / 1e9:.0f}" for x in figures["rates"])
        said.append(
            f"{rate / 1e9:.0f} GFLOP/s, {rate / best:.0%} of a plain product's ({each} before and "
            "after)"
        )
        said.append(f"opened in {figures['load']:.0f} s")
    return f"- {'; '.join(said)}."


def main(_: list[str]) -> None:
    """Measures, and writes the page's parts."""
    for case in _CASES.value:
        if _CHILD.value:
            print(json.dumps(child(case)))
            continue
        if case == "linearity":
            figures = study()
        else:
            command = [sys.executable, "-m", "tests.support.make_streaming", "--child"]
            same = ("model", "name", "dtype", "layer", "budget_mib")
            command += [f"--{name}={FLAGS[name].value}" for name in same]
            done = subprocess.run(
                [*command, f"--cases={case}"], check=True, stdout=subprocess.PIPE, text=True
            )
            figures = json.loads(done.stdout.splitlines()[-1])
        print(line(figures), flush=True)
        pages.write_part(PAGE, f"{_NAME.value} {case}", line(figures))


if __name__ == "__main__":
    app.run(main)
