"""Whether a file has the masked-LM head that negjax reads, and which other heads it has."""

from collections.abc import Collection, Sequence

from negjax.process.notices import say


def check_heads(
    names: Collection[str], expected: Sequence[str], others: Sequence[str], origin: str
) -> None:
    """Says once which heads are left aside.

    Args:
        names: of a file's tensors.
        expected: those of a masked-LM head.
        others: those that are part of heads for other tasks.
        origin: the file, for errors.

    Raises:
        ValueError: the file has no masked-LM head.
    """
    missing = [name for name in expected if name not in names]
    modules = ", ".join(sorted({name.rpartition(".")[0] for name in others}))
    if missing and (others or len(missing) == len(expected)):
        raise ValueError(
            f"{origin}: the file has no masked-LM head, without which negjax cannot read the "
            f"model's predictions (missing: {', '.join(missing)}"
            + (f"; there are other heads: {modules}" if others else "")
            + "); use a checkpoint of the whole masked language model"
        )
    if others:
        say(f"{origin}: heads beside the masked-LM head are left aside: {modules}")
