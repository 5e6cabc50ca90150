"""A process of a job that computes nothing: joins, tells what it is to tell, ends as it is told."""

import argparse
import os
import sys
import time
from typing import NoReturn

from negjax.process import hosts


def end(text: str) -> NoReturn:
    """Says what happened, and ends this process."""
    os.write(2, f"lost: {text}\n".encode())
    os._exit(7)


def main() -> None:
    """Process 1 ends as `mode` says, the others wait for it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mode")
    parser.add_argument("--coordinator")
    parser.add_argument("--processes", type=int)
    parser.add_argument("--process", type=int)
    given = parser.parse_args()
    job = hosts.join(
        given.coordinator,
        given.processes,
        given.process,
        lost=end,
        seconds=3 if given.mode == "alone" else 200,
    )
    if job.index == 1:
        job.tell("word", "from 1")
    print(job, job.hear("word"), flush=True)
    if given.mode == "fail" and job.index == 1:
        job.fail("no more paper", 3)
        sys.exit(3)
    if given.mode == "fail first" and job.index == 0:
        job.fail("no more ink", 3)
        sys.exit(3)
    if given.mode == "kill first" and job.index == 0:
        # Not before the others have read the word.
        time.sleep(1)
        os.kill(os.getpid(), 9)
    job.gather("end")
    job.leave()


if __name__ == "__main__":
    main()
