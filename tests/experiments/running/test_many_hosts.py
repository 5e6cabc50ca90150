"""Several processes that measure one run: equal to one process, lost by name, continued."""

import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import zarr

from experiments.control import program as control
from experiments.estimators import program as estimators
from experiments.linearity import program as linearity
from experiments.neg_map import program as neg_map
from experiments.running import many_hosts, study
from experiments.skills import program as skills
from negjax.process.hosts import Hosts
from negjax.storage import progress, store
from tests.support import skills_runs
from tests.support.block_shapes import tiny
from tests.support.jobs import Ended, begun, ends, free_address, wait_for
from tests.support.processes import command, ended
from tests.support.tiny_runs import arguments, parse, summary, write_inputs

pytestmark = pytest.mark.usefixtures("restored_flags", "undrawn")

FEW = ("--prompts=4", "--neurons=3", "--group=1", "--range=2")
MANY = ("--prompts=12", "--neurons=40", "--group=1")
ALL_COME = "--join_seconds=250"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and a table, as a user has them."""
    return write_inputs(tmp_path_factory.mktemp("inputs"), gated=tiny("gated"))


def together(
    folder: Path, output: Path, count: int, name: str, *more: str, devices: int = 1
) -> list[Ended]:
    program = [*command(name, *arguments(folder, output, *more)), ALL_COME]
    return ends(begun(program, count, devices))


def measured(output: Path) -> dict[str, bytes]:
    """Files of what was measured, and of the tables that show it."""
    files = [*(output / store.ARRAYS).rglob("*"), *output.glob("*.parquet")]
    return {str(file.relative_to(output)): file.read_bytes() for file in files if file.is_file()}


def test_two_processes_write_what_one_writes(folder: Path, tmp_path: Path) -> None:
    first, second = together(folder, tmp_path / "two", 2, "linearity", *FEW)
    assert (first.status, second.status) == (0, 0), (first.err, second.err)
    assert first.out.endswith(f"report: {tmp_path / 'two' / store.REPORT}\n")
    assert second.out == ""
    assert "process 1 of 2 (" in second.err
    parse(*arguments(folder, tmp_path / "one", *FEW))
    assert study.run(linearity.prepare) == 0
    one, two = measured(tmp_path / "one"), measured(tmp_path / "two")
    assert one.keys() == two.keys()
    assert [name for name, data in one.items() if two[name] != data] == []
    about = summary(tmp_path / "two")
    assert (about["complete"], about["prompts_measured"]) == (True, 4)
    assert {*about["seconds"]["measure"]} == {*summary(tmp_path / "one")["seconds"]["measure"]}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--processes=2"], "--processes=2 needs --coordinator=HOST:PORT, where process 0 is"),
        (["--process=1"], "--process=1 needs --coordinator=HOST:PORT"),
        (
            ["--coordinator=auto", "--processes=2"],
            "--processes=2 contradicts --coordinator=auto, which finds the numbers in the",
        ),
        (
            ["--coordinator=here:9", "--processes=2", "--process=2"],
            "--process=2 and --processes=2: expected a number from 0 to 1",
        ),
        (["--coordinator=here"], "--coordinator is 'here', expected host:port, or 'auto'"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(
    folder: Path, tmp_path: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parse(*arguments(folder, tmp_path / "run", *more))
    assert ended(lambda _: study.run(linearity.prepare)) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")
    assert not (tmp_path / "run").exists()


def test_a_coordinator_that_does_not_answer_is_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = free_address()
    job = (f"--coordinator={address}", "--processes=2", "--process=1", "--join_seconds=1")
    parse(*arguments(folder, tmp_path / "run", *job))
    assert ended(lambda _: study.run(linearity.prepare)) == 1
    assert capsys.readouterr().err.startswith(f"error: the coordinator {address} does not answer")


def three() -> Hosts:
    return Hosts(0, 3, "here:9", lambda text: None)


def test_more_processes_than_groups_are_refused() -> None:
    many_hosts.refuse_idle(three(), 3)
    with pytest.raises(ValueError, match=r"processes=3: 2 groups of prompts are to be measured; p"):
        many_hosts.refuse_idle(three(), 2)


def test_a_mesh_of_other_processes_devices_means_in_step() -> None:
    for mesh in ("auto", "data:1"):
        parse(f"--mesh={mesh}")
        assert not many_hosts.in_step()
    parse("--mesh=data:9999")
    assert many_hosts.in_step()


def test_a_study_of_one_process_is_refused(tmp_path: Path) -> None:
    alone = study.Study(
        name="alone",
        settings={},
        measure=study.measured(lambda _: [], "item"),
        results=lambda *_: None,
    )
    refused = pytest.raises(ValueError, match="--coordinator: one process alone measures alone; l")
    with store.open_to_measure(tmp_path, {}, {}, attributes={}) as run, refused:
        study._measured(alone, run, three())


def parts(output: Path) -> int:
    """How many processes have saved something."""
    return len([file for file in progress.progress_files(output) if file.name != progress.PROGRESS])


def killed(folder: Path, output: Path, count: int, number: int) -> list[Ended]:
    """A job of which one process is killed when all have saved something."""
    program = [*command("linearity", *arguments(folder, output, *MANY)), ALL_COME]
    processes = begun(program, count)
    wait_for(lambda: parts(output) == count)
    processes[number].kill()
    start = time.monotonic()
    found = ends(processes)
    assert time.monotonic() - start < 60
    assert found[number].status == -signal.SIGKILL
    said = rf"error: process {number} of {count} \(.+\) ended without a word: it was killed"
    assert re.search(said, found[number].err), found[number].err
    return found


@pytest.mark.slow
def test_a_lost_process_is_named_and_the_run_continued_by_fewer(
    folder: Path, tmp_path: Path
) -> None:
    found = killed(folder, tmp_path / "run", 4, 2)
    for index in (0, 1, 3):
        lost = re.search(
            r"error: process 2 of 4 \(.+\) was lost: .* goes on from", found[index].err
        )
        assert lost is not None, found[index].err
        assert found[index].status == 1
    kept = [progress.read(file)["seconds"] for file in progress.progress_files(tmp_path / "run")]
    assert sum(map(len, kept)) >= 4
    continued = together(folder, tmp_path / "run", 3, "linearity", *MANY)
    assert [process.status for process in continued] == [0, 0, 0], continued
    assert "groups were measured before and are kept" in continued[0].err
    parse(*arguments(folder, tmp_path / "one", *MANY))
    assert study.run(linearity.prepare) == 0
    assert measured(tmp_path / "run") == measured(tmp_path / "one")
    seconds = summary(tmp_path / "run")["seconds"]["measure"]
    assert all(seconds[name] == took for some in kept for name, took in some.items())


@pytest.mark.slow
def test_a_disk_that_fails_one_process_ends_all_by_name(folder: Path, tmp_path: Path) -> None:
    run = command("linearity", *arguments(folder, tmp_path / "run", *MANY))
    # Files of process 1 hold a kilobyte, as on a full disk.
    full = 'if [[ "$*" = *--process=1* ]]; then ulimit -f 1; fi; exec "$@"'
    first, second = ends(begun(["bash", "-c", full, "job", *run, ALL_COME], 2))
    assert (first.status, second.status) == (1, 1)
    said = (
        r"prompts \d+ to \d+ could not be saved: File too large\. What was finished before is kept"
    )
    assert re.search(rf"error: .*{said}", second.err), second.err
    assert re.search(rf"error: process 1 of 2 \(.+\) ended: .*{said}.* goes on from", first.err)
    parse(*arguments(folder, tmp_path / "run", *MANY))
    assert study.run(linearity.prepare) == 0


@pytest.mark.slow
def test_without_the_first_process_the_others_end_by_name(folder: Path, tmp_path: Path) -> None:
    found = killed(folder, tmp_path / "run", 2, 0)
    # JAX ends it from C++, by an exit, an abort or, on the way out, a crash.
    assert found[1].status in (1, -signal.SIGABRT, -signal.SIGSEGV)
    named = re.search(r"error: .*process 0 of 2 \(.+\), which the others .*ended", found[1].err)
    assert named is not None, found[1].err
    # One process goes on with what two have left.
    parse(*arguments(folder, tmp_path / "run", *MANY))
    assert study.run(linearity.prepare) == 0
    assert summary(tmp_path / "run")["prompts_measured"] == 12


@pytest.mark.slow
def test_maps_are_divided_too(folder: Path, tmp_path: Path) -> None:
    some = ("--prompts=2", "--neg_radius=1")
    maps = together(folder, tmp_path / "maps", 2, "neg_map", *some)
    assert [process.status for process in maps] == [0, 0], maps
    parse(*arguments(folder, tmp_path / "map", *some))
    assert study.run(neg_map.prepare) == 0
    assert measured(tmp_path / "maps") == measured(tmp_path / "map")


@pytest.mark.slow
def test_estimates_and_doses_are_divided(folder: Path, tmp_path: Path) -> None:
    """Two groups of prompts, two methods, doses of every layer of a prompt."""
    some = ["--prompts=4", "--group=2", "--neurons=4", "--range=2", "--methods=cg,neurgrad"]
    some += ["--doses=1", "--top=2"]
    both = together(folder, tmp_path / "both", 2, "estimators", *some)
    assert [process.status for process in both] == [0, 0], both
    parse(*arguments(folder, tmp_path / "one", *some))
    assert study.run(estimators.prepare) == 0
    found, expected = (arrays(tmp_path / name) for name in ("both", "one"))
    assert found.keys() == expected.keys() and "dose_change" in found
    for name, values in expected.items():
        if name == "seconds":
            assert np.isfinite(found[name][:, 0]).all() and (found[name][:, 0] > 0).all()
        else:
            np.testing.assert_array_equal(found[name], values, err_msg=name)


@pytest.mark.slow
def test_control_is_divided(folder: Path, tmp_path: Path) -> None:
    some = ["--prompts=3", "--parts=turning,steering", "--counts=2", "--volumes=0.5"]
    some += ["--ratios=1", "--wanted=0.02", "--turns=2", "--written=0"]
    some += [f"--unrelated={folder / 'facts.csv'}"]
    both = together(folder, tmp_path / "both", 2, "control", *some)
    assert [process.status for process in both] == [0, 0], both
    parse(*arguments(folder, tmp_path / "one", *some))
    assert study.run(control.prepare) == 0
    assert measured(tmp_path / "both") == measured(tmp_path / "one")


IN_STEP = {
    "linearity": (*FEW, "--dtype=float64"),
    "estimators": (
        *("--prompts=2", "--group=2", "--neurons=4", "--range=2", "--methods=cg,neurgrad"),
        *("--doses=1", "--top=2", "--dtype=float64"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_STEP)
def test_a_mesh_of_two_processes_measures_what_one_device_does(
    name: str, folder: Path, tmp_path: Path
) -> None:
    """Two devices each, of one mesh: all processes run all groups, and the first one saves them."""
    some = IN_STEP[name]
    mesh = ("--mesh=data:2,model:2", *some)
    both = together(folder, tmp_path / "both", 2, name, *mesh, devices=2)
    assert [process.status for process in both] == [0, 0], both
    assert len(progress.progress_files(tmp_path / "both")) == 1
    (alone,) = ends(begun([*command(name, *arguments(folder, tmp_path / "one", *some))], 1))
    assert alone.status == 0, alone.err
    found, expected = (arrays(tmp_path / output) for output in ("both", "one"))
    assert found.keys() == expected.keys()
    for array, values in expected.items():
        if array != "seconds":
            np.testing.assert_allclose(found[array], values, 1e-8, 1e-12, err_msg=array)
    # What two have measured, one goes on with.
    (again,) = ends(begun([*command(name, *arguments(folder, tmp_path / "both", *some))], 1))
    assert "groups were measured before and are kept" in again.err


def arrays(output: Path) -> dict[str, np.ndarray]:
    group = zarr.open_group(output / store.ARRAYS, mode="r")
    return {name: np.asarray(array[...]) for name, array in group.arrays()}


@pytest.mark.slow
@pytest.mark.parametrize("mesh", ["auto", "data:2,model:2"])
def test_skills_are_measured_by_two_processes(mesh: str, tmp_path: Path) -> None:
    """Each measures some tasks; on a mesh of both, all of them together."""
    inputs = skills_runs.write_inputs(tmp_path)
    few = ("--splits=disjoint", "--fitted=majority,polar", "--compilation_cache=none")
    given = skills_runs.arguments(inputs, tmp_path / "two", *few, f"--mesh={mesh}")
    found = ends(begun([*command("skills", *given), ALL_COME], 2, 1 if mesh == "auto" else 2))
    assert [process.status for process in found] == [0, 0], found
    skills_runs.parse(inputs, tmp_path / "one", *few, f"--features={tmp_path / 'others'}")
    assert study.run(skills.prepare) == 0
    assert skills_runs.rows_of(tmp_path / "two") == skills_runs.rows_of(tmp_path / "one")
    assert summary(tmp_path / "two")["tasks"] == [*skills_runs.TASKS]
