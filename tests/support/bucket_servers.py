"""Servers on this machine that speak as S3 and Google Cloud Storage do."""

import contextlib
import itertools
import json
import logging
import os
import urllib.request
from collections.abc import Iterator

from gcp_storage_emulator.server import create_server  # type: ignore[import-untyped]
from moto.server import ThreadedMotoServer

from negjax.storage.buckets import Bucket

NAME = "bucket"
"""Of the one that each has."""
SCHEMES = ("s3", "gs")

_NUMBERS = itertools.count()


@contextlib.contextmanager
def running() -> Iterator[dict[str, str]]:
    """Both, and the variables of the environment by which they are found."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    logging.getLogger("gcp_storage_emulator").setLevel(logging.ERROR)
    amazon = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    amazon.start()
    google = create_server("127.0.0.1", 0, in_memory=True, default_bucket=NAME)
    google.start()
    try:
        endpoint = f"http://127.0.0.1:{amazon.get_host_and_port()[1]}"
        made = urllib.request.Request(f"{endpoint}/{NAME}", method="PUT")
        urllib.request.urlopen(made).close()
        yield {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "made-up",
            "AWS_SECRET_ACCESS_KEY": "made-up",
            "TENSORSTORE_GCS_HTTP_URL": f"http://127.0.0.1:{_port(google)}",
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "made-up",
        }
    finally:
        google.stop()
        amazon.stop()


def _port(server: object) -> int:
    """That the system chose, which the emulator does not say."""
    port: int = server._api._httpd.socket.getsockname()[1]  # type: ignore[attr-defined]
    return port


@contextlib.contextmanager
def found() -> Iterator[None]:
    """This process and its children find them."""
    before = dict(os.environ)
    with running() as variables:
        os.environ.update(variables)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def held(bucket: Bucket) -> dict[str, bytes]:
    """All objects of it."""
    return dict(bucket.read(bucket.names()))


def fresh(scheme: str) -> str:
    """An address at which there is nothing yet.

    The emulator of Google's server lists a bucket whole, whatever part is asked for: each address
    has a bucket of its own.
    """
    number = next(_NUMBERS)
    if scheme == "s3":
        return f"s3://{NAME}/folder/{number}"
    url = f"{os.environ['TENSORSTORE_GCS_HTTP_URL']}/storage/v1/b?project=made-up"
    body = json.dumps({"name": f"{NAME}-{number}"}).encode()
    kind = {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(url, data=body, headers=kind)).close()
    return f"gs://{NAME}-{number}/folder"
