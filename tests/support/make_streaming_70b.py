"""Measures layers of Llama 2, 70B, streamed: `python -m tests.support.make_streaming_70b`.

Models of one and of three layers of that shape are made, whose weight files are holes, which take
no room on the disk and read as zeros: the arithmetic is the same. Two layers' worth is their
difference; all 80 are extrapolated from it, and docs/streaming.md says so.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from absl import app, flags

import negjax
from experiments.running import pages
from negjax.process import memory
from tests.support import checkpoints, streaming_cases

LAYERS = 80
FEW, MORE = "llama-2-70b-1", "llama-2-70b-3"

_CHILD = flags.DEFINE_string("measured", None, "Measure the model of this folder, and print it.")


def child(folder: str) -> dict[str, Any]:
    """Figures of a model in this process: the second call, which compiles nothing."""
    negjax.configure_process()
    lm = negjax.load(folder, dtype="bfloat16", weights="streamed")
    what, work, operations = streaming_cases.neurgrad(lm, memory.DEFAULT_BUDGET_BYTES)
    work()
    rates = [streaming_cases.product_rate(lm)]
    memory.give_back()
    memory.forget_peak()
    start = time.perf_counter()
    work()
    seconds, peak = time.perf_counter() - start, memory.peak_memory()
    rates.append(streaming_cases.product_rate(lm))
    return {
        "what": what,
        "layers": lm.config.layers,
        "bytes": sum(leaf.nbytes for leaf in streaming_cases.streamed(lm)) // lm.config.layers,
        "seconds": seconds,
        "peak": peak,
        "operations": operations,
        "rates": rates,
    }


def line(few: dict[str, Any], more: dict[str, Any]) -> str:
    """What the page says."""
    each = (more["seconds"] - few["seconds"]) / (more["layers"] - few["layers"])
    operations = more["operations"] / more["layers"]
    best = sum(few["rates"] + more["rates"]) / 4
    all_of_them = few["seconds"] + (LAYERS - few["layers"]) * each
    return (
        f"- {more['what']}: {few['seconds']:.0f} s with one layer of {more['bytes'] / 1e9:.2f} GB, "
        f"{more['seconds']:.0f} s with three, peak {more['peak'] / 1e9:.2f} GB: {each:.1f} s a "
        f"layer, {operations / each / 1e9:.0f} GFLOP/s, {operations / each / best:.0%} of a plain "
        f"product's ({best / 1e9:.0f}). All {LAYERS} layers, extrapolated: "
        f"{all_of_them / 60:.0f} minutes."
    )


def main(_: list[str]) -> None:
    """Makes the models, measures each in a process of its own, writes the page's part."""
    if _CHILD.value is not None:
        print(json.dumps(child(_CHILD.value)))
        return
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        for shape in (FEW, MORE):
            folder = checkpoints.write(Path(temporary) / shape, shape, sparse=True)
            command = [sys.executable, "-m", "tests.support.make_streaming_70b"]
            done = subprocess.run(
                [*command, f"--measured={folder}"], check=True, stdout=subprocess.PIPE, text=True
            )
            found.append(json.loads(done.stdout.splitlines()[-1]))
    print(line(*found))
    pages.write_part(streaming_cases.PAGE, "70b neurgrad", line(*found))


if __name__ == "__main__":
    app.run(main)
