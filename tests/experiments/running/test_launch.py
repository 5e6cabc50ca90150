"""The files that start jobs: they parse, and what they run has the flags that they pass."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from absl import flags

from experiments.linearity import program as linearity
from tests.support.places import ROOT
from tests.support.tiny_runs import parse

SCRIPTS = sorted((ROOT / "launch").glob("*.sh"))
MANIFESTS = sorted((ROOT / "launch").glob("*.yaml"))

pytestmark = pytest.mark.usefixtures("restored_flags")

RUN = re.compile(r"python3? -m \"?experiments\.(?P<study>\$?\w+)\"?(?P<flags>.*)", re.DOTALL)


def commands(node: Any) -> list[str]:
    """What a manifest runs in a shell."""
    if isinstance(node, str):
        return [node] if "python -m experiments." in node else []
    values = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
    return [command for value in values for command in commands(value)]


def given(command: str) -> list[str]:
    """The flags of ours that a command passes."""
    found = RUN.search(command)
    assert found is not None
    return re.findall(r"--[a-z_]+=[^\s\"]*|--[a-z_]+=\"[^\"]*\"", found["flags"])


def check(passed: list[str]) -> None:
    names = {flag.partition("=")[0] for flag in passed}
    assert {"--coordinator", "--join_seconds"} <= names
    # absl's own; those of the study are there, too.
    known = {"flagfile", linearity.FLAGS["measure"].name, *flags.FLAGS}
    assert {name.removeprefix("--") for name in names} <= known
    file = next((flag for flag in passed if flag.startswith("--flagfile=")), None)
    if file is not None:
        parse(file.replace("experiments/", f"{ROOT}/experiments/", 1))


def test_there_are_files_for_each_kind_of_cluster() -> None:
    assert [file.name for file in SCRIPTS] == ["slurm.sh", "tpu_pod.sh", "xpk.sh"]
    assert [file.name for file in MANIFESTS] == ["kueue.yaml", "skypilot.yaml"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: file.name)
def test_scripts_parse_and_pass_flags_that_there_are(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    text = script.read_text(encoding="utf-8")
    check(given("\n".join(line for line in text.splitlines() if not line.startswith("#"))))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: file.name)
def test_scripts_run_the_study_that_they_are_given(script: Path, tmp_path: Path) -> None:
    """What starts processes is replaced by what says how it was called."""
    for name in ("srun", "gcloud", "xpk"):
        (tmp_path / name).write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n', encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    names = {"TPU": "slice", "ZONE": "zone", "CLUSTER": "cluster", "IMAGE": "image"}
    told = subprocess.run(
        [script, "neg_map", "--prompts=2"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"} | names,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    words = " ".join(told.split())
    wanted = "-m experiments.neg_map --coordinator=auto --join_seconds=300 --prompts=2"
    assert wanted in words, words


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda file: file.name)
def test_manifests_parse_and_pass_flags_that_there_are(manifest: Path) -> None:
    documents = list(yaml.safe_load_all(manifest.read_text(encoding="utf-8")))
    [command] = commands(documents)
    subprocess.run(["bash", "-n", "-c", command], check=True)
    passed = given(command)
    check(passed)
    names = [flag.partition("=")[0] for flag in passed]
    assert {"--processes", "--process", "--output"} <= set(names)


def test_the_manifest_of_pods_counts_them_alike() -> None:
    text = (ROOT / "launch" / "kueue.yaml").read_text(encoding="utf-8")
    service, job = yaml.safe_load_all(text)
    [command] = commands(job)
    spec = job["spec"]
    assert f"--processes={spec['completions']}" in given(command)
    assert spec["parallelism"] == spec["completions"]
    # Pods are NAME-INDEX.SUBDOMAIN, which the service of that name resolves.
    name, domain = job["metadata"]["name"], spec["template"]["spec"]["subdomain"]
    assert f"--coordinator={name}-0.{domain}:8476" in given(command)
    assert service["metadata"]["name"] == domain
    assert service["spec"]["selector"] == {"job-name": name}
