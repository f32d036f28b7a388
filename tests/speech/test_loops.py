"""What counts as going round in circles."""

import random

import pytest

from gemma4_mlx.speech.loops import Loop, find_loop, without_loop

SPOKEN = list(range(100, 130))  # thirty tokens, none twice


@pytest.mark.parametrize("period", [1, 3, 17, 40])
def test_a_loop_is_found(period: int) -> None:
    circle = list(range(period))
    ids = SPOKEN + (circle * 200)[: max(160, 5 * period)]
    loop = find_loop(ids, seconds=5)
    assert loop == Loop(30, period, (len(ids) - 30) // period)
    assert without_loop(ids, loop) == SPOKEN + circle


@pytest.mark.parametrize(
    ("ids", "seconds"),
    [
        ([1] * 20, 5),  # "no, no, no": twenty words in five seconds
        (SPOKEN + [1, 2] * 10, 10),
        ([7, 8, 9] * 3, 1),  # said three times
        ([5] * 100, 30),  # slow counting
        (SPOKEN * 3, 1),  # a refrain
        ([1] * 200 + SPOKEN, 1),  # it has found its way out
        ([], 1),
    ],
)
def test_what_people_say_is_none(ids: list[int], seconds: float) -> None:
    assert find_loop(ids, seconds) is None


def test_ids_at_random_are_none() -> None:
    draw = random.Random(1)
    for _ in range(300):
        ids = [draw.randrange(10) for _ in range(draw.randrange(400))]
        assert find_loop(ids, 1) is None
