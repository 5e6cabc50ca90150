"""Models that negjax trained, as transformers' `BertForMaskedLM` computes them."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

import negjax
from experiments.pretrain_bert import batches, training, vocabulary
from negjax.model.language_model import LanguageModel
from negjax.weights import loading
from negjax.weights.saving import save_pretrained
from tests.support.made_up_facts import facts
from tests.support.reference import reference_logits


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model after a few steps, exported with bfloat16 weights."""
    tokenizer = vocabulary.wordpiece_tokenizer(vocabulary.train_vocabulary(facts(), 300), 24)
    config = training.bert_config(
        vocab_size=len(tokenizer), layers=2, width=16, neurons=32, heads=2, context_length=24
    )
    recipe = training.Recipe(20, learning_rate=0.05, warmup=1, weight_decay=0.01, clip=1.0)
    texts = batches.encode_statements(facts(), tokenizer, 24)
    state, step = training.initial_state(config, recipe, 0), training.training_step(config, recipe)
    iterator = batches.batches_from(texts, batches.BatchPlan(0, 240, 0.5), 0)
    for _ in range(20):
        state, _ = step(state, next(iterator))
    lm = training.trained_model(config, state.params, tokenizer, name="", dtype="bfloat16")
    return save_pretrained(lm, tmp_path_factory.mktemp("trained"))


def assert_same_logits(directory: Path, lm: LanguageModel, prompts: list[str]) -> None:
    """Of all tokens of a padded batch, tokenised by transformers' own tokenizer."""
    model = transformers.BertForMaskedLM.from_pretrained(directory, dtype=torch.float32).eval()
    tokenizer = transformers.BertTokenizer.from_pretrained(directory)
    encoded = tokenizer(prompts, padding=True, return_tensors="pt")
    for prompt, row in zip(prompts, encoded["input_ids"].tolist(), strict=True):
        own = lm.tokenizer(prompt)["input_ids"]
        assert row[: len(own)] == own
    with torch.no_grad():
        theirs = model(**encoded).logits.numpy()
    mask = encoded["attention_mask"].numpy().astype(bool)
    tokens = jnp.asarray(encoded["input_ids"].numpy())
    ours = np.asarray(reference_logits(lm.graphdef, lm.params, tokens, jnp.asarray(mask)))
    assert np.abs(ours - theirs)[mask].max() < 1e-5 * np.abs(theirs[mask]).max()
    # What negjax measures with is the same model.
    probes = negjax.encode(lm, prompts, [lm.tokenizer.convert_ids_to_tokens(9)] * len(prompts))
    found = negjax.neurgrad(lm, probes).probability[:, 0]
    rows = np.arange(len(prompts))
    expected = (
        torch.tensor(theirs[rows, probes.read])
        .softmax(-1)
        .numpy()[rows, probes.target_ids[:, 0, 0]]
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_trained_model(trained: Path) -> None:
    assert_same_logits(trained, negjax.load(trained), [s.masked for s in facts()[:6]])


def test_the_shipped_model() -> None:
    prompts = list(negjax.read_facts("facts-bert").prompts[:40])
    assert_same_logits(loading.facts_bert_directory(), negjax.load("facts-bert"), prompts)
