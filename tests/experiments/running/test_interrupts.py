"""Interrupts that arrive as something else."""

import pytest

from experiments.running import interrupts


def fail(error: BaseException, cause: BaseException | None) -> None:
    raise error from cause


@pytest.mark.parametrize(
    ("error", "cause", "expected"),
    [
        (SystemError("set"), KeyboardInterrupt(), KeyboardInterrupt),
        (SystemError("set"), ValueError(), SystemError),
        (SystemError("set"), None, SystemError),
        (ValueError("bad"), KeyboardInterrupt(), ValueError),
        (KeyboardInterrupt(), None, KeyboardInterrupt),
    ],
)
def test_what_c_code_makes_of_an_interrupt_is_one(
    error: BaseException, cause: BaseException | None, expected: type[BaseException]
) -> None:
    with pytest.raises(expected) as raised:
        interrupts.heard(fail, error, cause)
    assert type(raised.value) is expected


def test_what_is_returned_is_returned() -> None:
    assert interrupts.heard(divmod, 7, 2) == (3, 1)
