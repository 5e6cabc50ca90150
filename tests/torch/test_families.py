"""Every family against PyTorch itself: logits, gradients at every site, exported models."""

import dataclasses
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import save_file

import negjax
from negjax.model.language_model import LanguageModel
from negjax.storage.given_files import read_json
from negjax.weights import saving as export
from negjax.weights.families import family_of
from tests.support.family_logits import CASES, FOLDER, stored_model
from tests.support.reference import reference_logits
from tests.support.tiny_models import tokenizer

LENGTHS = (20, 9, 14)
MASK_ID = 3
# Models that count as positions the tokens that are not for padding, from the one after its id.
COUNTING = ("roberta", "xlm-roberta", "camembert")
TARGETS = np.asarray([[5, 9], [60, 2], [33, 34]])


def pytorch_model(folder: Path) -> Any:
    raw = read_json(folder / "config.json")
    masked = not family_of(raw["model_type"], str(folder)).config_from_hf(raw, str(folder)).causal
    automatic = transformers.AutoModelForMaskedLM if masked else transformers.AutoModelForCausalLM
    return automatic.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager"
    ).eval()


@pytest.fixture(params=CASES)
def pair(request: pytest.FixtureRequest) -> tuple[LanguageModel, Any]:
    """The same weights in negjax and in PyTorch."""
    return stored_model(request.param, "float32"), pytorch_model(FOLDER / request.param)


def batch(lm: LanguageModel, left: bool) -> negjax.Probes:
    """Random tokens, padded left or right; a masked LM reads the second, which is its mask."""
    generator = np.random.default_rng(1)
    width = max(LENGTHS)
    tokens = np.zeros((len(LENGTHS), width), np.int32)
    mask = np.zeros(tokens.shape, bool)
    for row, length in enumerate(LENGTHS):
        place = slice(width - length, width) if left else slice(0, length)
        tokens[row, place] = generator.integers(2, lm.config.vocab_size, length)
        mask[row, place] = True
    first = mask.argmax(1)
    read = first + np.asarray(LENGTHS) - 1 if lm.config.causal else first + 1
    if not lm.config.causal:
        tokens[tokens == MASK_ID] += 1
        tokens[np.arange(len(LENGTHS)), read] = MASK_ID
    target_ids = TARGETS[..., None].astype(np.int32)
    return negjax.Probes(
        prompts=("",) * len(LENGTHS),
        targets=(("", ""),) * len(LENGTHS),
        tokens=tokens,
        mask=mask,
        read=read,
        target_ids=target_ids,
        target_mask=np.ones(target_ids.shape, bool),
        mask_id=None if lm.config.causal else MASK_ID,
    )


def saved_bert(
    folder: Path, tied: bool, without: tuple[str, ...]
) -> tuple[Any, dict[str, torch.Tensor]]:
    """A BERT as PyTorch loads it from a folder that lacks some weights; all weights, different."""
    generator = torch.Generator().manual_seed(1)
    config = transformers.BertConfig(
        vocab_size=24,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=24,
        max_position_embeddings=32,
        tie_word_embeddings=False,
    )
    weights = transformers.BertForMaskedLM(config).state_dict()
    tensors = {
        name: torch.randn(weight.shape, generator=generator) for name, weight in weights.items()
    }
    config.tie_word_embeddings, config.architectures = tied, ["BertForMaskedLM"]
    config.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    kept = {name: tensor for name, tensor in tensors.items() if name not in without}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    return pytorch_model(folder), tensors


BIAS, DECODER = "cls.predictions.bias", "cls.predictions.decoder"


@pytest.mark.parametrize(
    ("tied", "without"),
    [
        (False, ()),
        (False, (BIAS,)),
        (True, (f"{DECODER}.weight", f"{DECODER}.bias")),
        (True, (f"{DECODER}.weight", BIAS)),
        (True, ("bert.embeddings.word_embeddings.weight", BIAS)),
    ],
)
def test_biases_and_embeddings_of_berts_tied_or_not(
    tmp_path: Path, tied: bool, without: tuple[str, ...]
) -> None:
    model, _ = saved_bert(tmp_path, tied, without)
    assert_same_logits(negjax.load(tmp_path), model)
    exported = export.save_pretrained(negjax.load(tmp_path), tmp_path / "exported")
    assert_same_logits(negjax.load(tmp_path), pytorch_model(exported))


def test_an_untied_bert_of_an_older_version_has_one_bias(tmp_path: Path) -> None:
    """Newer ones would make up the decoder's; the older tied it to the one that is in the file."""
    model, tensors = saved_bert(tmp_path, False, (f"{DECODER}.bias",))
    with torch.no_grad():
        model.cls.predictions.decoder.bias.copy_(tensors[BIAS])
    assert_same_logits(negjax.load(tmp_path), model)


def assert_same_logits(lm: LanguageModel, model: Any) -> None:
    tokens = np.random.default_rng(3).integers(0, lm.config.vocab_size, (2, 9)).astype(np.int32)
    ours = reference_logits(lm.graphdef, lm.params, jnp.asarray(tokens), jnp.ones((2, 9), bool))
    with torch.no_grad():
        theirs = model(input_ids=torch.tensor(tokens)).logits.numpy()
    assert np.abs(np.asarray(ours) - theirs).max() < 1e-5 * np.abs(theirs).max()


# The layers of a model with plain feed-forward layers, and what reads the activations.
PLAIN = {
    "gpt2": ("transformer.h", "mlp.c_proj"),
    "gptj": ("transformer.h", "mlp.fc_out"),
    "gpt_neox": ("gpt_neox.layers", "mlp.dense_4h_to_h"),
    "opt": ("model.decoder.layers", "fc2"),
    "phi": ("model.layers", "mlp.fc2"),
    "bert": ("bert.encoder.layer", "output.dense"),
    "distilbert": ("distilbert.transformer.layer", "ffn.lin2"),
} | dict.fromkeys(COUNTING, ("roberta.encoder.layer", "output.dense"))

# What makes `up`, in its last entries, and what reads the product, where one map makes gate and up.
GATED = {
    "modernbert": ("mlp.Wi", "mlp.Wo"),
    "phi3": ("mlp.gate_up_proj", "mlp.down_proj"),
}


def watched(model: Any, site: str) -> list[tuple[Any, bool]]:
    """The module that reads (True) or makes (False) each layer's activations at a site."""
    if hasattr(model.config, "num_experts_per_tok"):
        return [(watched_experts(layer.mlp.experts)[site], True) for layer in model.model.layers]
    if site in ("up", "product"):
        names = GATED.get(model.config.model_type, ("mlp.up_proj", "mlp.down_proj"))
        name = names[("up", "product").index(site)]
        return [(layer.get_submodule(name), site == "product") for layer in model.model.layers]
    layers, down = PLAIN[model.config.model_type]
    return [(layer.get_submodule(down), True) for layer in model.get_submodule(layers)]


def watched_experts(experts: Any) -> dict[str, torch.nn.Module]:
    """Modules through which all experts' activations go, 0 where a token does not pass them.

    PyTorch runs an expert on its tokens alone; here every one runs on all, and the router's weights
    decide what counts.
    """
    sites = {"up": torch.nn.Identity(), "product": torch.nn.Identity()}

    def forward(x: torch.Tensor, chosen: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        one_hot = torch.nn.functional.one_hot(chosen, experts.num_experts)
        passes, share = one_hot.sum(1) > 0, (one_hot * weights[..., None]).sum(1)
        gate, up = torch.einsum("td,eid->tei", x, experts.gate_up_proj).chunk(2, dim=-1)
        up = sites["up"](torch.where(passes[..., None], up, 0).flatten(1)).view_as(up)
        product = torch.where(passes[..., None], experts.act_fn(gate) * up, 0).flatten(1)
        product = sites["product"](product).view_as(up)
        return torch.einsum("tei,edi,te->td", product, experts.down_proj, share)

    experts.forward = forward
    return sites


@pytest.mark.parametrize("left", [False, True])
def test_padded_logits(pair: tuple[LanguageModel, Any], left: bool) -> None:
    lm, model = pair
    probes = batch(lm, left)
    mask = torch.tensor(probes.mask)
    counting = model.config.model_type in COUNTING
    first = model.config.pad_token_id + 1 if counting else 0
    with torch.no_grad():
        # Without them, transformers numbers positions from the first column, padding or not.
        theirs = model(
            input_ids=torch.tensor(probes.tokens),
            attention_mask=mask.long(),
            position_ids=(mask.cumsum(1) - 1).clamp(min=0) + first,
        ).logits.numpy()
    ours = reference_logits(
        lm.graphdef, lm.params, jnp.asarray(probes.tokens), jnp.asarray(probes.mask)
    )
    difference = np.abs(np.asarray(ours) - theirs)[probes.mask].max()
    assert difference < 1e-5 * np.abs(theirs[probes.mask]).max()


def test_gradients_at_every_site(pair: tuple[LanguageModel, Any]) -> None:
    lm, model = pair
    probes = batch(lm, left=False)
    for site in lm.config.sites:
        found = negjax.neurgrad(lm, probes, site)
        for row, length in enumerate(LENGTHS):
            kept: list[torch.Tensor] = []

            def keep(module: Any, *values: Any, kept: list[torch.Tensor] = kept) -> None:
                value = values[-1][0] if isinstance(values[-1], tuple) else values[-1]
                kept.append(value)

            hooks = [
                module.register_forward_pre_hook(keep)
                if before
                else module.register_forward_hook(keep)
                for module, before in watched(model, site)
            ]
            logits = model(input_ids=torch.tensor(probes.tokens[row : row + 1, :length])).logits
            for hook in hooks:
                hook.remove()
            read = int(probes.read[row])

            def at(value: torch.Tensor, read: int = read) -> torch.Tensor:
                # Some layers do without the axis of the batch, which is 1.
                return value.reshape(-1, value.shape[-1])[read, -lm.config.neurons :]

            probability = logits[0, read].softmax(-1)
            for k, target in enumerate(TARGETS[row]):
                gradients = torch.autograd.grad(probability[target], kept, retain_graph=True)
                theirs = torch.stack([at(g) for g in gradients]).numpy()
                scale = np.abs(theirs).max()
                assert np.abs(found.computed[row, k] - theirs).max() < 2e-5 * scale
                assert abs(found.probability[row, k] - probability[target].item()) < 1e-6
            activations = torch.stack([at(value) for value in kept]).detach().numpy()
            scale = np.abs(activations).max()
            assert np.abs(found.activation[row] - activations).max() < 1e-5 * scale


def test_targets_of_several_tokens(pair: tuple[LanguageModel, Any]) -> None:
    """Their joint probability and its gradients at the read position; causal models alone."""
    lm, model = pair
    if not lm.config.causal:
        return
    one = batch(lm, left=False)
    ids = np.random.default_rng(5).integers(2, lm.config.vocab_size, (len(LENGTHS), 1, 3))
    probes = dataclasses.replace(
        one,
        targets=(("",),) * len(LENGTHS),
        target_ids=ids.astype(np.int32),
        target_mask=np.ones(ids.shape, bool),
        target_mode="all",
    )
    site = lm.config.sites[-1]
    found = negjax.neurgrad(lm, probes, site)
    for row, length in enumerate(LENGTHS):
        tokens = np.concatenate([probes.tokens[row, :length], ids[row, 0, :-1]])
        kept: list[torch.Tensor] = []
        hooks = [
            module.register_forward_pre_hook(lambda _, values, kept=kept: kept.append(values[0]))
            for module, before in watched(model, site)
            if before
        ]
        logits = model(input_ids=torch.tensor(tokens[None])).logits[0, length - 1 :]
        for hook in hooks:
            hook.remove()
        log_p = logits.log_softmax(-1)[torch.arange(3), torch.tensor(ids[row, 0])].sum()
        gradients = torch.autograd.grad(log_p.exp(), kept)
        # Some models leave the axis of the prompts out.
        rows = [g.reshape(-1, g.shape[-1])[length - 1] for g in gradients]
        theirs = torch.stack(rows).numpy()
        # Of each of three log-probabilities a logit and the sum's logarithm are rounded.
        rounding = 3 * 2 * 1e-5 * logits.abs().max().item()
        assert abs(np.log(found.probability[row, 0]) - log_p.item()) < rounding
        scale = np.abs(theirs).max()
        assert np.abs(found.computed[row, 0] - theirs).max() < (2e-5 + rounding) * scale


def test_exported_models_load_in_transformers(
    pair: tuple[LanguageModel, Any], tmp_path: Path
) -> None:
    lm, model = pair
    exported = pytorch_model(export.save_pretrained(lm, tmp_path / "model"))
    tokens = torch.tensor(batch(lm, left=False).tokens[:1])
    with torch.no_grad():
        ours, theirs = exported(input_ids=tokens).logits, model(input_ids=tokens).logits
    assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()
    weights = model.state_dict()
    # A second bias, of which PyTorch makes no use.
    table = family_of(lm.config.family, lm.name).table(lm.config)
    for name, original in table.stand_ins:
        weights[name] = weights[original]
    assert exported.state_dict().keys() == weights.keys()
    for name, weight in exported.state_dict().items():
        assert torch.equal(weight, weights[name]), name
