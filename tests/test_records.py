"""`repr` of every public record: three lines at most, names and shapes, nothing of the contents."""

import dataclasses
import inspect
import typing
from pathlib import Path
from typing import Any, NamedTuple

import gguf
import jax
import numpy as np
import pytest

import negjax
from negjax import checks, estimators, records, skills
from negjax.control.outcome import Outcome
from negjax.mceval8k.catalogue import TASKS
from negjax.mceval8k.files import Row
from negjax.measurements import answers, writes
from negjax.model.language_model import LanguageModel
from negjax.model.rope import Llama3Scaling, Rope, YarnScaling
from negjax.records import readable
from negjax.skills.features.feature_files import Features, Layout
from negjax.skills.features.feature_streams import Span
from negjax.storage import file_parts, store
from negjax.weights.formats.gguf_files import GGUFFile
from negjax.weights.formats.gguf_header import StoredTensor
from tests.support.block_shapes import tiny, tiny_probes
from tests.support.corpus_records import corpus_records
from tests.support.direction_mistakes import no_gradients
from tests.support.public_records import every_module, is_record, public_records
from tests.support.tiny_models import as_source

MOST = 420  # characters: 400, and what says that something was left out
LONG = "a very long text, " * 10_000

every_module()
RECORDS = public_records()
ABSTRACT = {name for name, kind in RECORDS.items() if inspect.isabstract(kind)}
# They have a text of their own.
BY_HAND = {"negjax.model.language_model.LanguageModel", "negjax.storage.store.RunFolder"}
# Numbers, or arrays of any shape.
NO_AXES = {
    "negjax.skills.evaluation.accuracy.Interval",
    "negjax.weights.formats.gguf_header.StoredTensor",
}


@pytest.mark.parametrize("name", RECORDS)
def test_every_public_record_is_readable(name: str) -> None:
    own = vars(RECORDS[name]).get("__repr__")
    if name in BY_HAND:
        assert own is not None
    else:
        assert own is records._repr, "decorate it with negjax.records.readable"


def array_fields(kind: type) -> list[str]:
    hints = typing.get_type_hints(kind) if is_record(kind) else {}
    arrays = (np.ndarray, np.ndarray | None)
    return [name for name, hint in hints.items() if hint in arrays and name in fields(kind)]


def fields(kind: Any) -> list[str]:
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind) if field.repr]
    return list(getattr(kind, "_fields", ()))


@pytest.mark.parametrize("name", [name for name in RECORDS if name not in NO_AXES])
def test_every_array_of_a_public_record_names_its_axes(name: str) -> None:
    axes = records._axes(RECORDS[name])
    without = [field for field in array_fields(RECORDS[name]) if not axes.get(field)]
    assert not without, 'let the text beside it begin with its axes, such as "[B, K]."'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """One of each public record, those of measurements measured with a tiny model."""
    lm = tiny("gated")
    probes, first = tiny_probes(lm), tiny_probes(lm).select([0]).select_target(0)
    neurons = negjax.random_neurons(lm.config, 4, len(probes), seed=0)
    swept = negjax.sweep(lm, probes, neurons, np.asarray([-1.0, 1.0]), target=0, spread=True)
    sets = negjax.neuron_sets(lm.config, [(neurons[0], 0.5), (neurons[1], -0.5)])
    lazy, part = as_source({"x": np.zeros((4, 5))})["x"], file_parts.FilePart(Path("m"), 0, 80)
    outcome = Outcome(
        probability=np.zeros(3), rank=np.zeros(3), top_token=np.zeros(3), top_text=(LONG, "b", "c")
    )
    grid = np.random.default_rng(0).normal(size=(12, 2, 3, 20))
    gold = np.arange(12) % 2
    row = Row(
        part="train",
        number=0,
        texts=(LONG,),
        target=None,
        options=(),
        label=0,
        language=None,
        translation=None,
    )
    item = negjax.mceval8k.Item(row, LONG, LONG)
    smallest: dict[str, Any] = {"site": "up", "wanted": 0.5, "reached": True, "cosine": 1.0}
    smallest |= {"shift": np.zeros((3, 20)), "path": ((0.0, 0.25),) * 30}
    items = (item,) * 600
    cut = Layout((Span(0, 12),), (Span(0, 12),))
    folder = tmp_path_factory.mktemp("run")
    spec = store.ArraySpec(shape=(12, 3), dtype="float64", axes=("prompt", "x"), meaning=LONG)
    with store.open_to_measure(folder / "run", {}, {"values": spec}, attributes={}) as run:
        run.save("one", (slice(0, 12),), {"values": np.zeros((12, 3))}, 1.0)
        run.write_json(store.SUMMARY, {"lead": LONG})
    every = [
        *(lm, lm.config),
        Rope(theta=10000.0),
        Llama3Scaling(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_context=8192),
        YarnScaling(factor=8.0, original_context=8192),
        *(probes, sets, swept),
        answers.plain_answers(lm, probes),
        writes.write_norms(lm, first),
        negjax.TokenPositions(index=np.zeros((3, 1), int)),
        *(found := negjax.neurgrad(lm, probes), negjax.top_neurons(found, 3, target=0)),
        negjax.linear_fit(swept),
        negjax.response(lm, first, neurons[0], radius=1.0, nodes=4),
        negjax.curvature(lm, first, neurons[0]),
        negjax.neg(lm, first, neurons[0]),
        *(negjax.joint(lm, first, sets, spread=True), negjax.enhance(lm, first, 2, volume=1.0)),
        *(negjax.Intervention(sets), negjax.generate(lm, ["w3"], max_tokens=2)),
        *(no_gradients(), negjax.directions(0, np.ones((2, 16)))),
        *(outcome, negjax.open_run(folder / "run")),
        negjax.Steered(
            **smallest,
            prompt=LONG,
            target="b",
            before=0.1,
            probability=0.5,
            predicted=1.0,
            kl=0.1,
            unrelated=(LONG,) * 9,
            unrelated_kl=np.zeros(9),
        ),
        negjax.Edited(
            **smallest,
            lm=lm,
            before=np.zeros(2),
            probability=np.zeros(2),
        ),
        negjax.Steering(vectors=np.zeros((3, 16)), model=LONG, fingerprint=lm.fingerprint),
        *(negjax.read_facts(), estimators.ESTIMATORS["relp"]),
        *(skills.Polar(2).fit(grid, gold), skills.Magn(2).fit(grid, gold)),
        *(skills.Linear(stages=1).fit(grid, gold), skills.Tree(trees=2).fit(grid, gold)),
        skills.Act(2).fit(grid[:, 0], gold),
        skills.LMProb().fit(grid[:, :, 0, 0], gold),
        skills.Majority().fit(grid, gold),
        *(skills.Polar(), skills.Magn(), skills.Act(), skills.Tree(), skills.Linear()),
        *(skills.LMProb(), skills.Majority(), skills.Random()),
        skills.explain(skills.Polar(2).fit(grid, gold), (3, 20), grid[0]),
        skills.rank_neurons(np.arange(60)),
        skills.POLAR,
        skills.chance_jaccard(10, 60),
        skills.bootstrap_interval(np.zeros((3, 12), int), gold, seed=0),
        Features(
            path=folder,
            labels=2,
            kinds=("neurgrad",),
            cut=cut,
            gold=gold,
            probability=grid[:, :, 0, 0],
            arrays=run._arrays,
        ),
        *(cut, Span(0, 12), item, row, TASKS["ner"]),
        negjax.mceval8k.Task(
            name="ner",
            genre="linguistic",
            labels=("a", "b"),
            train=items,
            valid=items,
            test=items,
            demonstrations=items,
            template="ner 0",
            split="disjoint",
            shots=1,
            seed=3,
            notes=(LONG,),
            key="0" * 64,
        ),
        *(run, spec, *corpus_records(lm)),
        GGUFFile(folder / "m.gguf", {str(i): LONG for i in range(30)}, {}),
        StoredTensor((4, 5), gguf.GGMLQuantizationType.F32, (4, 20), part),
        *(lazy, lazy.form, part),
    ]
    return {f"{type(one).__module__}.{type(one).__name__}": one for one in every}


def test_a_record_of_each_kind_is_looked_at(made: dict[str, object]) -> None:
    assert sorted(made) == sorted(set(RECORDS) - ABSTRACT)


@pytest.mark.parametrize("name", sorted(set(RECORDS) - ABSTRACT))
def test_three_lines_say_what_a_record_is(made: dict[str, object], name: str) -> None:
    record = made[name]
    text = repr(record)
    assert len(text) <= MOST
    assert text.count("\n") <= 2
    assert text.startswith(type(record).__name__)
    assert "array(" not in text
    assert "dtype" not in text or name in BY_HAND | {"negjax.storage.store.ArraySpec"}
    assert LONG[:60] not in text
    if name in BY_HAND:
        return
    axes = records._axes(type(record))
    for field in fields(type(record)):
        value = getattr(record, field)
        if value is None and (field in axes or field in records._optional_records(type(record))):
            assert field not in text.split("(")[0]
        elif len(text) < MOST / 2 or field not in records._defaults(record):
            assert field in text, field
        if isinstance(value, np.ndarray) and name not in NO_AXES:
            letters = [x for x in axes[field] if x[0] != "*"]  # Here there is no such axis.
            assert len(letters) == value.ndim, field
            named = [
                f"{letter}={size}" if letter != str(size) else letter
                for letter, size in zip(letters, value.shape, strict=True)
            ]
            assert f"[{', '.join(named)}]" in text, field


def test_measurements_name_site_convention_output_and_axes(made: dict[str, object]) -> None:
    assert repr(made["negjax.measurements.gradients.NeurGrad"]) == (
        "NeurGrad(site='up', output='probability')\n"
        "  probability [B=3, K=2], activation [B=3, L=3, F=20], computed [B=3, O=2, L=3, F=20]"
    )
    assert repr(made["negjax.measurements.sweeps.Sweep"]) == (
        "Sweep(site='up', convention='signed', output='probability', reroute=False)\n"
        "  neurons [B=3, N=4, 2], shifts [X=2], activation, baseline_value, "
        "baseline_log_probability, baseline_logit [B=3, N=4], value, log_probability, logit, kl, "
        "entropy, top_token [B=3, N=4, X=2], baseline_entropy, baseline_top_token [B=3]"
    )
    assert repr(made["negjax.measurements.linearity.LinearFit"]) == (
        "LinearFit\n  slope, pearson, largest_change [B=3, N=4], shifts [X=2]"
    )
    assert repr(made["negjax.skills.probes.polarity.PolarProbe"]) == (
        "PolarProbe(labels=2, total=60)\n  neurons, polarity [k=2]"
    )
    assert repr(skills.Polar()) == "Polar(k=64, variant='both', skip=0)"


def test_arrays_that_were_not_asked_for_are_not_named() -> None:
    lm = tiny("gated")
    swept = negjax.sweep(lm, tiny_probes(lm).select_target(0), np.asarray([[0, 1]]), np.ones(1))
    assert "kl" not in repr(swept)
    assert "None" not in repr(swept)


def test_a_model_says_its_name_size_and_arithmetic() -> None:
    lm = dataclasses.replace(tiny("gpt2"), name=f"/home/{LONG}/model")
    assert repr(lm) == (
        "LanguageModel('/home/a very long te…y long text, /model': gpt2, 3 layers × 20 "
        f"neurons, {lm.parameter_count:,} parameters\n  float32, precision 'highest', fingerprint "
        f"{lm.fingerprint[:12]}…)"
    )
    assumed = dataclasses.replace(lm, assumed_harmless=("a", "b"))
    assert repr(assumed).endswith("…, assumed harmless: 2)")


def test_many_long_prompts_are_counted() -> None:
    probes = tiny_probes(tiny("gated")).select([0, 1, 2] * 133 + [0])
    text = repr(dataclasses.replace(probes, prompts=(LONG,) * 400))
    assert text == (
        "Probes(target_mode='single', mask_id=None)\n"
        "  tokens, mask [B=400, T=8], read [B=400], target_ids, target_mask [B=400, K=2, M=1]\n"
        "  prompts: 400, 'a very long tex…ry long text, ' …, targets: 400, spans: 400"
    )


def test_a_folder_says_where_it_is_and_how_far(made: dict[str, object], tmp_path: Path) -> None:
    assert repr(made["negjax.storage.store.RunFolder"]).endswith("1 groups finished, closed)")
    with store.open_to_measure(tmp_path / "new", {}, {}, attributes={}) as run:
        assert repr(run).startswith(f"RunFolder('{str(tmp_path)[:12]}")
        assert repr(run).endswith("/new', 0 groups finished)")


@readable
class Pair(NamedTuple):
    """Documented here, as records of the library are."""

    left: Any
    """[B, two words · k, 2], units."""
    right: Any
    """[B, …]."""
    bare: Any


def test_axes_are_shown_where_they_fit() -> None:
    array = np.zeros((5, 6, 2))
    assert repr(Pair(array, array, np.zeros(3))) == (
        "Pair\n  left [B=5, two words · k=6, 2], right [5, 6, 2], bare [3]"
    )
    assert repr(Pair(array, np.float32(0.5), True)) == (
        "Pair(right=0.5, bare=True)\n  left [B=5, two words · k=6, 2]"
    )
    assert repr(Pair(jax.numpy.zeros((1, 1, 2)), ("x",), ["y", 2])) == (
        "Pair(right=('x',), bare=['y', 2])\n  left [B=1, two words · k=1, 2]"
    )
    many = {"a": 1}, {1, 2}
    assert repr(Pair(array, *many)).endswith("\n  right: 1 by name, bare: set of 2")


def test_without_a_source_sizes_are_shown_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: object) -> str:
        raise OSError("could not get source code")

    monkeypatch.setattr(inspect, "getsource", missing)
    assert repr(Pair(np.zeros(5), 1, np.zeros(5))) == "Pair(right=1)\n  left, bare [5]"


@pytest.mark.parametrize("parts", [1, 40])
def test_what_there_is_no_room_for_is_counted(parts: int) -> None:
    wide = dataclasses.make_dataclass(
        "Wide", [(f"{kind}_{i}", Any) for kind in ("word", "array", "list") for i in range(parts)]
    )
    values: list[object] = [*[0.125] * parts, *[np.zeros((i, 1)) for i in range(parts)]]
    text = repr(readable(wide)(*values, *[[wide]] * parts))
    assert len(text) <= MOST
    assert text.count("\n") == 2
    assert all(("more" in line) == (parts > 1) for line in text.split("\n"))


def test_errors_show_no_more_than_a_few_words_of_a_wrong_value(made: dict[str, object]) -> None:
    for record in (*made.values(), [1.5] * 100_000, np.zeros((300, 300)), LONG):
        text = checks.shown(record)
        assert len(text) <= checks.SHOWN
        assert "\n" not in text
    lm = made["negjax.model.language_model.LanguageModel"]
    assert isinstance(lm, LanguageModel)
    probes = made["negjax.inputs.probes.Probes"]
    gradients = made["negjax.measurements.gradients.NeurGrad"]
    many: Any = [9] * 100_000
    for wrong in (
        lambda: negjax.neurgrad(lm, lm),  # type: ignore[arg-type]
        lambda: negjax.sweep(lm, probes, many, many, target=many),  # type: ignore[arg-type]
        lambda: negjax.enhance(lm, probes, many, volume=1.0, target=0),  # type: ignore[arg-type]
        lambda: skills.Polar(many).fit(np.zeros((1, 2, 3)), [0]),
        lambda: skills.Tree(trees=many).fit(np.zeros((2, 2, 3)), [0, 1]),
        lambda: skills.Majority().fit(np.zeros((2, 3)), [0, 1], labels=many),
        lambda: made["negjax.measurements.chebyshev.Response"](many),  # type: ignore[operator]
        lambda: negjax.effects(lm, gradients, many),  # type: ignore[arg-type]
    ):
        with pytest.raises((ValueError, TypeError)) as raised:
            wrong()
        assert len(str(raised.value)) < 400
