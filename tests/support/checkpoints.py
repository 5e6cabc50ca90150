"""Random Llamas of given shapes on disk, made without ever being held in memory.

Weights are bfloat16 safetensors, a shard a layer, or holes in their place, which read as zeros and
take no room on the disk; or one Q4_K file.
"""

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path

import gguf
import ml_dtypes
import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

from negjax.process.quiet import transformers
from negjax.weights.families import FAMILIES
from tests.support.gguf_conversion import add_fields, gguf_name, metadata

SHAPES = {
    #             layers, width, neurons, heads, kv heads, head width, vocabulary, tied
    "tiny": (3, 256, 512, 8, 4, 32, 512, False),
    "llama-0.3b": (12, 1024, 4096, 16, 4, 64, 49152, True),
    "llama-1b": (16, 2048, 8192, 32, 8, 64, 128256, True),
    "llama-2-7b": (32, 4096, 11008, 32, 32, 128, 32000, False),
    "llama-2-70b-1": (1, 8192, 28672, 64, 8, 128, 32000, False),
    "llama-2-70b-3": (3, 8192, 28672, 64, 8, 128, 32000, False),
    "llama-2-70b": (80, 8192, 28672, 64, 8, 128, 32000, False),
}
"""The sizes of Llama models, by name."""
POOL = 1 << 24
"""Random numbers that all tensors take theirs from, each from a place of its own."""

Shapes = dict[str, tuple[int, ...]]


def word(number: int) -> str:
    """A word of letters alone, which tokenizers do not cut: a token of every vocabulary here."""
    letters = "".join(chr(ord("a") + number // 26**place % 26) for place in range(4))
    return f"w{letters}"


def text(*numbers: int) -> str:
    """Words one after the other."""
    return " ".join(map(word, numbers))


def config(shape: str) -> dict[str, object]:
    """Its config.json."""
    layers, width, neurons, heads, kv_heads, head_width, vocabulary, tied = SHAPES[shape]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": width,
        "intermediate_size": neurons,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_width,
        "vocab_size": vocabulary,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": tied,
        "torch_dtype": "bfloat16",
    }


def parts(shape: str) -> Iterator[Shapes]:
    """Tensors of each shard: the layers one by one, and what is not in them."""
    layers, width, neurons, heads, kv_heads, head_width, vocabulary, tied = SHAPES[shape]
    for layer in range(layers):
        start = f"model.layers.{layer}"
        yield {
            f"{start}.input_layernorm.weight": (width,),
            f"{start}.post_attention_layernorm.weight": (width,),
            f"{start}.self_attn.q_proj.weight": (heads * head_width, width),
            f"{start}.self_attn.k_proj.weight": (kv_heads * head_width, width),
            f"{start}.self_attn.v_proj.weight": (kv_heads * head_width, width),
            f"{start}.self_attn.o_proj.weight": (width, heads * head_width),
            f"{start}.mlp.gate_proj.weight": (neurons, width),
            f"{start}.mlp.up_proj.weight": (neurons, width),
            f"{start}.mlp.down_proj.weight": (width, neurons),
        }
    rest: Shapes = {"model.embed_tokens.weight": (vocabulary, width), "model.norm.weight": (width,)}
    yield rest if tied else rest | {"lm_head.weight": (vocabulary, width)}


class Pool:
    """bfloat16 numbers of a normal distribution, to be taken in pieces."""

    def __init__(self, seed: int = 0) -> None:
        self.generator = np.random.default_rng(seed)
        self.normal = self.generator.standard_normal(POOL, dtype=np.float32)

    def take(self, name: str, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
        """The values of a tensor, piece by piece: norms' scales are 1, a matrix keeps lengths."""
        if len(shape) == 1:
            yield np.ones(shape, ml_dtypes.bfloat16)
            return
        fan_in = 2500 if "embed" in name else shape[1]
        scaled = (self.normal * np.float32(fan_in**-0.5)).astype(ml_dtypes.bfloat16)
        left, at = math.prod(shape), int(self.generator.integers(POOL))
        while left:
            piece = scaled[at : at + left]
            yield piece
            left, at = left - len(piece), 0


def write_safetensors(folder: Path, shape: str, sparse: bool) -> None:
    """Shards, and the index of what is where."""
    pool, every, weight_map, size = Pool(), list(parts(shape)), {}, 0
    for number, tensors in enumerate(every, 1):
        name = f"model-{number:05}-of-{len(every):05}.safetensors"
        at = 0
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        for tensor, axes in tensors.items():
            end = at + 2 * math.prod(axes)
            header[tensor] = {"dtype": "BF16", "shape": list(axes), "data_offsets": [at, end]}
            weight_map[tensor], at = name, end
        start = json.dumps(header).encode()
        start += b" " * (-len(start) % 8)
        with (folder / name).open("wb") as file:
            file.write(struct.pack("<Q", len(start)) + start)
            for tensor, axes in tensors.items() if not sparse else ():
                for piece in pool.take(tensor, axes):
                    file.write(piece.view(np.uint8).data)
            file.truncate(8 + len(start) + at)
        size += at
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def write_gguf(path: Path, shape: str) -> None:
    """One file: matrices as random Q4_K blocks, the rest in float32."""
    model, vocabulary = FAMILIES["llama"].config_from_hf(config(shape), shape), SHAPES[shape][6]
    writer = gguf.GGUFWriter(path, "llama")
    add_fields(writer, {f"llama.{key}": value for key, value in metadata(model).items()})
    writer.add_tokenizer_model("gpt2")
    # Words of the vocabulary are tokens, whatever merges lead to.
    writer.add_tokenizer_pre("llama-bpe")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ["<s>", *letters, "Ġw", *("Ġ" + word(number) for number in range(vocabulary))]
    words = words[:vocabulary]
    writer.add_token_list(words)
    writer.add_token_types([gguf.TokenType.CONTROL] + [gguf.TokenType.NORMAL] * (vocabulary - 1))
    writer.add_token_merges(["Ġ w"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    kind = gguf.GGMLQuantizationType.Q4_K
    entries = {
        gguf_name(name, model): (name, axes) for part in parts(shape) for name, axes in part.items()
    }
    for name, (_, axes) in entries.items():
        if len(axes) == 1:
            writer.add_tensor_info(name, axes, np.dtype(np.float32), 4 * axes[0])
        else:
            size = math.prod(axes) // 256 * 144
            rows = (axes[0], axes[1] // 256 * 144)
            writer.add_tensor_info(name, rows, np.dtype(np.uint8), size, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    generator = np.random.default_rng(0)
    for source, axes in entries.values():
        writer.write_tensor_data(
            np.ones(axes, np.float32) if len(axes) == 1 else _q4_k(generator, source, axes)
        )
    writer.close()


def _q4_k(generator: np.random.Generator, name: str, axes: tuple[int, ...]) -> np.ndarray:
    """Random blocks of 256 numbers in 144 bytes: two scales, 12 bytes of theirs, 128 of numbers.

    A number is d · scale · q − dmin · m, of q in 0 … 15, scale and m in 0 … 63.
    """
    blocks = generator.integers(0, 256, (math.prod(axes) // 256, 144), dtype=np.uint8)
    fan_in = 2500 if "embed" in name else axes[1]
    scale = fan_in**-0.5 / (32 * 6)
    # As large as the 7.5 that the numbers are on average, so that they are centred.
    start = np.asarray([scale, 7.5 * scale], np.float16)
    blocks[:, :4] = start.view(np.uint8)
    return blocks.reshape(axes[0], -1)


def write(folder: Path, shape: str, *, sparse: bool = False, as_gguf: bool = False) -> Path:
    """Makes the folder; what it returns is what `negjax.load` takes."""
    folder.mkdir(parents=True)
    if as_gguf:
        path = folder / f"{shape}.Q4_K.gguf"
        write_gguf(path, shape)
        return path
    (folder / "config.json").write_text(json.dumps(config(shape), indent=2), encoding="utf-8")
    vocabulary = SHAPES[shape][6]
    words = Tokenizer(models.WordLevel({word(n): n for n in range(vocabulary)}, word(0)))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token=word(0))
    made.save_pretrained(folder)
    write_safetensors(folder, shape, sparse)
    return folder
