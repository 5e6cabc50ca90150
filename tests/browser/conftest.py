"""Chromium, and pages for it: reports of runs on tiny models, and the playground."""

import contextlib
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from absl.testing import flagsaver

from experiments.inputs import facts
from experiments.playground import program
from experiments.playground.worker import Worker
from negjax.storage import store
from tests.support.hostile_inputs import hostile
from tests.support.sharp_models import sharp
from tests.support.small_studies import STUDIES
from tests.support.tiny_runs import arguments, parse, write_inputs

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 30_000
"""Milliseconds that a page may take, on a machine that others use as well."""
PROMPT_TOKENS = 16
"""That the playground takes."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium as the machine has it; none is fetched."""
    reason = "pages are tested by `make test-browser`, which installs the extra `browser`"
    driver = pytest.importorskip("playwright.sync_api", reason=reason)
    pytest.importorskip("axe_playwright_python", reason=reason)
    found = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if found is None:
        pytest.skip(f"pages are tested in Chromium: none of {', '.join(CHROMIUMS)} is here")
    driver.expect.set_options(timeout=PATIENCE)
    with driver.sync_playwright() as playwright:
        # In containers tests often are root's, whom Chromium runs without its sandbox alone.
        chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and facts."""
    return write_inputs(tmp_path_factory.mktemp("inputs"), gated=sharp("gated"))


@pytest.fixture(scope="session")
def report(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the study of linearity, with texts as they are."""
    return _report(inputs, tmp_path_factory.mktemp("run"), "linearity", "--prompts=4")


@pytest.fixture(scope="session", params=["linearity", "neg_map", "control"])
def hostile_report(
    request: pytest.FixtureRequest, inputs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Of some studies of facts, with hostile texts wherever texts stand."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(facts, "load_inputs", hostile(facts.load_inputs))
        return _report(inputs, tmp_path_factory.mktemp("hostile"), request.param, "--prompts=2")


def _report(inputs: Path, folder: Path, name: str, *more: str) -> Path:
    run, given = STUDIES[name]
    with flagsaver.flagsaver():
        parse(*arguments(inputs, folder / name, *more, *given))
        assert run() == 0
    return folder / name / store.REPORT


@pytest.fixture(scope="session")
def playground() -> Iterator[str]:
    """Address of a playground of a tiny model."""
    uvicorn = pytest.importorskip("uvicorn", reason="the playground takes the extra `app`")
    from experiments.playground import server

    worker = Worker(program.MOST_WAITING)
    with program.bound("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        app = server.application(
            sharp("gated"),
            worker,
            prompt_tokens=PROMPT_TOKENS,
            seconds=60.0,
            hosts=program.own_hosts(port),
            token=None,
        )
        served = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=served.run, args=([listening],), daemon=True)
        thread.start()
        with contextlib.ExitStack() as ended:
            ended.callback(worker.close)
            ended.callback(thread.join)
            ended.callback(setattr, served, "should_exit", True)
            while not served.started:
                assert thread.is_alive()
                time.sleep(0.02)
            yield f"http://127.0.0.1:{port}/"
