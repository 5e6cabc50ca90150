"""Makes a random Llama of a given shape on disk.

    python -m tests.support.make_checkpoint --shape=llama-2-7b --out=FOLDER

Weights are bfloat16 safetensors, a shard a layer; `--sparse` leaves holes in their place, which
read as zeros and take no room on the disk; `--gguf` writes one Q4_K file.
"""

from pathlib import Path

from absl import app, flags

from tests.support import checkpoints

_SHAPE = flags.DEFINE_enum("shape", "llama-1b", list(checkpoints.SHAPES), "Sizes of the model.")
_OUT = flags.DEFINE_string("out", None, "Folder that is made.", required=True)
_SPARSE = flags.DEFINE_bool("sparse", False, "Holes instead of weights.")
_GGUF = flags.DEFINE_bool("gguf", False, "A Q4_K GGUF file instead of safetensors.")


def main(_: list[str]) -> None:
    """The command."""
    folder, shape = Path(_OUT.value), _SHAPE.value
    print(checkpoints.write(folder, shape, sparse=_SPARSE.value, as_gguf=_GGUF.value))


if __name__ == "__main__":
    app.run(main)
