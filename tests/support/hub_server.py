"""A tiny Hugging Face hub on 127.0.0.1: one repository served, one gated, all others unknown."""

import contextlib
import hashlib
import http.server
import json
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = "someone/tiny"
GATED = "someone/gated"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextlib.contextmanager
def serving(
    directory: Path, repository: str = REPOSITORY, kind: str = "model"
) -> Iterator[tuple[str, list[str]]]:
    """Address of a server of a directory's files as a repository, and the names asked for."""
    asked: list[str] = []
    api = f"/api/{kind}s/{repository}"
    files = f"/{repository}/resolve/{COMMIT}/"
    if kind == "dataset":
        files = f"/datasets{files}"

    def served() -> list[str]:
        found = (file for file in directory.rglob("*") if file.is_file())
        return sorted(str(file.relative_to(directory)) for file in found)

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Prints nothing."""

        def answer(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def do_GET(self) -> None:
            path = urllib.parse.urlparse(self.path).path
            if GATED in path:
                self.answer(403, b"{}", X_Error_Code="GatedRepo")
            elif path == f"{api}/revision/main":
                siblings = [{"rfilename": name} for name in served()]
                info = {"id": repository, "sha": COMMIT, "siblings": siblings}
                self.answer(200, json.dumps(info).encode(), Content_Type="application/json")
            elif path == f"{api}/tree/{COMMIT}":
                tree = [
                    {
                        "type": "file",
                        "path": name,
                        "size": (directory / name).stat().st_size,
                        "oid": hashlib.sha1((directory / name).read_bytes()).hexdigest(),
                    }
                    for name in served()
                ]
                self.answer(200, json.dumps(tree).encode(), Content_Type="application/json")
            elif path.startswith(files):
                name = path.removeprefix(files)
                asked.append(name)
                body = (directory / name).read_bytes()
                etag = f'"{hashlib.sha1(body).hexdigest()}"'
                self.answer(200, body, ETag=etag, X_Repo_Commit=COMMIT)
            else:
                self.answer(404, b"{}", X_Error_Code="RepoNotFound")

        def do_HEAD(self) -> None:
            self.do_GET()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
