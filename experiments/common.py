"""What the experiments share: flags, start and end of the program, the model and its prompts."""

import dataclasses
import hashlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
from absl import app, flags, logging
from tqdm import tqdm

import negjax
from negjax import batching, loading, store
from negjax.interventions import Convention
from negjax.language_model import LanguageModel
from negjax.probes import Probes, TargetMode, encode

FLAGS = flags.FLAGS

MIB = 2**20

_MODEL = flags.DEFINE_string(
    "model",
    loading.EMBEDDED,
    "Model: a directory in Hugging Face layout, a .gguf file, a hub id (owner/name) or a name that "
    "negjax knows.",
)
_DTYPE = flags.DEFINE_enum(
    "dtype",
    "float32",
    list(loading.DTYPES),
    "dtype of the weights. float64 tells rounding noise from curvature.",
)
_PRECISION = flags.DEFINE_string(
    "precision",
    "highest",
    "jax.default_matmul_precision of every computation; highest is full float32 on accelerators.",
)
_PROBES = flags.DEFINE_string(
    "probes",
    None,
    "Table of prompts and answers: .csv, .parquet, .feather or .jsonl; or facts-bert, what that "
    "model was trained on. Default: the shipped facts.",
)
_PROMPTS = flags.DEFINE_integer(
    "prompts",
    None,
    "Number of prompts of the table, drawn by --seed; 0: all. Default: up to 24, of neg_map 1.",
    lower_bound=0,
)
_PROMPT_COLUMN = flags.DEFINE_string(
    "prompt_column",
    "prompt",
    "Column of the prompts. A masked LM reads prompts with one [MASK]: `masked` in the shipped "
    "facts.",
)
_ANSWER_COLUMN = flags.DEFINE_string("answer_column", "answer", "Column of the answers.")
_TARGET_MODE = flags.DEFINE_enum(
    "target_mode",
    "single",
    ["single", "first", "all"],
    "single: an answer is one token; first: its first token counts; all: the joint probability of "
    "all its tokens.",
)
_SKIP_UNUSABLE = flags.DEFINE_bool(
    "skip_unusable",
    True,
    "Leave out prompts that this model cannot be asked (an answer of several tokens, for "
    "instance), and say how many. Off: such a prompt is an error.",
)
_CONVENTION = flags.DEFINE_enum(
    "convention",
    "signed",
    ["signed", "additive"],
    "signed: shift x moves a to a + x·s(a), with s(a) = 1 if a > 0 else -1, as in the paper; "
    "additive: to a + x.",
)
_SITE = flags.DEFINE_enum(
    "site",
    None,
    ["act", "up", "product"],
    "Which intermediate vector of a feed-forward layer holds the neurons. Default: the model's "
    "(up of gated layers, act of plain ones).",
)
_BUDGET_MIB = flags.DEFINE_integer(
    "budget_mib",
    batching.DEFAULT_BUDGET_BYTES // MIB,
    "Memory in MiB that one batch may take, besides the weights and the results.",
    lower_bound=1,
)
_SEED = flags.DEFINE_integer(
    "seed", 0, "Draws the prompts, the neurons and the noise probes.", lower_bound=0
)
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "Folder of the run; of compare, a Markdown file. Default: runs/<name of the experiment>; of "
    "compare, none.",
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "Discard a run that the output folder holds, instead of going on with it."
)
_COMPILATION_CACHE = flags.DEFINE_string(
    "compilation_cache",
    None,
    "Folder in which JAX keeps compiled programs from one run to the next; `none` keeps none. "
    "Default: negjax/jax in the user's cache folder.",
)
_TRACEBACK = flags.DEFINE_bool(
    "traceback", False, "Show where in the program an error arose, not only its message."
)


Values = tuple[store.At, Mapping[str, np.ndarray]]
"""Where in the run's arrays some values belong, and the values by array."""


@dataclasses.dataclass(frozen=True)
class Inputs:
    """A model and the prompts to ask it."""

    lm: LanguageModel
    probes: Probes
    rows: tuple[int, ...]
    """Row of each prompt in its table, from 0."""
    source: str
    """The table."""
    source_sha256: str
    skipped: tuple[tuple[int, str], ...]
    """(row, reason) of the prompts left out."""
    seconds: float
    """To load and encode."""

    @property
    def site(self) -> str:
        """The chosen site, or the model's default."""
        return site(self.lm)


@dataclasses.dataclass(frozen=True)
class Work:
    """A group of measurements that is saved at once."""

    name: str
    units: int
    """Of progress."""
    measure: Callable[[], Values]


def run(experiment: Callable[[], int]) -> None:
    """Parses the flags and runs an experiment; bad input ends in one line and exit status 2."""

    def alone(surplus: Sequence[str]) -> int:
        if surplus:
            raise ValueError(f"unexpected argument {surplus[0]!r}: flags are --name=value")
        return experiment()

    run_on(alone)


def run_on(program: Callable[[Sequence[str]], int]) -> None:
    """As `run`, of a program that takes arguments which are no flags."""
    app.run(lambda argv: _guarded(program, argv[1:]))


def _guarded(program: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    try:
        _configure_jax()
        return program(arguments)
    except KeyboardInterrupt:
        print("interrupted before anything was finished", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        if _TRACEBACK.value:
            traceback.print_exc()
        print(f"error: {_message(error)}", file=sys.stderr)
        return 2 if isinstance(error, (ValueError, FileNotFoundError)) else 1


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _configure_jax() -> None:
    if not FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    if _DTYPE.value == "float64":
        jax.config.update("jax_enable_x64", True)
    cache = _COMPILATION_CACHE.value
    if cache != "none":
        folder = Path(cache).expanduser() if cache else _user_cache() / "negjax" / "jax"
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def _user_cache() -> Path:
    named = os.environ.get("XDG_CACHE_HOME", "")
    return Path(named) if Path(named).is_absolute() else Path.home() / ".cache"


def model_name() -> str:
    """What to load."""
    return _MODEL.value


def load_model() -> LanguageModel:
    """The model, as the flags say."""
    lm = negjax.load(_MODEL.value, dtype=_DTYPE.value, precision=_PRECISION.value)
    lm.config.site(_SITE.value)
    return lm


def site(lm: LanguageModel) -> str:
    """The chosen site, or the model's default."""
    return lm.config.site(_SITE.value)


def target_mode() -> TargetMode:
    """What counts as the target where an answer is several tokens."""
    return cast(TargetMode, _TARGET_MODE.value)


def convention() -> Convention:
    """What a shift x does to an activation."""
    return cast(Convention, _CONVENTION.value)


def seed() -> int:
    """Of everything random."""
    return _SEED.value


def budget_bytes() -> int:
    """Memory of one batch."""
    return _BUDGET_MIB.value * MIB


def output_folder(experiment: str) -> Path:
    """Where the run is written."""
    return Path(_OUTPUT.value or f"runs/{experiment}").expanduser()


def output_file() -> Path | None:
    """Where a program writes that makes one file, if anywhere."""
    return Path(_OUTPUT.value).expanduser() if _OUTPUT.value else None


def open_folder(
    experiment: str,
    settings: Mapping[str, Any],
    specs: Mapping[str, store.ArraySpec],
    attributes: Mapping[str, Any],
) -> store.RunFolder:
    """The run's folder, opened to begin or to go on; says on stderr which."""
    folder = store.open_run(
        output_folder(experiment),
        settings,
        specs,
        attributes=attributes,
        overwrite=_OVERWRITE.value,
    )
    if folder.finished:
        note(
            f"{folder.path}: {len(folder.finished)} groups were measured before and are kept; "
            "--overwrite measures anew"
        )
    return folder


def load_inputs(default_prompts: int, table: negjax.Facts | None = None) -> Inputs:
    """The model, and random prompts of the table: as many as the flags say.

    Args:
        default_prompts: how many, if no flag says.
        table: prompts and answers, all to be used; default: the table that the flags name.

    Raises:
        ValueError: more prompts than the table has, or none that the model can be asked.
    """
    start = time.perf_counter()
    facts = table or negjax.read_facts(
        _PROBES.value, prompt_column=_PROMPT_COLUMN.value, answer_column=_ANSWER_COLUMN.value
    )
    prompts = _PROMPTS.value
    if table is not None:
        prompts = 0
    elif prompts is None:
        prompts = min(default_prompts, len(facts.prompts))
    if prompts > len(facts.prompts):
        raise ValueError(
            f"--prompts={prompts}: {facts.source} has {len(facts.prompts)}; pass 1 to "
            f"{len(facts.prompts)}, or 0 for all"
        )
    lm = load_model()
    kept, skipped = _usable(lm, facts, prompts or len(facts.prompts))
    if skipped:
        note(f"{len(skipped)} of {facts.source}'s prompts left out, for instance: {skipped[0][1]}")
    probes = encode(
        lm,
        [facts.prompts[i] for i in kept],
        [facts.answers[i] for i in kept],
        target_mode=target_mode(),
    )
    return Inputs(
        lm,
        probes,
        tuple(facts.rows[i] for i in kept),
        facts.source,
        facts.sha256,
        tuple((facts.rows[i], reason) for i, reason in skipped),
        time.perf_counter() - start,
    )


def single_fact(prompt: str, answer: str) -> negjax.Facts:
    """A table of one prompt, typed in."""
    content = json.dumps([prompt, answer]).encode()
    digest = hashlib.sha256(content).hexdigest()
    return negjax.Facts((prompt,), (answer,), (0,), "the command line", digest)


def _usable(
    lm: LanguageModel, facts: negjax.Facts, wanted: int
) -> tuple[list[int], list[tuple[int, str]]]:
    """Numbers of random prompts that the model can be asked, and of those met that it cannot."""
    kept: list[int] = []
    skipped: list[tuple[int, str]] = []
    for number in np.random.default_rng(_SEED.value).permutation(len(facts.prompts)).tolist():
        if len(kept) == wanted:
            break
        try:
            encode(lm, [facts.prompts[number]], [facts.answers[number]], target_mode=target_mode())
        except ValueError as error:
            # `encode` counts the prompts it is given: one. Readers look for the table's row.
            reason = str(error).replace("prompt 0", f"row {facts.rows[number]}", 1)
            if not _SKIP_UNUSABLE.value:
                raise ValueError(f"{facts.source}: {reason}") from error
            skipped.append((number, reason))
        else:
            kept.append(number)
    if not kept:
        raise ValueError(
            f"none of the {len(skipped)} prompts of {facts.source} can be asked of this model; "
            f"the first: {skipped[0][1]}"
        )
    return sorted(kept), skipped


def input_settings(inputs: Inputs) -> dict[str, Any]:
    """Settings that determine measurements of these inputs, whatever the experiment."""
    probes = inputs.probes
    content = [probes.prompts, probes.targets, probes.target_ids.tolist()]
    return {
        "negjax": negjax.__version__,
        "model_fingerprint": inputs.lm.fingerprint,
        "dtype": _DTYPE.value,
        "precision": _PRECISION.value,
        "prompts": hashlib.sha256(json.dumps(content).encode()).hexdigest(),
        "target_mode": target_mode(),
        "site": inputs.site,
        "convention": convention(),
        "seed": seed(),
    }


def measure_all(folder: store.RunFolder, work: Sequence[Work], unit: str) -> bool:
    """Measures what is not finished yet, saving each group; False if it was interrupted."""
    todo = [item for item in work if item.name not in folder.finished]
    total = sum(item.units for item in work)
    with tqdm(
        total=total,
        initial=total - sum(item.units for item in todo),
        unit=unit,
        mininterval=0.5 if sys.stderr.isatty() else 15,
        disable=not todo,
    ) as bar:
        for item in todo:
            try:
                start = time.perf_counter()
                at, values = item.measure()
                folder.save(item.name, at, values, time.perf_counter() - start)
            except KeyboardInterrupt:
                return False
            bar.update(item.units)
    return True


def say_interrupted(folder: store.RunFolder, work: Sequence[Work]) -> None:
    """Says what an interrupted run has kept and how to go on."""
    note(
        f"interrupted: {len(folder.finished)} of {len(work)} groups are saved in {folder.path}; "
        "the same command goes on from there"
    )


def note(text: str) -> None:
    """Says something on stderr, beside a progress bar."""
    tqdm.write(text, file=sys.stderr)
