"""MCEval8K: 22 tasks of six genres, whose answers are one token out of a few.

    task = negjax.mceval8k.load("ner")                      # .train .valid .test: no text in two
    items = negjax.mceval8k.first(task.train, 600, task.labels)
    probes = negjax.mceval8k.encode_items(lm, items, task.labels)

An item is a prompt with the number of its right label; labels are the targets of every probe.
"""

from negjax.mceval8k.benchmark import Item, Task, load
from negjax.mceval8k.catalogue import TASKS, TaskSpec, names
from negjax.mceval8k.encoding import encode_items
from negjax.mceval8k.sampling import first, in_turns, resample
from negjax.mceval8k.wording import template_count

__all__ = [
    "TASKS",
    "Item",
    "Task",
    "TaskSpec",
    "encode_items",
    "first",
    "in_turns",
    "load",
    "names",
    "resample",
    "template_count",
]
