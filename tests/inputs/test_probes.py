"""`encode`: the token that really follows, read positions, and every refusal by its message."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from negjax.inputs.encoding import encode
from negjax.inputs.tables import read_facts
from tests.support.block_shapes import JOINT_TARGETS, VOCABULARY, tiny, tiny_probes

FRENCH = "Q: What language is spoken in Paris?\nA:"


def ids(text: str) -> list[int]:
    return [VOCABULARY.index(word) for word in text.split()]


# ---- The embedded model's tokenizer.


def test_the_token_that_really_follows(smollm2):
    probes = encode(smollm2, [FRENCH], ["French"])
    [[[target]]] = probes.target_ids
    assert smollm2.tokenizer.decode([target]) == " French"
    alone = encode(smollm2, [FRENCH], ["French"], target_mode="alone")
    assert smollm2.tokenizer.decode(alone.target_ids[0, 0]) == "French"
    assert alone.target_ids[0, 0, 0] != target
    # Followed without a separator, it is the token that was asked for when tokenised alone.
    joined = encode(smollm2, [FRENCH], ["French"], separator="")
    assert joined.target_ids.tolist() == alone.target_ids.tolist()
    np.testing.assert_array_equal(joined.tokens, probes.tokens)


def test_white_space_between_is_not_doubled(smollm2):
    expected = encode(smollm2, [FRENCH], ["French"])
    blank = encode(smollm2, [FRENCH], [" French"])
    assert blank.target_ids.tolist() == expected.target_ids.tolist()
    line = encode(smollm2, [FRENCH + "\n"], ["French"])
    assert smollm2.tokenizer.decode(line.target_ids[0, 0]) == "French"


def test_every_shipped_fact_is_one_token(smollm2):
    facts = read_facts()
    probes = encode(smollm2, facts.prompts, facts.answers)
    assert probes.target_ids.shape == (len(facts.prompts), 1, 1)
    assert probes.target_mask.all()
    for answer, [[index]] in zip(facts.answers, probes.target_ids, strict=True):
        assert smollm2.tokenizer.decode([index]) == f" {answer}"


def test_a_merging_prompt_is_refused(smollm2):
    with pytest.raises(ValueError, match=r"prompt 1 does not keep its last tokens when 'French'"):
        encode(smollm2, [FRENCH, FRENCH + " "], ["French", "French"])
    with pytest.raises(ValueError, match=r"prompt 0 does not keep .* 'is' .*' Par' merges with it"):
        encode(smollm2, ["The capital of France is Par"], ["is"], separator="")


def test_several_tokens_are_named(smollm2):
    message = (
        r"target '1789' of prompt 0 is \d tokens \[' ', '1', '7', '8', '9'\]; pass target_mode"
    )
    with pytest.raises(ValueError, match=message):
        encode(smollm2, ["The French Revolution began in"], ["1789"])


# ---- Arrays.


def test_a_causal_prompt_is_read_at_its_last_token():
    lm = tiny("gated")
    probes = tiny_probes(lm)
    assert probes.read.tolist() == [4, 5, 7]
    assert probes.mask.sum(1).tolist() == [5, 6, 8]
    assert probes.tokens[0].tolist() == [*ids("w3 w5 w7 w9 w4"), 0, 0, 0]
    assert probes.target_ids[1].tolist() == [ids("w16"), ids("w17")]
    assert (len(probes), probes.target_count, probes.target_mode) == (3, 2, "single")


def test_a_masked_prompt_is_read_at_its_mask():
    probes = tiny_probes(tiny("bert"))
    assert probes.read.tolist() == [2, 0, 7]
    assert probes.tokens[0, :5].tolist() == ids("w3 w5 [MASK] w9 w4")


def test_joint_targets_keep_all_their_tokens():
    probes = tiny_probes(tiny("gated"), JOINT_TARGETS, "all")
    assert probes.target_ids[0].tolist() == [[*ids("w11 w3"), 0], [*ids("w15"), 0, 0]]
    assert probes.target_mask[1].tolist() == [[True] * 3, [True, True, False]]


@pytest.mark.parametrize("shape", ["gated", "bert"])
def test_first_keeps_one_token(shape):
    lm = tiny(shape)
    probes = tiny_probes(lm, JOINT_TARGETS, "first")
    assert probes.target_ids[1].tolist() == [ids("w16"), ids("w2")]
    assert probes.target_mask.all() and probes.target_mode == "first"


def test_columns_of_a_table_are_prompts_and_targets():
    lm = tiny("gated")
    columns: list[Any] = [np.asarray(["w3", "w4 w6"]), np.asarray(["w5", "w7"], object)]
    found = encode(lm, *columns)
    listed = encode(lm, ["w3", "w4 w6"], ["w5", "w7"])
    np.testing.assert_array_equal(found.tokens, listed.tokens)
    np.testing.assert_array_equal(found.target_ids, listed.target_ids)


def test_selection_keeps_order():
    probes = tiny_probes(tiny("gated"))
    some = probes.select([2, 0, 2])
    assert some.prompts == tuple(probes.prompts[i] for i in (2, 0, 2))
    assert some.targets[1] == probes.targets[0]
    for name in ("tokens", "mask", "read", "target_ids", "target_mask"):
        np.testing.assert_array_equal(getattr(some, name), getattr(probes, name)[[2, 0, 2]])


# ---- What is refused.

LONG = " ".join(["w3"] * 33)


@pytest.mark.parametrize(
    ("prompts", "targets", "options", "message"),
    [
        (["w3", ""], ["w4", "w4"], {}, r"prompt 1 is empty: ''; expected text"),
        ([" \n"], ["w4"], {}, r"prompt 0 is empty: ' \\n'"),
        ([None], ["w4"], {}, r"^prompts\[0\] is None, expected text, token ids or chat messages$"),
        (["w3", "w3"], ["w4", " "], {}, r"target ' ' of prompt 1 is empty"),
        (["w3"], [["w4", ""]], {}, r"target '' of prompt 0 is empty"),
        (["w3"], [[None]], {}, r"^targets\[0\]\[0\] is None, expected text or token ids$"),
        (
            ["w3"],
            ["w4 w5"],
            {},
            r"'w4 w5' of prompt 0 is 2 tokens \['w4', 'w5'\]; pass target_mode",
        ),
        (["w3"], ["w4 w5"], {"target_mode": "alone"}, r"'w4 w5' of prompt 0 is 2 tokens"),
        (
            [LONG],
            ["w4"],
            {},
            r"prompt 0 is 33 tokens with its target, .* context holds 32; shorten",
        ),
        ([LONG[3:]], ["w4 w5"], {"target_mode": "all"}, r"prompt 0 is 33 tokens with its target"),
        (["w3", "w3 x"], ["w4", "w4"], {}, r"prompt 1 \('w3 x'\) holds text .* not know \(\[UNK\]"),
        (["w3"], ["y"], {}, r"target 'y' of prompt 0 holds text that the vocabulary does not know"),
        (["w3", "w5"], ["w4"], {}, r"2 prompts but 1 targets: expected one each"),
        ([], [], {}, r"no prompts: expected at least one"),
        (["w3", "w5"], ["w4", ["w4", "w6"]], {}, r"targets a prompt: \[1, 2\]; expected the same"),
        (["w3"], [[]], {}, r"targets a prompt: \[0\]; expected the same number, 1 or more"),
        ("w3", ["w4"], {}, r"^prompts is 'w3', expected a list of prompts \(one is \[prompt\]\)"),
        (
            ["w3"],
            "w4",
            {},
            r"^targets is 'w4', expected a list of texts, of token ids, or of lists of these: ",
        ),
        (["w3"], ["w4"], {"target_mode": "last"}, r"target_mode is 'last', expected one of"),
    ],
)
def test_refused(prompts, targets, options, message):
    with pytest.raises(ValueError, match=message):
        encode(tiny("gated"), prompts, targets, **options)


def test_prompts_may_fill_the_context():
    lm = tiny("gated")
    full = LONG[3:]
    assert encode(lm, [full], ["w4"]).mask.sum() == 32
    # The last token of a target is never fed to the model.
    assert encode(lm, [full[3:]], ["w4 w5"], target_mode="all").target_mask.sum() == 2
    assert encode(lm, [full], ["w4 w5"], target_mode="first").target_mask.sum() == 1
    assert encode(tiny("bert"), [full[3:] + " [MASK]"], ["w4"]).mask.sum() == 32


def test_an_unknown_token_that_is_meant_is_kept():
    assert encode(tiny("gated"), ["w3 [UNK]"], ["w4"]).tokens.tolist() == [ids("w3 [UNK]")]


@pytest.mark.parametrize(
    ("prompt", "target", "options", "message"),
    [
        (
            "w3 w4",
            "w5",
            {},
            r"prompt 0 has 0 times \[MASK\]: 'w3 w4'; a masked LM reads exactly one",
        ),
        ("[MASK] w4 [MASK]", "w5", {}, r"prompt 0 has 2 times \[MASK\]"),
        ("[MASK] w4", "w5 w6", {}, r"'w5 w6' of prompt 0 is 2 tokens"),
        (
            "[MASK] w4",
            "w5 w6",
            {"target_mode": "all"},
            r'"all" needs a causal LM, since one \[MASK\] holds one',
        ),
        ("[MASK] w4", "y", {}, r"target 'y' of prompt 0 holds text"),
        (
            "[MASK]w4",
            "w5",
            {},
            r"target 'w5' of prompt 0 merges with the words beside \[MASK\]",
        ),
        (LONG[3:] + " [MASK]", "w5", {}, r"prompt 0 is 33 tokens with its target"),
    ],
)
def test_masked_prompts_refused(prompt, target, options, message):
    with pytest.raises(ValueError, match=message):
        encode(tiny("bert"), [prompt], [target], **options)


def test_a_masked_model_needs_a_mask_token():
    lm = tiny("bert")
    tokenizer = type(lm.tokenizer)(tokenizer_object=lm.tokenizer.backend_tokenizer)
    with pytest.raises(
        ValueError, match=r"the tokenizer has no mask token, but the model is a mas"
    ):
        encode(dataclasses.replace(lm, tokenizer=tokenizer), ["w3 [MASK]"], ["w4"])


def test_any_spelling_of_the_mask_token():
    """Prompts write [MASK] whatever the tokenizer's own mask token is."""
    lm = tiny("bert")
    tokenizer = type(lm.tokenizer)(
        tokenizer_object=lm.tokenizer.backend_tokenizer, unk_token="[UNK]", mask_token="w23"
    )
    other = dataclasses.replace(lm, tokenizer=tokenizer)
    found = encode(other, ["w3 [MASK] w5", "w3 w23 w5"], ["w4", "w4"])
    assert found.tokens.tolist() == [ids("w3 w23 w5")] * 2
    assert found.read.tolist() == [1, 1]
    with pytest.raises(ValueError, match=r"prompt 0 has 2 times \[MASK\]"):
        encode(other, ["w23 [MASK]"], ["w4"])
