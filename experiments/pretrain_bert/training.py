"""Steps of masked language modelling with AdamW: the model is negjax's own BERT.

Sources: BERT (Devlin et al., arXiv 1810.04805), AdamW (arXiv 1711.05101), cosine decay
(arXiv 1608.03983).
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from experiments.pretrain_bert.batches import Batch
from negjax.model.config import ModelConfig
from negjax.model.language_model import LanguageModel
from negjax.model.transformer import Transformer
from negjax.process.quiet import transformers
from negjax.replay.suffixes import Suffix, run
from negjax.weights.conversion import abstract_model
from negjax.weights.families import FAMILIES
from negjax.weights.loading import fingerprint

Parameters = dict[str, jax.Array]
"""Arrays by the dotted path of the parameter; the blocks' are stacked along a leading axis L."""

# Standard deviation of BERT's initial weights.
INITIAL_STD = 0.02
PRECISION = "highest"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What decides the steps, besides the batches."""

    steps: int
    learning_rate: float
    """The highest, after the warm-up."""
    warmup: int
    """Steps of linear rise from 0; a cosine falls to 0 in the rest."""
    weight_decay: float
    """Of matrices and embeddings; biases and norms have none."""
    clip: float
    """Largest norm of all gradients together."""
    beta1: float = 0.9
    beta2: float = 0.98
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        if not 0 <= self.warmup < self.steps:
            raise ValueError(
                f"{self.steps} steps with {self.warmup} of warm-up: expected more steps than that"
            )
        for name in ("learning_rate", "clip"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}, expected a positive number")
        if not 0 <= self.weight_decay < float("inf"):
            raise ValueError(f"weight_decay is {self.weight_decay}, expected 0 or more")


class TrainingState(NamedTuple):
    """Everything that a step changes."""

    params: Parameters
    optimizer: optax.OptState


class Measured(NamedTuple):
    """What is known of a step."""

    loss: jax.Array
    """Mean cross-entropy of the predicted tokens, in nats, before the step."""
    gradient_norm: jax.Array
    """Before clipping."""


Step = Callable[[TrainingState, Batch], tuple[TrainingState, Measured]]


def bert_config(
    *, vocab_size: int, layers: int, width: int, neurons: int, heads: int, context_length: int
) -> ModelConfig:
    """A BERT of these sizes, its output embedding tied to the input's.

    Raises:
        ValueError: a size is no positive integer, or the heads do not divide the width.
    """
    settings = {
        "model_type": "bert",
        "vocab_size": vocab_size,
        "num_hidden_layers": layers,
        "hidden_size": width,
        "intermediate_size": neurons,
        "num_attention_heads": heads,
        "max_position_embeddings": context_length,
    }
    return FAMILIES["bert"].config_from_hf(settings, "the model to train")


def initial_parameters(config: ModelConfig, seed: int) -> Parameters:
    """BERT's beginning: weights normal with a deviation of 0.02, norms 1, biases 0; float32."""
    key = jax.random.key(seed)
    params = {}
    for number, (name, leaf) in enumerate(_named(abstract_model(config, jnp.dtype("float32"))[1])):
        if name.endswith(".scale"):
            params[name] = jnp.ones(leaf.shape, leaf.dtype)
        elif name.endswith(".bias"):
            params[name] = jnp.zeros(leaf.shape, leaf.dtype)
        else:
            drawn = jax.random.normal(jax.random.fold_in(key, number), leaf.shape, leaf.dtype)
            params[name] = drawn * INITIAL_STD
    return params


def schedule(recipe: Recipe) -> optax.Schedule:
    """Learning rate of each step, from 0."""
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=recipe.learning_rate,
        warmup_steps=recipe.warmup,
        decay_steps=recipe.steps,
    )


def optimizer(recipe: Recipe) -> optax.GradientTransformation:
    """Clipping by the global norm, then AdamW."""
    return optax.chain(
        optax.clip_by_global_norm(recipe.clip),
        optax.adamw(
            schedule(recipe),
            b1=recipe.beta1,
            b2=recipe.beta2,
            eps=recipe.epsilon,
            weight_decay=recipe.weight_decay,
            mask=_decayed,
        ),
    )


def initial_state(config: ModelConfig, recipe: Recipe, seed: int) -> TrainingState:
    """The state before step 0."""
    params = initial_parameters(config, seed)
    return TrainingState(params, optimizer(recipe).init(params))


def masked_loss(config: ModelConfig, params: Parameters, batch: Batch) -> jax.Array:
    """Mean cross-entropy of the batch's predicted tokens, in nats.

    Logits are made at the M positions to predict alone, [P, M, V].
    """
    model = _model(config, params)
    rows, size = batch.tokens.shape
    positions = jnp.broadcast_to(jnp.arange(size), (rows, size))
    suffix = Suffix(
        tokens=jnp.asarray(batch.tokens),
        positions=positions,
        mask=jnp.asarray(batch.mask),
        read=jnp.zeros(rows, jnp.int32),
        at=jnp.zeros((rows, 1), jnp.int32),
    )
    resid = run(model, None, None, suffix).resid[:, 0]
    logits = model.logits(jnp.take_along_axis(resid, batch.at[..., None], axis=1))
    entropy = optax.softmax_cross_entropy_with_integer_labels(logits, batch.target)
    return (entropy * batch.weight).sum() / batch.weight.sum()


def training_step(config: ModelConfig, recipe: Recipe) -> Step:
    """One step as a compiled function; it takes the state's memory over."""
    update = optimizer(recipe)

    def step(state: TrainingState, batch: Batch) -> tuple[TrainingState, Measured]:
        with jax.default_matmul_precision(PRECISION):
            loss, gradient = jax.value_and_grad(masked_loss, argnums=1)(config, state.params, batch)
        updates, optimizer_state = update.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        measured = Measured(loss, optax.tree.norm(gradient))
        return TrainingState(params, optimizer_state), measured

    return jax.jit(step, donate_argnums=0)


def step_flops(config: ModelConfig, rows: int, length: int, predicted: int) -> int:
    """Multiplications and additions of a step's matrix products: P rows of S tokens, M predicted.

    A forward product of m × k × n takes 2mkn; its two derivatives as much each.
    """
    d, f, v = config.width, config.neurons, config.vocab_size
    block = 4 * d * d + 2 * d * f + 2 * length * d
    head = d * d + d * v
    return 6 * rows * (length * config.layers * block + predicted * head)


def trained_model(
    config: ModelConfig,
    params: Parameters,
    tokenizer: transformers.BertTokenizer,
    *,
    name: str,
    dtype: str,
) -> LanguageModel:
    """The parameters as a language model with weights rounded to `dtype`."""
    state = _as_state(config, {key: value.astype(dtype) for key, value in params.items()})
    return LanguageModel(
        name=name,
        config=config,
        graphdef=abstract_model(config, jnp.dtype(dtype))[0],
        params=state,
        tokenizer=tokenizer,
        fingerprint=fingerprint(state),
    )


def _decayed(params: Parameters) -> dict[str, bool]:
    return {name: not name.endswith((".bias", ".scale")) for name in params}


def _model(config: ModelConfig, params: Parameters) -> Transformer:
    dtype = next(iter(params.values())).dtype
    return nnx.merge(abstract_model(config, dtype)[0], _as_state(config, params))


def _as_state(config: ModelConfig, params: Parameters) -> nnx.State:
    abstract = abstract_model(config, next(iter(params.values())).dtype)[1]
    return nnx.from_flat_state(
        [
            (key, leaf.replace(params[".".join(map(str, key))]))
            for key, leaf in nnx.to_flat_state(abstract)
        ]
    )


def _named(state: nnx.State) -> list[tuple[str, jax.ShapeDtypeStruct]]:
    return [(".".join(map(str, key)), leaf.get_value()) for key, leaf in nnx.to_flat_state(state)]
