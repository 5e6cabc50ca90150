"""The server: whom it answers, what it refuses in words, and what it does not begin."""

import asyncio
import json
import re
import threading
import time

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

import negjax
from experiments.playground import guard, program, server
from experiments.playground.worker import PREPARATION, BusyError, GivenUpError, Worker
from negjax.process import bars
from tests.support.sharp_models import sharp

HOST = "127.0.0.1:8321"
BODY = {"prompt": "w3 w4 w5 w6 w7", "answer": "w9", "radius": 2.0}


@pytest.fixture(scope="module")
def worker():
    made = Worker(4)
    yield made
    made.close()


@pytest.fixture(scope="module")
def lm() -> negjax.LanguageModel:
    return sharp("gated")


def client(lm, worker, token=None):
    hosts = program.own_hosts(8321) if token is None else frozenset()
    app = server.application(lm, worker, prompt_tokens=16, seconds=60.0, hosts=hosts, token=token)
    return TestClient(app, base_url=f"http://{HOST}")


def test_the_page_and_all_that_it_loads(lm, worker):
    page = client(lm, worker)
    found = page.get("/")
    assert found.status_code == 200 and found.headers["content-type"].startswith("text/html")
    policy = found.headers["content-security-policy"]
    assert "unsafe" not in policy and "script-src 'self'" in policy
    for part in found.text.split('"'):
        if part.startswith(("/static/", "/shared/")):
            assert page.get(part).status_code == 200, part
    for module in server.STATIC.glob("*.mjs"):
        for part in re.findall(r"from '([^']+)'", module.read_text(encoding="utf-8")):
            assert page.get(part.replace("./", "/static/", 1)).status_code == 200, part
    # Nothing in the page that such a policy forbids.
    assert " style=" not in found.text and " onclick" not in found.text
    assert "javascript" in page.get("/shared/curves.mjs").headers["content-type"]


def test_a_measurement_and_an_error_with_its_field(lm, worker):
    page = client(lm, worker)
    found = page.post("/api/answer", json=BODY)
    assert found.status_code == 200 and found.json()["answer"]["text"] == "w9"
    assert found.json()["seconds"] >= 0
    wrong = page.post("/api/answer", json=BODY | {"prompt": " "})
    assert wrong.status_code == 400
    assert wrong.json() == {"error": "prompt is empty, expected text", "field": "prompt"}
    assert page.get("/api/model").json()["layers"] == lm.config.layers
    code = page.post("/api/python", json=BODY | {"neurons": [[0, 1]], "tokens": [1, 2]}).json()
    assert "negjax.response(" in code["python"]
    wrong = page.post("/api/python", json=BODY | {"tokens": ["1"]})
    assert wrong.status_code == 400 and wrong.json()["field"] == "tokens"


@pytest.mark.parametrize(
    ("content", "kind", "status", "words"),
    [
        (b"{", "application/json", 400, "no JSON"),
        (b"[1]", "application/json", 400, "expected a JSON object"),
        (b"[" * 100_000, "application/json", 400, "no JSON"),
        (b" " * 300_000, "application/json", 400, "bytes; shorten it"),
        (b"{}", "text/plain", 415, "expected application/json"),
    ],
)
def test_what_is_no_request(lm, worker, content, kind, status, words):
    found = client(lm, worker).post("/api/answer", content=content, headers={"content-type": kind})
    assert found.status_code == status and words in found.json()["error"]


def test_paths_that_are_not_there(lm, worker):
    page = client(lm, worker)
    assert page.post("/api/other", json=BODY).status_code == 404
    for path in ("/static/../program.py", "/static/%2e%2e/program.py", "/shared/nothing.mjs"):
        assert page.get(path).status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example:8321"}, 421),
        ({"host": "127.0.0.1:80"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"}, 200),
        ({"host": "localhost:8321"}, 200),
    ],
)
def test_other_origins_and_hosts_are_refused(lm, worker, headers, status):
    found = client(lm, worker).post("/api/answer", json=BODY, headers=headers)
    assert found.status_code == status
    assert found.headers["x-content-type-options"] == "nosniff"


def test_where_others_reach_the_server_it_takes_the_token(lm, worker):
    page = client(lm, worker, token="secret")
    for headers, status in (
        ({}, 401),
        ({guard.TOKEN: "secreT"}, 401),
        ({guard.TOKEN: "é".encode()}, 401),
        ({guard.TOKEN: "secret", "host": "name.example"}, 200),
    ):
        assert page.get("/api/model", headers=headers).status_code == status
        assert page.post("/api/answer", json=BODY, headers=headers).status_code == status
    assert page.get("/").status_code == 200


@pytest.mark.parametrize(
    ("host", "local"),
    [
        *(("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True)),
        *(("0.0.0.0", False), ("::", False), ("192.168.0.2", False), ("name.example", False)),
    ],
)
def test_which_hosts_are_this_machine(host, local):
    assert guard.is_loopback(host) == local


class Held:
    """Work that does not end before it is let go."""

    def __init__(self):
        self.began, self.let = threading.Event(), threading.Event()

    def __call__(self):
        self.began.set()
        assert self.let.wait(20)
        return {}


def test_work_is_done_in_turn_and_what_is_cancelled_never_begins():
    worker, held, done = Worker(2), Held(), []
    first = worker.submit(held)
    assert held.began.wait(20)
    worker.submit(lambda: done.append("prepared"), PREPARATION)
    second = worker.submit(lambda: done.append("second"))
    third = worker.submit(lambda: done.append("third"))
    with pytest.raises(BusyError, match="2 requests wait"):
        worker.submit(list)
    assert second.cancel()
    fourth = worker.submit(lambda: 1 / 0)
    held.let.set()
    assert first.result(20) == {} and third.result(20) is None
    with pytest.raises(ZeroDivisionError):
        fourth.result(20)
    # What is prepared waits for all requests.
    while "prepared" not in done:
        time.sleep(0.01)
    worker.close()
    assert done == ["third", "prepared"]


@pytest.mark.parametrize("unit", [bars.ROW, "look"])
def test_what_has_begun_ends_when_nobody_waits(unit):
    worker, begun, counts = Worker(2), threading.Event(), []

    def endless():
        with bars.counted(10**9, unit) as bar:
            while True:
                begun.set()
                bar.count(1, unit)
                counts.append(bar.done)
                time.sleep(0.001)

    first, second = worker.submit(endless), worker.submit(lambda: "next")
    assert begun.wait(20)
    first.give_up()
    with pytest.raises(GivenUpError):
        first.result(20)
    assert second.result(20) == "next" and counts
    # What is not begun is left out.
    held = Held()
    third, fourth = worker.submit(held), worker.submit(lambda: counts.clear())
    assert held.began.wait(20)
    fourth.give_up()
    held.let.set()
    assert third.result(20) == {} and fourth.cancelled()
    worker.close()
    assert counts


def test_a_measurement_of_the_library_is_given_up_between_batches(lm, worker):
    probes = negjax.encode(lm, ["w3 w4"], ["w5"])
    asked = []

    def measure():
        asked.append(negjax.response(lm, probes, negjax.all_neurons(lm.config), progress=False))

    given_up = worker.submit(lambda: None)
    given_up.result(20)
    given_up.give_up()
    with pytest.raises(GivenUpError), bars.without_bars(given_up.check):
        measure()
    assert not asked
    worker.submit(measure).result(60)
    assert asked


def answered_while(held, messages, seconds):
    """What becomes of a request behind work that is held, as its client's messages come."""
    worker, begun = Worker(2), []
    worker.submit(held)
    assert held.began.wait(20)
    left = iter(messages)

    async def receive():
        message = next(left, None)
        if message is None:
            await asyncio.sleep(60)
        return message

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    endpoint = server.told(
        lambda some: server.answered(some, worker, lambda: begun.append(1), seconds)
    )
    found = asyncio.run(endpoint(request))
    held.let.set()
    worker.close()
    return found, begun


def test_a_request_whose_client_went_away_is_never_begun():
    found, begun = answered_while(Held(), [{"type": "http.disconnect"}], 60.0)
    assert found.status_code == server.GONE and not begun


def test_a_request_that_takes_too_long_is_told_so():
    found, begun = answered_while(Held(), [], 0.1)
    assert found.status_code == 503 and not begun
    assert "longer than 0.1 s" in json.loads(found.body)["error"]


def test_a_measurement_that_fails_ends_no_server(worker, capsys):
    async def failing(request):
        raise RuntimeError("a secret path")

    found = asyncio.run(server.told(failing)(Request({"type": "http", "headers": []})))
    assert found.status_code == 500 and b"secret" not in found.body
    assert "a secret path" in capsys.readouterr().err


def test_programs_are_prepared_by_asking(lm, worker, capsys):
    """In the words of the model's own vocabulary, which ours has none of: that is said."""
    works = [*program.preparations(lm, [5], 16)]
    assert len(works) == 7
    failed = worker.submit(works[0], PREPARATION)
    failed.add_done_callback(program.say_failure)
    with pytest.raises(ValueError, match="vocabulary does not know"):
        failed.result(20)
    worker.submit(works[-1]).result(20)
    said = capsys.readouterr().err
    assert "not prepared: prompt: prompt 0 ('The capital of France is')" in said
    assert "prepared for prompts of 5 tokens" in said


def test_a_port_that_is_taken_is_said():
    with program.bound("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port}: .*; pass another --port"):
            program.bound("127.0.0.1", port)
