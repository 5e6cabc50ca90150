"""Measures loading beside transformers: `python -m tests.support.make_loading --model=FOLDER`.

Both take turns, each in a process of its own, files in the page cache; before each, memory is used
once, as the system takes long to give memory that nobody has used. transformers' weights are read
through after loading, and its tokenizer is loaded, too. The page's part goes to docs/streaming.md.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from absl import app, flags

from experiments.running import pages
from negjax.process import memory
from tests.support.places import ROOT

PAGE = ROOT / "docs" / "streaming.md"
DTYPES = ("bfloat16", "float32")
WARMED = 8 * 10**9

_MODEL = flags.DEFINE_string("model", None, "A directory of safetensors weights.", required=True)
_ROUNDS = flags.DEFINE_integer("rounds", 4, "Turns of each.", lower_bound=1)
_CHILD = flags.DEFINE_list("child", [], "Tool and dtype: measure here, and print it.")


def by_negjax(dtype: str) -> None:
    """`negjax.load`, all of it: tokenizer and fingerprint too."""
    import negjax

    negjax.load(_MODEL.value, dtype=dtype, weights="resident")


def by_transformers(dtype: str) -> None:
    """Weights, each page of them read, and tokenizer."""
    import torch
    import transformers

    transformers.AutoTokenizer.from_pretrained(_MODEL.value)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        _MODEL.value, dtype=getattr(torch, dtype)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.view(-1)[::1024].float().sum()


def child(tool: str, dtype: str) -> dict[str, float]:
    """Seconds and peak of one load in this process."""
    if tool == "negjax":
        import jax

        import negjax  # noqa: F401 — what importing takes is no part of loading.

        jax.device_count()
    else:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    memory.forget_peak()
    before = memory.peak_memory()
    start = time.perf_counter()
    {"negjax": by_negjax, "transformers": by_transformers}[tool](dtype)
    return {"seconds": time.perf_counter() - start, "peak": memory.peak_memory() - before}


def measured(tool: str, dtype: str) -> dict[str, float]:
    """One load in a process of its own."""
    subprocess.run(
        [sys.executable, "-c", f"import numpy; numpy.empty({WARMED}, 'u1').fill(1)"], check=True
    )
    command = [sys.executable, "-m", "tests.support.make_loading", f"--model={_MODEL.value}"]
    done = subprocess.run(
        [*command, f"--child={tool},{dtype}"], check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(_: list[str]) -> None:
    """Measures in turn, prints a table and writes it."""
    if _CHILD.value:
        print(json.dumps(child(*_CHILD.value)))
        return
    size = sum(file.stat().st_size for file in Path(_MODEL.value).glob("*.safetensors"))
    lines = [
        f"{size / 1e9:.2f} GB of bfloat16, median of {_ROUNDS.value} turns:",
        "",
        "| dtype | transformers | negjax | ratio | peak: transformers | negjax |",
        "|---|---|---|---|---|---|",
    ]
    for dtype in DTYPES:
        tools = ("transformers", "negjax")
        turns = [{tool: measured(tool, dtype) for tool in tools} for _ in range(_ROUNDS.value)]
        seconds = [float(np.median([turn[tool]["seconds"] for turn in turns])) for tool in tools]
        peaks = [max(turn[tool]["peak"] for turn in turns) / 1e9 for tool in tools]
        cells = [dtype, *(f"{x:.1f} s" for x in seconds), f"{seconds[1] / seconds[0]:.2f}"]
        lines.append("| " + " | ".join([*cells, *(f"{x:.2f} GB" for x in peaks)]) + " |")
    print("\n".join(lines))
    pages.write_part(PAGE, "loading", "\n".join(lines))


if __name__ == "__main__":
    app.run(main)
