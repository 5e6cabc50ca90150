"""What every fitted probe is: arrays and numbers, saved as one safetensors file.

A file holds the probe's arrays by name and, in its header, JSON: the class and the numbers. Nothing
in it can run.
"""

import abc
import dataclasses
import json
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from safetensors import SafetensorError
from safetensors.numpy import save

from negjax import checks
from negjax.checks import shown
from negjax.records import readable
from negjax.skills.checks import as_layer_index, check_codes, check_scores
from negjax.skills.probes.codes import decode_scores
from negjax.storage.given_files import check_file
from negjax.storage.record_files import read_arrays
from negjax.storage.whole_files import write_bytes

FORMAT = 1
"""Version of the files."""
HEADER = "negjax.skills"


@readable
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class FittedProbe(abc.ABC):
    """A probe that predicts one of K labels from some of a model's N = L · F neurons."""

    neurons: np.ndarray
    """[k], flat, layer-major: `layer_index` says which they are; the most telling first."""
    polarity: np.ndarray
    """[k], int8: +1, −1, or 0 where a neuron has none."""
    labels: int
    """K."""
    total: int
    """N."""

    @abc.abstractmethod
    def predict(self, values: ArrayLike, /) -> np.ndarray:
        """The predicted labels [B] of what the probe reads of B prompts."""

    def layer_index(self, shape: tuple[int, int]) -> np.ndarray:
        """(layer, index) of the neurons, [k, 2], in their order.

        Args:
            shape: (L, F) of the model: `(lm.config.layers, lm.config.neurons)`.

        Raises:
            ValueError: a model of another number of neurons.
        """
        return as_layer_index(self.neurons, shape, self.total)

    def save(self, path: str | Path) -> Path:
        """Writes the probe as one file, whole or not at all; the same probe gives the same bytes.

        Returns:
            The path.

        Raises:
            OSError: the file cannot be written.
        """
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        arrays = {
            name: np.ascontiguousarray(value)
            for name, value in values.items()
            if isinstance(value, np.ndarray)
        }
        header = {
            "format": FORMAT,
            "probe": type(self).__name__,
            "settings": {name: value for name, value in values.items() if name not in arrays},
        }
        data = save(arrays, metadata={HEADER: json.dumps(header, sort_keys=True)})
        file = checks.path(path, "path")
        if file.is_dir():
            raise IsADirectoryError(f"path {str(path)!r} is a directory, expected a file to write")
        if not file.parent.is_dir():
            raise FileNotFoundError(f"path {str(path)!r}: there is no directory {file.parent}")
        write_bytes(file, data)
        return file

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads what `save` wrote. `load_probe` reads a probe of any class.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it holds another class's probe, or no probe, or is damaged.
        """
        name, fields = read_fields(path)
        if name != cls.__name__:
            raise ValueError(f"{path} holds a {name}, not a {cls.__name__}; use load_probe")
        wanted = {f.name for f in dataclasses.fields(cls)}
        if fields.keys() != wanted:
            raise ValueError(
                f"{path} is damaged: a {name} has {sorted(wanted)}, found {sorted(fields)}"
            )
        return cls(**fields)


def read_fields(path: str | Path) -> tuple[str, dict[str, Any]]:
    """The class name and the fields of a saved probe.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no probe of this format, or damaged.
    """
    file = check_file(path, "path", "a probe that save wrote")
    try:
        about, arrays = read_arrays(file)
    except SafetensorError as error:
        raise ValueError(f"{path}: damaged, or not a saved probe: {error}") from error
    header = _header(about.get(HEADER))
    if header.get("format") != FORMAT:
        raise ValueError(
            f"{path}: format {shown(header.get('format'))}, expected {FORMAT}: not a probe that "
            "this version saved; fit it again"
        )
    name, settings = header.get("probe"), header.get("settings")
    if not isinstance(name, str) or not isinstance(settings, dict):
        raise ValueError(f"{path} is damaged: its header names no probe; fit it again")
    return name, {**arrays, **settings}


def _header(text: str | None) -> dict[str, Any]:
    """The JSON object of a file's header; empty where there is none."""
    try:
        found = json.loads(text or "{}")
    except json.JSONDecodeError:
        found = {}
    return found if isinstance(found, dict) else {}


@readable
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ScoreProbe(FittedProbe):
    """A probe whose neurons each give every label a vote; the label with most votes is predicted.

    Of labels with the same votes it is the first.
    """

    def votes(self, scores: ArrayLike) -> np.ndarray:
        """What each of the probe's neurons gives each label.

        Args:
            scores: [B, K, L, F] or [B, K, N].

        Returns:
            [B, K, k].

        Raises:
            ValueError: scores of another shape, of other labels or neurons, or not finite.
        """
        array = check_scores(scores, labels=self.labels, total=self.total)
        return self._label_votes(array[..., self.neurons])

    def predict(self, scores: ArrayLike) -> np.ndarray:
        """The predicted labels [B] of scores, as `votes` takes them."""
        return self._decide(self.votes(scores))

    def predict_codes(self, codes: ArrayLike) -> np.ndarray:
        """The predicted labels [B] of codes [B, N] (`negjax.skills.probes.codes`)."""
        chosen = decode_scores(check_codes(codes, self.total)[:, self.neurons], self.labels)
        return self._decide(self._label_votes(np.asarray(chosen)))

    @abc.abstractmethod
    def _label_votes(self, chosen: np.ndarray) -> np.ndarray:
        """[B, K, k], of the probe's own neurons' scores [B, K, k]."""

    def _decide(self, votes: np.ndarray) -> np.ndarray:
        result: np.ndarray = votes.sum(-1).argmax(1)
        return result
