"""Flags of the experiments: what each is, what is refused, and the files that set them."""

import re
from pathlib import Path

import pytest
from absl import flags

from experiments.atlas import program as atlas
from experiments.control import program as control
from experiments.corpus import program as corpus
from experiments.estimators import program as estimators
from experiments.linearity import program as linearity
from experiments.multi_neuron import program as multi_neuron
from experiments.neg_map import program as neg_map
from experiments.plan import program as plan
from experiments.playground import program as playground
from experiments.pretrain_bert import job as pretrain_bert_job
from experiments.running import common
from experiments.skills import program as skills
from experiments.skills_efficiency import program as skills_efficiency
from experiments.skills_flexibility import program as skills_flexibility
from experiments.skills_interdependency import program as skills_interdependency
from experiments.skills_robustness import program as skills_robustness
from experiments.trace import program as trace
from experiments.windows import program as windows
from tests.support.places import FLAGFILES
from tests.support.tiny_runs import parse

EXPERIMENTS = (
    *(linearity, neg_map, estimators, multi_neuron, control, trace, windows, corpus, plan),
    *(atlas, playground),
    pretrain_bert_job,
    *(skills, skills_efficiency, skills_flexibility, skills_interdependency, skills_robustness),
)
MODULES = [
    "experiments.inputs.benchmark_flags",
    "experiments.running.common",
    "experiments.inputs.curves",
    "experiments.running.pages",
    "experiments.running.many_hosts",
    "experiments.running.profiles",
    "experiments.inputs.facts",
    "experiments.inputs.written_texts",
    "experiments.inputs.probe_flags",
    "experiments.skill_studies.inputs",
    "experiments.skill_studies.transfer",
    *(module.__name__ for module in EXPERIMENTS),
]
# Of those that were counted by hand.
COUNTED = {"experiments.estimators": 10, "experiments.pretrain_bert.job": 19}

pytestmark = pytest.mark.usefixtures("restored_flags")


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--range=-1", "range"),
        ("--nodes=3", "nodes"),
        ("--measure=both,grid", "measure"),
        ("--budget_mib=0", "budget_mib"),
        ("--seed=-1", "seed"),
        ("--dtype=float16", "dtype"),
        ("--neuron=3", "neuron"),
    ],
)
def test_impossible_flags_are_refused_by_name(flag: str, message: str) -> None:
    with pytest.raises(flags.Error, match=message):
        parse(flag)


@pytest.mark.parametrize("module", MODULES)
def test_every_flag_says_what_it_is(module: str) -> None:
    text = flags.FLAGS.get_help()
    defined = flags.FLAGS.flags_by_module_dict()[module]
    assert len(defined) == COUNTED.get(module, len(defined)) > 0
    for flag in defined:
        described = re.search(rf"--(\[no\])?{flag.name}: (.*)", text)
        assert described is not None, flag.name
        assert len(described[2]) > 7, flag.name


@pytest.mark.parametrize("name", sorted(file.stem for file in FLAGFILES.glob("*.flags")))
def test_every_flag_file_is_understood(name: str) -> None:
    parse(f"--flagfile={FLAGFILES / name}.flags")
    assert common.output_folder("x") == Path("runs") / name
