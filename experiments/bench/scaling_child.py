"""One size of `experiments.bench --scaling` in a process of its own, which has so many devices."""

import dataclasses
import json
import sys

import jax

import negjax
from experiments.bench import scaling


def main(axis: str, given: str) -> None:
    """Prints a point as JSON.

    Args:
        axis: name of what grows.
        given: `scaling.Sizes` as JSON; a processor is taken for as many devices as they say.
    """
    sizes = scaling.Sizes(**json.loads(given))
    negjax.configure_process()
    # Accelerators are as many as there are.
    jax.config.update("jax_num_cpu_devices", sizes.devices)
    of_devices = scaling.Axis(axis, "neurgrad", (sizes,), lambda sizes, _: sizes.devices)
    print(json.dumps(dataclasses.asdict(scaling.measured(of_devices, sizes))))


if __name__ == "__main__":
    main(*sys.argv[1:])
