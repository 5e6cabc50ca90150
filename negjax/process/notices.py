"""What the library says to its user without being asked, once: as warnings of a class of their own.

Filters of Python's `warnings` silence them or turn them into errors:
`warnings.simplefilter("ignore", negjax.Notice)`.
"""

import warnings


class Notice(UserWarning):
    """Something was decided for the user that changes what is measured, or how."""


def say(text: str) -> None:
    """Says a thing; the default filter shows the same words once, until filters change."""
    warnings.warn(text, Notice, stacklevel=2)
