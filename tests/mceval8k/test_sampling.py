"""Which items of a part are taken: balanced labels, languages by turns."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negjax import mceval8k
from negjax.mceval8k.benchmark import Item
from negjax.mceval8k.files import Row


def items_of(labels: Sequence[int], languages: Sequence[str | None] = (None,)) -> list[Item]:
    return [
        Item(
            Row(
                part="train",
                number=n,
                texts=(str(n),),
                target=None,
                options=(),
                label=label,
                language=languages[n % len(languages)],
                translation=None,
            ),
            head="",
            question="",
        )
        for n, label in enumerate(labels)
    ]


@given(st.lists(st.integers(0, 2), min_size=1, max_size=40), st.data())
def test_the_first_items_are_balanced(labels: list[int], data: st.DataObject) -> None:
    items = items_of(labels)
    count = data.draw(st.integers(1, len(items)))
    taken = mceval8k.first(items, count, ("a", "b", "c"))
    assert len(taken) == count == len({item.row.number for item in taken})
    numbers = [item.row.number for item in taken]
    assert numbers == sorted(numbers)
    supply, held = Counter(labels), Counter(item.label for item in taken)
    for one in range(3):
        own = [n for n, label in enumerate(labels) if label == one]
        assert [n for n in numbers if labels[n] == one] == own[: held[one]]
        # A label has fewer than another only where it has no more.
        if held[one] < supply[one]:
            assert held[one] >= max(held.values()) - 1
    if count > 1:
        assert set(mceval8k.first(items, count - 1, ("a", "b", "c"))) < set(taken)


def test_languages_take_turns_within_a_label() -> None:
    items = items_of([0] * 6 + [1] * 6, ("en", "en", "zh"))
    taken = mceval8k.first(items, 8, ("a", "b"))
    counts = Counter((item.label, item.language) for item in taken)
    assert set(counts.values()) == {2}
    for count in (0, 13):
        with pytest.raises(ValueError, match=f"count={count}: there are 12 items; pass 1 to 12"):
            mceval8k.first(items, count, ("a", "b"))


def test_resampling() -> None:
    items = items_of([0, 1, 0, 0, 1, 0, 2])
    labels = ("a", "b", "c")

    def numbers(sampling: Any) -> Iterator[int]:
        return (item.row.number for item in mceval8k.resample(items, labels, sampling))

    assert list(numbers("none")) == [0, 1, 2, 3, 4, 5, 6]
    assert list(numbers("down")) == [0, 1, 6]
    assert list(numbers("up")) == [0, 1, 2, 3, 4, 5, 6, 1, 4, 6, 6, 6]
    with pytest.raises(ValueError, match="sampling is 'both', expected one of none, up, down"):
        list(numbers("both"))
    with pytest.raises(ValueError, match="sampling 'up': no item of label 'd' among 7"):
        mceval8k.resample(items, (*labels, "d"), "up")
