"""Mistakes that users make, as functions: damaged files, wrong arguments, folders in use."""

import copy
import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, pre_tokenizers

import negjax
from experiments.running import command_line
from negjax import mceval8k
from negjax.model.language_model import LanguageModel
from negjax.process import accelerators
from negjax.storage import progress, store, whole_files
from negjax.weights.saving import save_pretrained
from tests.support.block_shapes import tiny, tiny_probes
from tests.support.made_up_mceval8k import write_task

Provoke = Callable[[Path], object]
"""Of an empty folder that is the working directory."""

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
NEURONS = [[0, 1]]
SCORES = np.random.default_rng(0).normal(size=(6, 3, 20)).astype(np.float32)
GOLD = np.arange(6) % 3


def lm() -> negjax.LanguageModel:
    return tiny("gated")


def probes() -> negjax.Probes:
    return tiny_probes(lm())


def encode(prompts: Any = ("w3",), targets: Any = ("w4",), **more: Any) -> negjax.Probes:
    return negjax.encode(lm(), prompts, targets, **more)


def sweep(**changes: Any) -> negjax.Sweep:
    given: dict[str, Any] = {"probes": probes(), "neurons": NEURONS, "shifts": [1.0], "target": 0}
    return negjax.sweep(lm(), **given | changes)


def response(**changes: Any) -> negjax.Response:
    given: dict[str, Any] = {"probes": probes(), "neurons": NEURONS, "radius": 1.0, "target": 0}
    return negjax.response(lm(), **given | changes)


def enhance(**changes: Any) -> negjax.Turned:
    given: dict[str, Any] = {"probes": probes(), "k": 2, "volume": 1.0, "target": 0}
    return negjax.enhance(lm(), **given | changes)


def damaged(folder: Path, name: str, content: bytes | None) -> object:
    """Loads a model one of whose files has another content, or is not there."""
    save_pretrained(lm(), folder / "model")
    (folder / "model" / name).unlink(missing_ok=True)
    if content is not None:
        (folder / "model" / name).write_bytes(content)
    return negjax.load(folder / "model")


def with_vocabulary(change: Callable[[Tokenizer], object]) -> LanguageModel:
    """The model with its tokenizer changed."""
    tokenizer = copy.deepcopy(lm().tokenizer)
    change(tokenizer.backend_tokenizer)
    return dataclasses.replace(lm(), tokenizer=tokenizer)


def chat(template: str, content: str) -> negjax.Probes:
    """Asks one user's message of a model with this chat template."""
    model = with_vocabulary(lambda _: None)
    model.tokenizer.chat_template = template
    return negjax.encode(model, [[{"role": "user", "content": content}]], ["w4"])


def halves() -> LanguageModel:
    """A model whose tokenizer joins what two of its tokens say."""

    def join(tokenizer: Tokenizer) -> None:
        tokenizer.add_tokens(["w2 w3"])

    model = with_vocabulary(join)
    return dataclasses.replace(
        model, config=dataclasses.replace(model.config, vocab_size=model.config.vocab_size + 1)
    )


def dropped() -> object:
    """Asks for a character that no token covers."""

    def mute(tokenizer: Tokenizer) -> None:
        tokenizer.pre_tokenizer = pre_tokenizers.CharDelimiterSplit("x")

    return negjax.encode(with_vocabulary(mute), ["w3xw4x"], ["w5"])


def not_resized() -> object:
    """Asks for a token that was added to the tokenizer alone."""
    return negjax.encode(
        with_vocabulary(lambda tokenizer: tokenizer.add_tokens(["<extra>"])), ["w3 <extra>"], ["w4"]
    )


def not_finite(folder: Path) -> object:
    """Loads a model of which a weight is NaN."""
    save_pretrained(lm(), folder / "model")
    file = folder / "model" / "model.safetensors"
    tensors = {name: tensor.copy() for name, tensor in load_file(file).items()}
    tensors["model.norm.weight"][0] = np.nan
    save_file(tensors, file, metadata={"format": "pt"})
    return negjax.load(folder / "model")


def sentencepiece(folder: Path) -> object:
    """Loads a model whose tokenizer takes a package that is not installed."""
    save_pretrained(lm(), folder / "model")
    (folder / "model" / "tokenizer.json").unlink()
    (folder / "model" / "tokenizer.model").write_bytes(b"\x0a")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name: None)
        return negjax.load(folder / "model")


def config_with(folder: Path, **settings: Any) -> object:
    """Loads a model whose config says something else."""
    save_pretrained(lm(), folder / "model")
    file = folder / "model" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    return negjax.load(folder / "model")


def table(folder: Path, content: str | bytes, name: str = "facts.csv", **more: Any) -> object:
    """Reads a table of this content."""
    data = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(data)
    return negjax.read_facts(folder / name, **more)


def bert(prompt: str, target: str = "w4") -> object:
    return negjax.encode(tiny("bert"), [prompt], [target])


def run_folder(folder: Path, settings: Mapping[str, Any]) -> store.RunFolder:
    spec = store.ArraySpec(shape=(1,), dtype="float64", axes=("item",), meaning="a number")
    return store.open_to_measure(folder / "run", settings, {"x": spec}, attributes={})


def in_use(folder: Path) -> None:
    with run_folder(folder, {}):
        run_folder(folder, {})


def other_settings(folder: Path) -> None:
    run_folder(folder, {"a": 1}).close()
    run_folder(folder, {"a": 2})


def strangers(folder: Path) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "letter.txt").touch()
    run_folder(folder, {})


def damaged_run(folder: Path) -> None:
    run_folder(folder, {}).close()
    (folder / "run" / progress.PROGRESS).write_text("{")
    run_folder(folder, {})


def failing_disk(number: int) -> Provoke:
    def provoke(folder: Path) -> None:
        with whole_files.explained(folder, "group 1 could not be saved"):
            raise OSError(number, "The system's words")

    return provoke


def no_device(_: Path) -> None:
    import jax

    def none() -> None:
        raise RuntimeError("Unable to initialize backend 'cuda': none")

    before = jax.devices
    try:
        jax.devices = cast(Any, none)
        accelerators.check_started()
    finally:
        jax.devices = before


def arrays_file(folder: Path, metadata: dict[str, str]) -> Path:
    """A safetensors file of no model."""
    save_file({"a": np.zeros(1)}, folder / "arrays", metadata=metadata)
    return folder / "arrays"


def benchmark(folder: Path, **more: Any) -> mceval8k.Task:
    write_task(folder, "ner")
    return mceval8k.load("ner", folder, **more)


def flag(*arguments: str) -> Provoke:
    return lambda _: command_line.expanded(arguments)


def gguf_part(folder: Path, name: str, architecture: str, count: int = 1) -> Path:
    """A GGUF file without tensors: the first of so many parts."""
    writer = gguf.GGUFWriter(folder / name, architecture)
    writer.add_uint16("split.no", 0)
    writer.add_uint16("split.count", count)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return folder / name


def text_file(folder: Path, name: str, content: str = "a text") -> Path:
    (folder / name).write_text(content)
    return folder / name


def pickled(folder: Path) -> object:
    save_pretrained(lm(), folder / "model")
    (folder / "model" / "model.safetensors").rename(folder / "model" / "pytorch_model.bin")
    return negjax.load(folder / "model")


def other_sets(_: Path) -> object:
    sets = negjax.neuron_sets(tiny("gpt2", layers=2).config, [(NEURONS, 1.0)])
    return negjax.joint(lm(), probes(), sets, target=0)


def damaged_benchmark(folder: Path) -> mceval8k.Task:
    write_task(folder, "ner")
    file = folder / mceval8k.TASKS["ner"].folder / "train.json"
    file.write_text("[{")
    return mceval8k.load("ner", folder)


def marked_flags(folder: Path) -> object:
    file = folder / "run.flags"
    file.write_bytes("--nodes=5".encode("utf-16"))
    return command_line.expanded([f"--flagfile={file}"])
