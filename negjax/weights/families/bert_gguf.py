"""GGUF files of BERT.

llama.cpp's converter leaves the masked-LM head out, and the `gguf` package has no names for its
tensors: a file has it under the names of Hugging Face files, or not at all. Files do not say the
activation function: it is BERT's, `gelu`. Source: llama.cpp, conversion/bert.py.
"""

from negjax.model.config import ModelConfig
from negjax.weights.conversion import LazyTensor
from negjax.weights.families.common import GGUFForm

KEYS = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.layer_norm_epsilon": "layer_norm_eps",
    "attention.causal": "is_decoder",
    "pooling_type": "pooler_type",
    "vocab_size": "vocab_size",
}
HEAD = "cls.predictions"


def _as_stored(tensor: LazyTensor, source: str, config: ModelConfig) -> LazyTensor:
    return tensor


BERT_FORM = GGUFForm(
    architecture="bert",
    keys=KEYS,
    undo=_as_stored,
    prefix="bert.",
    output=f"{HEAD}.decoder.weight",
    rows={"token_types.weight": "type_vocab_size"},
    head=(
        *(f"{HEAD}.transform.dense.weight", f"{HEAD}.transform.dense.bias"),
        *(f"{HEAD}.transform.LayerNorm.weight", f"{HEAD}.transform.LayerNorm.bias"),
        f"{HEAD}.bias",
    ),
)
