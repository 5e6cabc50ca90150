"""What to do when JAX cannot start on a device."""

import os

import jax


def check_started() -> None:
    """Starts JAX on the device that it finds or is told to use.

    Raises:
        OSError: there is no such device, or what is installed for it fails.
    """
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        # Of a platform that has a name and no plugin, JAX fails an assertion without a word.
        told = str(error).strip().partition("\n")[0] or "no such device was found"
        asked = os.environ.get("JAX_PLATFORMS") or jax.config.values["jax_platforms"]
        if asked:
            remedy = (
                f"JAX_PLATFORMS is {asked!r}: set JAX_PLATFORMS=cpu or unset it, or install the "
                "jaxlib and the driver of that device"
            )
        else:
            remedy = "set JAX_PLATFORMS=cpu to compute on the CPU, or mend the device's driver"
        raise OSError(f"JAX cannot start: {told}; {remedy}") from error
