"""States of a training run on disk, so that it continues where it stopped; written with Orbax."""

import types
from pathlib import Path

import jax
import orbax.checkpoint as ocp

from experiments.pretrain_bert.training import TrainingState

# The newest, and the one before it: a run that is killed after a state was written, but before the
# run's folder says so, continues from the one before.
KEPT = 2


class SavedStates:
    """A folder of states by step. Each appears whole or not at all. Close it, or use `with`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._manager = ocp.CheckpointManager(
            directory.resolve(),
            options=ocp.CheckpointManagerOptions(
                preservation_policy=ocp.checkpoint_managers.LatestN(n=KEPT),
                enable_async_checkpointing=False,
            ),
        )

    def __enter__(self) -> "SavedStates":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self._manager.close()

    def save(self, step: int, state: TrainingState) -> None:
        """Writes the state before step number `step`; the oldest of more than two is deleted."""
        self._manager.save(step, args=ocp.args.StandardSave(state))

    def resume(self, step: int, fresh: TrainingState) -> TrainingState:
        """The state before step number `step`; later ones, which nothing counts on, are deleted.

        Args:
            fresh: the state before step 0, whose shapes and dtypes the saved one has.

        Raises:
            ValueError: the state was not saved.
        """
        saved = self._manager.all_steps()
        for later in (other for other in saved if other > step):
            self._manager.delete(later)
        if step == 0:
            return fresh
        if step not in saved:
            raise ValueError(
                f"{self._directory}: the state after {step} steps is missing (found: "
                f"{', '.join(map(str, sorted(saved))) or 'none'}); pass overwrite=True to train "
                "anew"
            )
        like = jax.tree.map(ocp.utils.to_shape_dtype_struct, fresh)
        return self._manager.restore(step, args=ocp.args.StandardRestore(like))
