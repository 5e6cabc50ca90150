"""The program: its flags, the model, and the server."""

import contextlib
import functools
import secrets
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass

from experiments.playground import guard, measures, questions
from experiments.playground.worker import PREPARATION, Worker
from experiments.running import common, messages, terminal
from experiments.running.settings import define, setting
from negjax.model.language_model import LanguageModel

UNREAD = ("site", "seed", "output", "overwrite", "budget_mib")
"""Flags of all experiments that decide nothing here: nothing is drawn, nothing is written."""
MOST_WAITING = 16
"""Requests, besides the one that is measured."""
PHRASE = "The capital of France is"
"""Of which prompts are made whose programs are compiled at the start."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the page is served."""

    host: str = setting(
        "127.0.0.1",
        "Address to listen at; the page of one that is not this machine's own takes a token.",
    )
    port: int = setting(8321, "Port to listen at.", least=1, most=65535)
    most_prompt_tokens: int = setting(256, "Tokens that a prompt may have.", least=1)
    seconds: float = setting(120.0, "That a request may take; then the page is told so.", above=0)
    warm: list[int] = setting(
        [5, 9, 13, 17, 25, 33, 49],
        "Tokens of prompts for which programs are compiled at the start, each also for those that "
        "are a little shorter.",
    )


FLAGS = define(Settings)


def main() -> int:
    """Loads the model and serves the page until it is interrupted; returns the exit status.

    Raises:
        ValueError, OSError: a flag is wrong, or means nothing here; the extra `app` is missing; the
            port is taken.
    """
    settings = FLAGS.read()
    common.refuse_unread("playground", UNREAD, "which measures what its page asks")
    try:
        import uvicorn

        from experiments.playground import server
    except ImportError as error:
        raise OSError(f"{error.name} is not installed; pip install 'negjax[app]'") from error
    local = guard.is_loopback(settings.host)
    token = None if local else secrets.token_urlsafe(24)
    listening = bound(settings.host, settings.port)
    lm = common.load_model()
    with messages.of_flag(FLAGS["most_prompt_tokens"]):
        if settings.most_prompt_tokens > lm.config.context_length:
            raise ValueError(f"the model's context is {lm.config.context_length:,} tokens")
    worker = Worker(MOST_WAITING)
    for work in preparations(lm, settings.warm, settings.most_prompt_tokens):
        worker.submit(work, PREPARATION).add_done_callback(say_failure)
    app = server.application(
        lm,
        worker,
        prompt_tokens=settings.most_prompt_tokens,
        seconds=settings.seconds,
        hosts=own_hosts(settings.port) if local else frozenset(),
        token=token,
    )
    name = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"http://{name}:{settings.port}/"
    if token is not None:
        terminal.note(
            f"warning: {settings.host} can be reached from other machines, over a connection that "
            "anybody on the way can read; whoever has the token can use this machine to measure"
        )
        address += f"?token={token}"
    terminal.say(f"{lm.name}: open {address} (Ctrl-C ends it)")
    config = uvicorn.Config(
        app,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])
    worker.close()
    return 0


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        OSError: the port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise OSError(
            f"cannot listen at {host}, port {port}: {error.strerror or error}; pass another "
            "--port, or --host=127.0.0.1"
        ) from error


def own_hosts(port: int) -> frozenset[str]:
    """What a browser on this machine writes as Host."""
    bare = guard.LOOPBACK if port == 80 else ()
    return frozenset([*(f"{name}:{port}" for name in guard.LOOPBACK), *bare])


def preparations(lm: LanguageModel, lengths: list[int], most: int) -> Iterator[Callable[[], None]]:
    """Work that compiles what is asked of prompts of so many tokens, by asking it.

    In small pieces, between which requests have their turn: first what is asked first, of all
    lengths, then what follows where several neurons are moved.
    """
    c = lm.config
    spread = [[place * c.layers // measures.LISTED, place] for place in range(measures.LISTED)]
    listed = [pair for pair in spread if pair[1] < c.neurons]
    first: list[tuple[str, dict[str, object]]] = [
        ("answer", {}),
        ("curves", {"neurons": listed[:1]}),
        ("neg", {"neurons": listed}),
    ]
    then: list[tuple[str, dict[str, object]]] = [
        ("curves", {"neurons": listed[:2]}),
        ("steer", {"neurons": listed[:2], "probability": 0.9}),
    ]
    if c.causal:
        then.append(("write", {"neurons": listed[:2]}))
    for stage in (first, then):
        for length in lengths:
            body = _made_up(lm, length, most)
            for name, fields in stage:
                request = questions.read({**body, **fields})
                yield functools.partial(_prepare, lm, name, request, most)
    shown = ", ".join(map(str, lengths))
    yield functools.partial(terminal.note, f"prepared for prompts of {shown} tokens")


def say_failure(prepared: Future[None]) -> None:
    """Says what kept a program from being compiled; requests compile their own."""
    error = None if prepared.cancelled() else prepared.exception()
    if error is not None:
        # Of fields of a request, which no flag sets.
        terminal.note(f"not prepared: {' '.join(str(error).split())}")


def _prepare(lm: LanguageModel, name: str, request: questions.Asked, most: int) -> None:
    measures.MEASURES[name](lm, request, most)


def _made_up(lm: LanguageModel, length: int, most: int) -> dict[str, object]:
    """A request whose prompt has about as many tokens as asked for."""
    length = min(length, most, lm.config.context_length // 2)
    text = " ".join((PHRASE.split() * length)[:length])
    return {"prompt": text if lm.config.causal else f"{text} [MASK]"}
