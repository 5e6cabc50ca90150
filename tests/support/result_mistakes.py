"""What provokes the errors of results in a user's hands, by the pattern in the index."""

from pathlib import Path
from typing import Any, cast

import numpy as np

import negjax
from negjax.storage.run_settings import SETTINGS
from tests.support.mistakes import Provoke, run_folder, with_vocabulary


def too_large(_: Path) -> None:
    negjax.NeurGrad(
        site="up",
        output="logit",
        probability=np.zeros((1, 1)),
        activation=np.broadcast_to(0.0, (1, 100, 100_000)),
        computed=np.broadcast_to(0.0, (1, 1, 100, 100_000)),
    ).to_arrow()


def damaged_settings(folder: Path) -> None:
    run_folder(folder, {}).close()
    (folder / "run" / SETTINGS).write_text("{")
    negjax.open_run(folder / "run")


def other_layout(folder: Path) -> None:
    (folder / SETTINGS).write_text('{"format": 0, "settings": {}}')
    negjax.open_run(folder)


def no_such_table(folder: Path) -> None:
    run_folder(folder, {}).close()
    negjax.open_run(folder / "run").table("facts.parquet")


def options(template: str, prompt: object, **given: object) -> Provoke:
    def provoke(_: Path) -> None:
        model = with_vocabulary(lambda _: None)
        model.tokenizer.chat_template = template
        negjax.encode(model, cast(Any, [prompt]), ["w4"], template_options=given)

    return provoke


CHAT = [{"role": "user", "content": "w3"}]
TEMPLATE = "{% if enable_thinking %}w20 {% endif %}{{ messages[0]['content'] }} w21"
CASES: dict[str, Provoke] = {
    "a table of … would have … rows, expected … at most; …": too_large,
    "… is no folder of a run: it has no settings.json; pass …": negjax.open_run,
    "… is damaged; pass another folder, or measure the run anew": damaged_settings,
    "… was written in layout …, and layout … is read; pass …": other_layout,
    "template_options names …, which the chat template of … does not read…": options(
        TEMPLATE, CHAT, enable_thinkin=False
    ),
    "template_options are of chats, and no prompt is one; …": options(
        TEMPLATE, "w3", enable_thinking=False
    ),
    "template_options cannot be recorded (…), expected …": options(
        TEMPLATE, CHAT, enable_thinking=len
    ),
    "name is …, expected one of the run's tables: …": no_such_table,
}
