"""The web application: its page, and requests that one worker answers."""

import asyncio
import functools
import json
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import experiments.reporting
from experiments.playground import guard, measures, questions
from experiments.playground.snippets import snippet
from experiments.playground.worker import BusyError, Worker
from negjax import checks
from negjax.errors import Argument, ArgumentError
from negjax.model.language_model import LanguageModel

STATIC = Path(__file__).parent / "static"
SHARED = Path(experiments.reporting.__file__).parent / "static"
MOST_BYTES = 256 * 1024
"""Of a request."""
GONE = 499
"""Of an answer that nobody reads: the client went away."""
LOOKS = 0.2
"""Seconds between two looks whether the client is still there."""


class Guarded:
    """An application behind `guard`, whose answers have its headers."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str], token: str | None):
        """Takes the application, and what `guard.refusal` does."""
        self._app, self._hosts, self._token = app, hosts, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or refuses it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                named = {name.decode().lower() for name, _ in message["headers"]}
                message["headers"] += [
                    (name.encode(), value.encode())
                    for name, value in guard.HEADERS.items()
                    if name not in named
                ]
            await send(message)

        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        refused = guard.refusal(
            scope["method"], scope["path"], headers, hosts=self._hosts, token=self._token
        )
        app = self._app if refused is None else error_response(refused[1], status=refused[0])
        await app(scope, receive, sent)


def application(
    lm: LanguageModel,
    worker: Worker,
    *,
    prompt_tokens: int,
    seconds: float,
    hosts: frozenset[str],
    token: str | None,
) -> ASGIApp:
    """The application.

    Args:
        prompt_tokens: that a prompt may have.
        seconds: that a request may wait and be measured; then it is answered with an error.
        hosts, token: as `guard.refusal` takes them.
    """

    async def measured(request: Request) -> Response:
        measure = measures.MEASURES.get(request.path_params["name"])
        if measure is None:
            return error_response("there is nothing here; see the page", None, 404)
        asked = questions.read(await body_of(request))
        work = functools.partial(measure, lm, asked, prompt_tokens)
        return await answered(request, worker, work, seconds)

    async def python(request: Request) -> Response:
        body = await body_of(request)
        tokens = body.pop("tokens", [])
        expected = f"at most {measures.TOKENS} token ids"
        ids = checks.listed(tokens, "tokens", expected)
        if len(ids) > measures.TOKENS or not all(map(checks.is_whole, ids)):
            raise ArgumentError(
                Argument("tokens"), f" are {checks.shown(ids)}, expected {expected}"
            )
        return JSONResponse({"python": snippet(lm, questions.read(body), tokens)})

    async def model(request: Request) -> Response:
        return JSONResponse(measures.about_model(lm, prompt_tokens))

    async def page(request: Request) -> Response:
        return FileResponse(STATIC / "page.html", media_type="text/html")

    routes = [
        Route("/", page),
        Route("/api/model", model),
        Route("/api/python", told(python), methods=["POST"]),
        Route("/api/{name}", told(measured), methods=["POST"]),
        Mount("/static", StaticFiles(directory=STATIC)),
        Mount("/shared", StaticFiles(directory=SHARED)),
    ]
    return Guarded(Starlette(routes=routes), hosts, token)


Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


def told(endpoint: Endpoint) -> Endpoint:
    """An endpoint whose errors are said in words, with the field that is at fault."""

    async def endpoint_told(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ArgumentError as error:
            names = error.arguments
            return error_response(error.message, names[0] if names else None, 400)
        except ValueError as error:
            return error_response(str(error), None, 400)
        except (BusyError, TimeoutError) as error:
            return error_response(str(error), None, 503)
        except ClientDisconnect:
            return Response(status_code=GONE)
        except Exception as error:  # What is not ours to foresee: said, and shown where it arose.
            traceback.print_exception(error)
            return error_response(f"the measurement failed: {type(error).__name__}", None, 500)

    return endpoint_told


def error_response(message: str, field: str | None = None, status: int = 400) -> JSONResponse:
    """An error as the page shows it."""
    return JSONResponse({"error": message, "field": field}, status_code=status)


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object of a request.

    Raises:
        ArgumentError: it is too large, no JSON, or no object.
    """
    found = bytearray()
    async for part in request.stream():
        found += part
        if len(found) > MOST_BYTES:
            raise ArgumentError(f"the request has more than {MOST_BYTES:,} bytes; shorten it")
    try:
        body = json.loads(bytes(found))
    except (ValueError, RecursionError):
        raise ArgumentError("the request is no JSON; expected an object") from None
    if not isinstance(body, dict):
        raise ArgumentError(f"the request is {checks.shown(body)}, expected a JSON object")
    return body


async def answered(
    request: Request, worker: Worker, work: Callable[[], Any], seconds: float
) -> Response:
    """What the worker finds, as JSON; work whose client goes away before its turn is left out.

    Raises:
        TimeoutError: it takes longer than a request may.
        BusyError: so much waits that no more is taken.
    """
    future = worker.submit(work)
    clock = asyncio.get_running_loop().time
    start = clock()
    waiting = asyncio.wrap_future(future)
    try:
        while not waiting.done():
            await asyncio.wait([waiting], timeout=LOOKS)
            if waiting.done():
                break
            if await request.is_disconnected():
                return Response(status_code=GONE)
            if clock() - start > seconds:
                raise TimeoutError(
                    f"this takes longer than {seconds:g} s, which a request may take; "
                    "shorten the prompt, or choose fewer neurons"
                )
        found = waiting.result()
        return JSONResponse({**found, "seconds": round(clock() - start, 3)})
    finally:
        waiting.cancel()
        future.give_up()
