"""Pages of the documentation that programs write: a part of a Markdown file, between two marks.

What stands outside the marks is somebody's own and stays.
"""

from pathlib import Path

from absl import flags

from experiments.running import messages
from negjax.storage import given_files
from negjax.storage.whole_files import write_bytes

_PAGE = flags.DEFINE_string(
    "page",
    None,
    "Markdown page to write what is shown to, besides: a new file, or one that has the lines "
    "`<!-- NAME: start -->` and `<!-- NAME: stop -->`, NAME being the experiment's; what stands "
    "between them is replaced. A run that is not complete writes none.",
)


def page_file(name: str) -> Path | None:
    """The page that the flag names, if it does.

    Args:
        name: of the program's part of it.

    Raises:
        ValueError, OSError: there is such a file, which is no text or lacks the marks; or there is
            no folder for it.
    """
    if not _PAGE.value:
        return None
    file = messages.path(_PAGE)
    with messages.of_flag(_PAGE):
        if file.exists():
            _around(file, name)
        elif not file.parent.is_dir():
            raise FileNotFoundError(f"{file.parent} is no folder to make a page in")
    return file


def write_part(file: Path, name: str, text: str) -> None:
    """Writes a program's part of a page; a page that is not there is that part alone."""
    before, after = _around(file, name) if file.exists() else ("", "\n")
    start, stop = _marks(name)
    whole = f"{before}{start}\n{text.strip()}\n{stop}{after}"
    write_bytes(file, whole.encode())


def _marks(name: str) -> tuple[str, str]:
    return f"<!-- {name}: start -->", f"<!-- {name}: stop -->"


def _around(file: Path, name: str) -> tuple[str, str]:
    """What stands before and after the part."""
    start, stop = _marks(name)
    found = given_files.check_file(str(file), "page", "a Markdown file")
    before, started, rest = given_files.decoded(found.read_bytes(), file).partition(start)
    _, stopped, after = rest.partition(stop)
    if not (started and stopped):
        raise ValueError(f"{file} lacks the lines {start} and {stop}")
    return before, after
