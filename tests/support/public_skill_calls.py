"""Every function of `negjax.skills` and `negjax.mceval8k`, with arguments that it takes."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import negjax
from negjax import mceval8k, skills
from tests.support.few_shot import HEAD, probes_of
from tests.support.made_up_mceval8k import write_task
from tests.support.odd_values import these
from tests.support.public_calls import NONE, SEED, TRUTH, Call, lm

SCORES = np.random.default_rng(0).normal(size=(12, 3, 20)).astype(np.float32)
GOLD = np.arange(12) % 3
CODES = np.asarray(skills.encode_scores(SCORES))
VOTES = np.asarray(skills.polar_votes(SCORES, GOLD))
ACTIVATIONS = np.ascontiguousarray(SCORES[:, 0])
PROBABILITIES = np.abs(SCORES[..., 0])


def probe_calls() -> dict[str, Call]:
    """Of `negjax.skills`, on arrays."""
    scores = {"scores": SCORES, "gold": GOLD}
    ranking = skills.rank_neurons(VOTES)
    many = {"rule": skills.POLAR, "ranking": ranking, "codes": CODES, "labels": 3}
    polar = skills.Polar(k=4).fit(SCORES, GOLD)
    act = skills.Act(k=2).fit(ACTIVATIONS, GOLD)
    tree = skills.Tree(trees=2).fit(SCORES, GOLD)
    path = skills.Linear(stages=1).path(lambda: [(SCORES, GOLD)], 3)

    def fitted(kind: Any, *settings: str) -> Callable[..., Any]:
        return lambda **given: kind(**{name: given.pop(name) for name in settings}).fit(**given)

    return {
        **{
            kind.__name__: Call(
                fitted(kind, "k", "variant", "skip"),
                {"k": 4, "variant": "both", "skip": 0, **scores},
            )
            for kind in (skills.Polar, skills.Magn)
        },
        "Random": Call(
            fitted(skills.Random, "k", "seed"), {"k": 4, "seed": 0, **scores}, {"seed": SEED}
        ),
        "Act": Call(
            fitted(skills.Act, "k"),
            {"k": 4, "activations": ACTIVATIONS, "gold": GOLD, "labels": 3},
            {"labels": NONE},
            {"activations": "gold"},
        ),
        "Act.fit_batches": Call(
            skills.Act(4).fit_batches,
            {"batches": lambda: [(ACTIVATIONS, GOLD)], "labels": 3},
            {"batches": these("function")},
        ),
        "Tree": Call(
            fitted(skills.Tree, "trees", "depth", "seed", "jobs"),
            {"trees": 1, "depth": 2, "seed": 0, "jobs": 1, **scores},
            {"depth": NONE},
        ),
        "Tree.fit_activations": Call(
            skills.Tree(trees=1).fit_activations,
            {"activations": ACTIVATIONS, "gold": GOLD, "labels": 3},
            {"labels": NONE},
            {"activations": "gold"},
        ),
        "Tree.fit_features": Call(
            skills.Tree(trees=1).fit_features,
            {"features": skills.score_features(SCORES), "gold": GOLD, "labels": 3},
        ),
        "Linear": Call(
            fitted(skills.Linear, "l1", "l2", "stages", "weakest", "tolerance", "budget_bytes"),
            {
                "l1": 1.0,
                "l2": 1.0,
                "stages": 1,
                "weakest": 0.5,
                "tolerance": 0.1,
                "budget_bytes": 2**20,
                **scores,
                "valid": None,
            },
            {
                "l1": these("half", "huge", "array without axes"),
                "l2": these("half", "huge", "array without axes"),
                "valid": NONE,
            },
        ),
        "Linear.path": Call(
            skills.Linear(stages=1).path,
            {"batches": lambda: [(SCORES, GOLD)], "labels": 3},
            {"batches": these("function")},
        ),
        "choose": Call(
            skills.choose,
            {"path": path, "batches": [(SCORES, GOLD)]},
            # Without batches nothing is right: of ties, the strongest penalty's.
            {"batches": these("empty list", "mapping")},
            {"batches": "scores"},
        ),
        "LMProb": Call(
            fitted(skills.LMProb),
            {"probabilities": PROBABILITIES, "gold": GOLD},
            blames={"probabilities": "gold"},
        ),
        "Majority": Call(
            fitted(skills.Majority),
            {"values": SCORES, "gold": GOLD, "labels": 3},
            {"labels": NONE},
            # Only the length of values counts.
            {"values": "gold"},
        ),
        **{
            f"{name}.from_votes": Call(kind(k=4).from_votes, {"votes": VOTES, "labels": 3})
            for name, kind in (("Polar", skills.Polar), ("Random", skills.Random))
        },
        "predict": Call(polar.predict, {"scores": SCORES}),
        "votes": Call(polar.votes, {"scores": SCORES}),
        "predict_codes": Call(polar.predict_codes, {"codes": CODES}),
        "ActProbe.predict": Call(act.predict, {"activations": ACTIVATIONS}),
        "ActProbe.first": Call(act.first, {"k": 1}),
        "ForestProbe.predict_codes": Call(
            tree.predict_codes, {"codes": CODES, "trees": 1}, {"trees": NONE}
        ),
        "explain": Call(
            skills.explain,
            {"probe": polar, "shape": (2, 10), "item": SCORES[0]},
            {"item": NONE},
        ),
        "score_features": Call(skills.score_features, {"scores": SCORES}),
        "encode_scores": Call(skills.encode_scores, {"scores": SCORES}),
        "decode_scores": Call(skills.decode_scores, {"codes": CODES, "labels": 3}),
        "code_dtype": Call(skills.code_dtype, {"labels": 3}),
        **{
            name: Call(getattr(skills, name), {**scores, "counted": None}, {"counted": NONE})
            for name in ("polar_votes", "magn_votes")
        },
        "rank_neurons": Call(
            skills.rank_neurons, {"votes": VOTES, "variant": "both", "count": 3}, {"count": NONE}
        ),
        "random_ranking": Call(
            skills.random_ranking,
            {"votes": VOTES, "seed": 0, "count": 3},
            {"seed": SEED, "count": NONE},
        ),
        "predict_by_neurons": Call(skills.predict_by_neurons, {**many, "counts": [1, 2]}),
        "predict_by_set": Call(skills.predict_by_set, {**many, "size": 2}),
        "votes_by_prompts": Call(
            skills.votes_by_prompts,
            {"rule": skills.POLAR, "counts": [3], "batches": [(CODES, GOLD)], "labels": 3},
            blames={"batches": "codes"},
        ),
        "share_right": Call(skills.share_right, {"predicted": GOLD, "gold": GOLD}),
        "bootstrap_interval": Call(
            skills.bootstrap_interval,
            {"predicted": GOLD, "gold": GOLD, "level": 0.5, "draws": 10, "seed": 0},
            {"seed": SEED},
        ),
        "jaccard": Call(skills.jaccard, {"one": [1, 2], "other": [2, 3]}),
        "chance_jaccard": Call(skills.chance_jaccard, {"k": 2, "total": 9, "level": 0.9}),
    }


@functools.cache
def features(folder: Path) -> skills.Features:
    few = probes_of([(*HEAD, 4), (*HEAD, 5), (*HEAD, 6)])
    return skills.extract(folder, lm(), few, [0, 1, 2], activations=True)


def stored(folder: Path) -> dict[str, Call]:
    """Of `negjax.skills`, on files, and the streams behind them."""
    few = probes_of([(*HEAD, 4), (*HEAD, 5), (*HEAD, 6)])
    base = {"lm": lm(), "probes": few, "site": None, "budget_bytes": 2**30}
    found = features(folder)
    probe = skills.Polar(k=4).fit(SCORES, GOLD)
    return {
        "save_pretrained": Call(
            negjax.save_pretrained,
            {"lm": lm(), "directory": folder / "model"},
            {"directory": these("text", "number as text")},
        ),
        "extract": Call(
            skills.extract,
            {
                "root": folder,
                **base,
                "gold": [0, 1, 2],
                "kinds": ["cg"],
                "activations": False,
                "counts": [],
                "about": None,
                "window": 2,
                "after_window": None,
                "overwrite": False,
                "progress": None,
            },
            {
                "root": these("text", "number as text"),
                "site": NONE,
                "kinds": these("empty list"),
                "activations": TRUTH,
                "counts": these("empty list"),
                "about": these("None", "mapping"),
                "after_window": these("None", "function", "class"),
                "overwrite": TRUTH,
            },
        ),
        "activation_windows": Call(
            skills.activation_windows, {**base, "gold": [0, 1, 2], "window": 2}, {"site": NONE}
        ),
        "chosen_scores": Call(
            skills.chosen_scores,
            {**base, "neurons": [0, 3], "kind": "cg", "progress": None},
            {"site": NONE},
        ),
        "read_features": Call(skills.read_features, {"path": found.path}),
        "Features.votes": Call(
            found.votes,
            {"rule": "polar", "kind": "neurgrad", "count": 3},
            {"kind": NONE, "count": NONE},
        ),
        "Features.codes": Call(
            found.codes, {"kind": "neurgrad", "count": 3}, {"kind": NONE, "count": NONE}
        ),
        "Features.activations": Call(found.activations, {"count": 3}, {"count": NONE}),
        "PolarProbe.save": Call(
            probe.save,
            {"path": folder / "probe.safetensors"},
            {"path": these("text", "number as text")},
        ),
        "load_probe": Call(skills.load_probe, {"path": probe.save(folder / "p.safetensors")}),
        "PolarProbe.load": Call(
            skills.PolarProbe.load, {"path": probe.save(folder / "p.safetensors")}
        ),
    }


def benchmark(folder: Path) -> dict[str, Call]:
    """Of `negjax.mceval8k`."""
    write_task(folder, "ner")
    task = mceval8k.load("ner", folder)
    sample = {"items": task.train, "labels": task.labels}
    # Any texts: which, the items' numbers do not tell.
    labels = these("list of text", "array of text")
    return {
        "mceval8k.load": Call(
            mceval8k.load,
            {
                "name": "ner",
                "root": folder,
                "split": "disjoint",
                "shots": 1,
                "template": 0,
                "seed": 0,
            },
            {
                # None is the environment's directory, or the hub's.
                "root": NONE,
                "shots": NONE,
                "seed": these("None", "huge"),
            },
        ),
        "template_count": Call(mceval8k.template_count, {"name": "ner"}),
        "names": Call(mceval8k.names, {}),
        "first": Call(mceval8k.first, {**sample, "count": 2}, {"labels": labels}),
        "in_turns": Call(
            mceval8k.in_turns,
            sample,
            {"items": these("empty list"), "labels": labels},
        ),
        "resample": Call(
            mceval8k.resample,
            {**sample, "sampling": "down"},
            {"labels": labels},
        ),
        "encode_items": Call(
            mceval8k.encode_items,
            {"lm": lm(), **sample, "target_mode": "single"},
            blames={"labels": "prompt"},
        ),
    }
