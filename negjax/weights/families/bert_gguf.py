"""GGUF files of BERT.

llama.cpp's converter leaves the masked-LM head out, and the `gguf` package has no names for its
tensors: a file has it under the names of Hugging Face files, or not at all. Files do not say the
activation function: it is BERT's, `gelu`. Source: llama.cpp, conversion/bert.py.
"""

from negjax.weights.families.common import GGUF_SIZES, GGUFForm

KEYS = GGUF_SIZES | {
    "attention.layer_norm_epsilon": "layer_norm_eps",
    "attention.causal": "is_decoder",
    "pooling_type": "pooler_type",
}
HEAD = "cls.predictions"


BERT_FORM = GGUFForm(
    architecture="bert",
    keys=KEYS,
    prefix="bert.",
    output=f"{HEAD}.decoder.weight",
    rows={"token_types.weight": "type_vocab_size"},
    head=(
        *(f"{HEAD}.transform.dense.weight", f"{HEAD}.transform.dense.bias"),
        *(f"{HEAD}.transform.LayerNorm.weight", f"{HEAD}.transform.LayerNorm.bias"),
        f"{HEAD}.bias",
    ),
)
