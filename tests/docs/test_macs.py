"""README's table of Macs and its sizes of recipes are what the plans of conversions say."""

import re

from gemma4_convert.recipe import shipped_recipes
from tests.docs import macs
from tests.docs.arithmetic import A4B, BIG, E2B, MODELS

README = macs.PAGE.read_text(encoding="utf-8")


def test_the_table_of_macs() -> None:
    assert macs.page() == README, "run `make docs`"


def test_sizes_of_recipes() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \|((?: [\d.]+ GB \|){4})", README, flags=re.MULTILINE)
    assert {name for name, _ in rows} == set(shipped_recipes())
    for name, sizes in rows:
        said = re.findall(r"[\d.]+", sizes)
        assert said == [f"{macs.plan(model, name).total_bytes / 1e9:.1f}" for model in MODELS], name


def test_what_is_chosen_fits_and_what_is_not_does_not() -> None:
    for size in macs.SIZES:
        for model in MODELS:
            room = macs.SHARE * size * macs.GIB
            chosen = macs.choice(model, size)
            if chosen is None:
                assert macs.in_use(model, macs.RECIPES[-1], 4096) > room
            else:
                assert macs.in_use(model, *chosen) <= room


def test_more_memory_never_gives_less() -> None:
    for model in MODELS:
        found = [macs.choice(model, size) for size in macs.SIZES]
        quality = [-1 if c is None else len(macs.RECIPES) - macs.RECIPES.index(c[0]) for c in found]
        assert quality == sorted(quality)


def test_by_hand() -> None:
    """12 GB of weights are more than two thirds of 16 GiB; E2B has room for all of its context."""
    assert macs.plan(A4B, "small").bytes_in_use > 16 * macs.GIB * macs.SHARE
    assert macs.choice(A4B, 16) is None and macs.choice(BIG, 24) is None
    assert macs.choice(E2B, 8) == ("8bit", 131_072)


def test_downloads() -> None:
    """Two bytes a parameter: the released files are in bfloat16."""
    said = re.findall(r"^\| `(\w+)` \| google/\S+ \| ([\d.]+) GB \|", README, flags=re.MULTILINE)
    assert dict(said) == {m.alias: f"{2 * m.parameters.total / 1e9:.1f}" for m in MODELS}
