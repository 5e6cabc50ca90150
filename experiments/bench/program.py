"""The program: its flags, its cases, the figures and where they are written."""

import dataclasses
import importlib.util
import os
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

import negjax
from experiments.bench import precisions as bench_precisions
from experiments.bench import scaling, scaling_report
from experiments.bench import study as bench_study
from experiments.bench import table as bench_table
from experiments.bench.cases import BASELINES, CASES, Case, case_arrays
from experiments.bench.processes import measure
from experiments.bench.study import STUDIES
from experiments.bench.table import Runs
from experiments.running import common, flag_lists, pages, provenance, terminal
from negjax.model.language_model import LanguageModel
from negjax.storage.whole_files import finite_json, write_bytes, write_json
from negjax.weights import saving as export

_CASES = flags.DEFINE_list(
    "cases",
    [case.name for case in CASES],
    f"Cases to measure. Only when named: {', '.join(study.name for study in STUDIES)}, which need "
    "MCEval8K (NEGJAX_MCEVAL8K names its directory) and half an hour, and "
    f"{bench_precisions.NAME}, a plain product and a sweep at every --precision of the device.",
)
_REPEATS = flags.DEFINE_integer(
    "repeats",
    4,
    "Rounds in which a case's tools take turns, more where work is short; the fastest of each "
    "counts.",
    lower_bound=1,
)
_SCALING = flags.DEFINE_boolean(
    "scaling",
    False,
    "Instead: measure how negjax's cost grows with prompts, tokens, labels, layers, parameters, "
    "neurons and shifts, on random models.",
)
_SCALING_POINTS = flags.DEFINE_integer(
    "scaling_points",
    5,
    "Sizes of each kind that --scaling measures, from the smallest on: 5 is all of them, up to "
    "8,192 tokens and a billion parameters (4.4 GB of weights).",
    lower_bound=2,
)
# Of all experiments, but not of this one: it measures fixed work in float32.
UNREAD = ("dtype", "weights", "mesh", "precision", "site", "budget_mib", "seed", "overwrite")
UNREAD_BY_SCALING = ("cases", "repeats", "model", "assume_harmless")
# That a case's measurements take at least.
SECONDS = 30.0


def main() -> int:
    """Measures, prints the table, writes it as JSON and Markdown.

    Raises:
        ValueError: flags that mean nothing here; a page without the marks; baselines that cannot be
            run, for want of PyTorch or of a Llama.
    """
    # A case's processes share an accelerator, whose memory JAX would take beforehand.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    common.refuse_unread("bench", UNREAD, "whose work is fixed")
    if _SCALING.value:
        return _scale()
    common.refuse_unread("bench", ("scaling_points",), "which measures no growth without --scaling")
    known = [*(case.name for case in (*CASES, *STUDIES)), bench_precisions.NAME]
    named = flag_lists.names(_CASES, known)
    page = pages.page_file("bench")
    cases = [case for case in CASES if case.name in named]
    if any(set(BASELINES) & set(case.tools) for case in cases):
        _need_torch()
    if device() != "cpu":
        cases = [dataclasses.replace(case, wanted=()) for case in cases]
    output = common.output_folder("bench")
    output.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {"environment": provenance.environment(), "studies": {}}
    report["flags"] = provenance.flag_values()
    lines = _compare(cases, output, report) if cases else []
    for study in (study for study in STUDIES if study.name in named):
        found = bench_study.measure(study, common.model_name(), common.assumed_harmless())
        report["studies"][study.name] = found
        lines.append(bench_study.line(study, found))
        _save(output, report)
    if bench_precisions.NAME in named:
        measured = bench_precisions.measure(_float32(), CASES[0], _REPEATS.value)
        report["precisions"] = [dataclasses.asdict(row) for row in measured]
        lines += [""] * bool(lines) + bench_precisions.table_lines(measured)
        _save(output, report)
    terminal.say("\n".join(lines))
    if page is not None:
        pages.write_part(page, "bench", "\n".join(lines))
    terminal.say(f"\nall figures: {output / 'bench.json'}")
    return 0


def _float32() -> LanguageModel:
    """The model whose work is measured."""
    return negjax.load(
        common.model_name(), precision="float32", assume_harmless=common.assumed_harmless()
    )


def _scale() -> int:
    """Measures how cost grows, prints tables, writes them and a figure."""
    common.refuse_unread("bench --scaling", UNREAD_BY_SCALING, "whose models are its own")
    page = pages.page_file("scaling")
    output = common.output_folder("bench")
    output.mkdir(parents=True, exist_ok=True)
    cache = jax.config.jax_compilation_cache_dir
    # Programs of an earlier run would be read, not compiled.
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        points = scaling.measure(scaling.AXES, _SCALING_POINTS.value)
    finally:
        jax.config.update("jax_compilation_cache_dir", cache)
    picture = scaling_report.growth_panels(scaling_report.growths(points))
    write_bytes(output / "scaling.svg", picture.svg)
    write_bytes(output / "scaling.png", picture.png)
    figures = {
        "points": [dataclasses.asdict(point) for point in points],
        "environment": provenance.environment(),
        "flags": provenance.flag_values(),
    }
    write_json(output / "scaling.json", finite_json(figures))
    text = "\n".join(scaling_report.lines(points))
    terminal.say(text)
    if page is not None:
        pages.write_part(page, "scaling", text)
    terminal.say(f"\nall figures: {output / 'scaling.json'}, drawn: {output / 'scaling.svg'}")
    return 0


def device() -> str:
    """What the baselines run on, by PyTorch's name: the kind of device that JAX has found."""
    return {"cpu": "cpu", "gpu": "cuda"}.get(jax.default_backend(), "none")


def _need_torch() -> None:
    if device() == "none":
        raise ValueError(
            f"the baselines run on CPUs and CUDA, not on {jax.default_backend()!r}; "
            f"{_without_baselines()}"
        )
    if importlib.util.find_spec("torch") is None:
        raise ValueError(
            f"the baselines need PyTorch: pip install -e '.[torch]'; {_without_baselines()}"
        )


def _need_llama(lm: LanguageModel) -> None:
    c = lm.config
    biased = c.qkv_bias or c.out_bias or c.ffn_bias
    if c.family not in ("llama", "mistral") or biased or c.activation != "silu":
        raise ValueError(
            f"--model={common.model_name()} is of family {c.family!r}, expected llama or mistral "
            f"without biases: of others the baselines cannot be built; {_without_baselines()}"
        )


def _without_baselines() -> str:
    """What can be done instead."""
    alone = [case.name for case in CASES if not set(BASELINES) & set(case.tools)]
    return f"or measure negjax alone, --cases={','.join(alone)}"


def _compare(cases: list[Case], output: Path, report: dict[str, Any]) -> list[str]:
    """Measures cases with all their tools; adds figures to the report, returns the table."""
    lm = _float32()
    if any(set(BASELINES) & set(case.tools) for case in cases):
        _need_llama(lm)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        export.save_pretrained(lm, folder / "model")
        arrays = {case.name: case_arrays(lm, case) for case in cases}
        for name, values in arrays.items():
            save_file(values, folder / f"{name}.safetensors")
        runs: dict[str, Runs] = {}
        report["cases"] = runs
        for case in tqdm(cases, unit="case", disable=None):
            runs[case.name] = measure(
                folder, case, case.tools, _REPEATS.value, SECONDS, device=device()
            )
            _save(output, report)
        agreement = {case.name: _agreement(folder, case) for case in cases}
        compile_times = _compile_times(folder, cases)
        slopes = {
            case.name: _slopes(lm, folder, case, arrays[case.name])
            for case in cases
            if case.kind in ("response", "neg")
        }
    report |= {"agreement": agreement, "compile": compile_times, "slopes": slopes}
    _save(output, report)
    return bench_table.markdown_table(lm, cases, arrays, runs, agreement, compile_times, slopes)


def _save(output: Path, report: dict[str, Any]) -> None:
    write_json(output / "bench.json", finite_json(report))


def _agreement(folder: Path, case: Case) -> dict[str, float]:
    """Largest difference of each baseline's answers from negjax's, over the largest answer."""
    differences: dict[str, float] = {}
    if case.kind in ("response", "neg"):
        # Their slopes are compared with the grid's, in `_slopes`.
        return differences
    key = "computed" if case.kind in ("neurgrad", "features") else "probability"
    for tool in case.tools:
        if tool == "negjax":
            continue
        ours = load_file(folder / f"{case.name}_negjax.safetensors")[key]
        answer = load_file(folder / f"{case.name}_{tool}.safetensors")
        theirs = answer[key]
        if "prompts" in answer:
            ours = ours[answer["prompts"]]
        if "neurons" in answer:
            ours = ours[np.ix_(answer["neurons"], answer["shifts"])]
        differences[tool] = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    return differences


def _compile_times(folder: Path, cases: list[Case]) -> dict[str, dict[str, float]]:
    """Seconds that the first call takes beyond a later one: cold, then from the cache on disk."""
    seconds: dict[str, dict[str, float]] = {}
    shown = ("sweep", "neurgrad", "ig")
    chosen = {case.kind: case for case in reversed(cases) if case.kind in shown}
    for kind, case in chosen.items():
        cache = str(folder / f"cache_{kind}")
        cold, warm = (measure(folder, case, ["negjax"], 1, cache=cache)["negjax"] for _ in range(2))
        seconds[kind] = {
            # Of long work the difference may be less than what the machine's speed varies by.
            name: max(run["first"] - run["seconds"], 0.0)
            for name, run in (("cold", cold), ("cached", warm))
        }
    return seconds


def _slopes(
    lm: LanguageModel, folder: Path, case: Case, arrays: dict[str, np.ndarray]
) -> dict[str, float]:
    """How far NEG of a case lies from NEG on the full grid, of some neurons."""
    through = load_file(folder / f"{case.name}_negjax.safetensors")["slope"]
    some = np.linspace(0, len(arrays["neurons"]) - 1, 100).astype(int)
    target_ids = arrays["targets"][..., None]
    probes = negjax.Probes(
        prompts=("",),
        targets=(("",),),
        tokens=arrays["tokens"],
        mask=arrays["mask"],
        read=arrays["mask"].sum(1) - 1,
        target_ids=target_ids,
        target_mask=np.ones_like(target_ids, bool),
    )
    swept = negjax.sweep(lm, probes, arrays["neurons"][some], arrays["shifts"])
    exact = negjax.linear_fit(swept).slope[0]
    relative = np.abs(through[some] / exact - 1)
    return {"median": float(np.median(relative)), "95%": float(np.quantile(relative, 0.95))}
