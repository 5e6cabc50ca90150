"""What the experiments share: flags, start and end of the program, the model, saved work."""

import contextlib
import dataclasses
import functools
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import app, flags, logging

import negjax
from experiments.running import (
    command_line,
    measuring,
    messages,
    program_cache,
    streams,
    terminal,
)
from negjax.execution import batching, running
from negjax.model.language_model import LanguageModel
from negjax.process import accelerators, precisions
from negjax.storage import store
from negjax.storage.buckets import is_address
from negjax.weights import loading, residence
from negjax.weights.families.settings import UnknownSettingsError, WrongAssumptionError

FLAGS = flags.FLAGS

MIB = 2**20

_MODEL = flags.DEFINE_string(
    "model",
    loading.EMBEDDED,
    "Model: a directory in Hugging Face layout, a .gguf file, a hub id (owner/name) or a name that "
    "negjax knows.",
)
DTYPE = flags.DEFINE_enum(
    "dtype",
    "float32",
    list(loading.DTYPES),
    "dtype of the weights. float64 tells rounding noise from curvature.",
)
PRECISION = flags.DEFINE_string(
    "precision",
    precisions.AUTO,
    f"Of matrix products, from the most exact on: {', '.join(precisions.RUNGS)}, if the device has "
    "it (docs/precision.md); auto, the fastest whose error in ΔP is at most twice float32's.",
)
WEIGHTS = flags.DEFINE_enum(
    "weights",
    "auto",
    list(residence.PLACES),
    "Where the matrices of layers are: resident, in memory; streamed, in their files until a layer "
    "is computed; auto, resident where they fit.",
)
MESH = flags.DEFINE_string(
    "mesh",
    residence.AUTO,
    "Devices that compute together, as data:2,model:4: among `data` prompts are divided, among "
    "`model` heads, neurons and the vocabulary; auto: all accelerators; data:1: one device; more "
    "than this process has, with --coordinator: those of all processes, which measure in step.",
)
_ASSUME_HARMLESS = flags.DEFINE_list(
    "assume_harmless",
    [],
    "Settings of the model's config.json that negjax does not know, and refuses otherwise, which "
    "you know to change nothing that the model computes. The run records them.",
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
    "Folder of the run, of a study also gs://BUCKET/FOLDER or s3://BUCKET/FOLDER; of compare, a "
    "Markdown file. Default: runs/<name of the experiment>; of compare, none.",
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


Values = tuple[store.Places, Mapping[str, np.ndarray]]
"""Where in the run's arrays some values belong, and the values by array."""


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
    with streams.unfailing():
        app.run(lambda argv: _guarded(program, argv[1:]), flags_parser=command_line.parse)


def _guarded(program: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    try:
        cache = _configure_jax()
        mended = program_cache.mended(cache) if cache else contextlib.nullcontext()
        with terminal.notices_as_notes(), mended:
            return program(arguments)
    except KeyboardInterrupt:
        terminal.note(
            "interrupted; the same command goes on from what was measured and saved, if anything"
        )
        return 130
    except (MemoryError, RuntimeError, AssertionError) as error:
        if not running.out_of_memory(error):
            failure = _start_failure()
            if failure is None:
                raise
            return _ended(error, str(failure), messages.ENVIRONMENT)
        return _ended(
            error,
            f"out of memory; pass a smaller --budget_mib (now {_BUDGET_MIB.value}), a smaller "
            "--dtype or --weights=streamed; what was measured is saved, and the same command goes "
            "on from there",
            messages.ENVIRONMENT,
        )
    except (ValueError, OSError) as error:
        return _ended(error, messages.told(error), messages.status(error))


def _start_failure() -> OSError | None:
    """What is wrong if JAX cannot start: then that is what ended the program."""
    try:
        accelerators.check_started()
    except OSError as error:
        return error
    return None


def _ended(error: BaseException, text: str, status: int) -> int:
    """The status, after the message is said on one line."""
    if _TRACEBACK.value:
        traceback.print_exception(error)
    terminal.note(f"error: {text}")
    return status


def _configure_jax() -> Path | None:
    """Sets what the flags say; returns the folder of compiled programs, if there is one."""
    negjax.configure_process()
    if not FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    if DTYPE.value == "float64":
        jax.config.update("jax_enable_x64", True)
    cache = _COMPILATION_CACHE.value
    if cache == "none":
        return None
    folder = messages.path(_COMPILATION_CACHE) if cache else program_cache.own_folder()
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    return folder


def model_name() -> str:
    """What to load."""
    return _MODEL.value


def assumed_harmless() -> list[str]:
    """Settings of the model's file that are to be ignored."""
    return _ASSUME_HARMLESS.value


@contextlib.contextmanager
def of_model() -> Iterator[None]:
    """Names the flags in errors about the model."""
    flag = f"--{_ASSUME_HARMLESS.name}"
    with messages.of_flag(_MODEL):
        try:
            yield
        except UnknownSettingsError as error:
            named = f"{flag}={','.join(error.names)}"
            raise ValueError(f"{error.found}; if they change nothing, pass {named}") from error
        except WrongAssumptionError as error:
            raise ValueError(f"{flag} names {error.name!r}: {error.why}") from error


def load_model() -> LanguageModel:
    """The model, as the flags say."""
    rung = precisions.rung_named(PRECISION.value)
    if rung != precisions.AUTO:
        # Here and not in `load`: below, errors are of the model.
        accelerators.check_started()
        precisions.chosen_rung(rung, precisions.hardware_here(), DTYPE.value)
    terminal.stage(f"load {_MODEL.value}")
    with of_model():
        lm = negjax.load(
            _MODEL.value,
            dtype=DTYPE.value,
            precision=PRECISION.value,
            weights=WEIGHTS.value,
            mesh=MESH.value,
            assume_harmless=assumed_harmless(),
        )
    with messages.of_flag(_SITE):
        lm.config.site(_SITE.value)
    return lm


def site(lm: LanguageModel) -> str:
    """The chosen site, or the model's default."""
    return lm.config.site(_SITE.value)


def model_settings(lm: LanguageModel) -> dict[str, Any]:
    """Settings that determine measurements of a model, whatever it is asked."""
    # Named only where there are any: runs from before there were such settings go on.
    assumed = {"assume_harmless": [*lm.assumed_harmless]} if lm.assumed_harmless else {}
    return {
        **assumed,
        "negjax": negjax.__version__,
        "model_fingerprint": lm.fingerprint,
        "model_config": lm.config.digest,
        "dtype": lm.dtype.name,
        "precision": lm.precision,
        "site": site(lm),
        "seed": seed(),
    }


def seed() -> int:
    """Of everything random."""
    return _SEED.value


def budget_bytes() -> int:
    """Memory of one batch."""
    return _BUDGET_MIB.value * MIB


def refuse_unread(experiment: str, names: Sequence[str], why: str) -> None:
    """Refuses flags that every program of a kind has and this one does not read.

    Saying that they mean nothing is better than having no such flags.

    Raises:
        ValueError: one of them was given, be it with its default value.
    """
    for name in names:
        if FLAGS[name].present:
            raise ValueError(
                f"--{name}={FLAGS[name].value} has no effect on {experiment}, {why}; leave it out"
            )


def output_folder(experiment: str) -> Path:
    """Where the run is written."""
    return messages.path(_OUTPUT) if _OUTPUT.value else Path(f"runs/{experiment}")


def output_address() -> str | None:
    """The same in a bucket; None: it is a folder."""
    return _OUTPUT.value if is_address(_OUTPUT.value) else None


def output_file() -> Path | None:
    """Where a program writes that makes one file, if anywhere."""
    return messages.path(_OUTPUT) if _OUTPUT.value else None


def open_folder(
    path: Path,
    settings: Mapping[str, Any],
    specs: Mapping[str, store.ArraySpec],
    attributes: Mapping[str, Any],
) -> store.RunFolder:
    """A run's folder, opened to begin or to go on."""
    overwrite = _OVERWRITE.value
    return store.open_to_measure(path, settings, specs, attributes=attributes, overwrite=overwrite)


def measure_all(folder: store.RunFolder, work: Sequence[Work], unit: str) -> bool:
    """Measures what is not finished yet, saving each group; False if it was interrupted."""
    before = sum(item.units for item in work if item.name in folder.finished)
    try:
        with measuring.shown(sum(item.units for item in work), unit, before=before) as progress:
            for item in work:
                if item.name not in folder.finished:
                    progress.group(item.units, functools.partial(_measure, folder, item))
    except KeyboardInterrupt:
        return False
    return True


def _measure(folder: store.RunFolder, item: Work) -> None:
    begun = time.perf_counter()
    at, values = item.measure()
    folder.save(item.name, at, values, time.perf_counter() - begun)


def wants_traceback() -> bool:
    """Whether errors are to show where they arose."""
    return bool(_TRACEBACK.value)
