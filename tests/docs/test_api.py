"""The public names: complete, documented, typed, and on docs/API.md as they are."""

import ast
import inspect

import pytest

import gemma4_mlx
from tests.docs import api

NAMES = [name for name in gemma4_mlx.__all__ if name != "__version__"]


def test_the_page_is_what_the_names_are_today() -> None:
    assert api.PAGE.read_text(encoding="utf-8") == api.text(), "run `make docs`"


def test_the_page_has_every_name_once() -> None:
    shown = [name for names in api.SECTIONS.values() for name in names]
    assert sorted(shown) == sorted(gemma4_mlx.__all__)
    assert sorted(gemma4_mlx.__all__) == gemma4_mlx.__all__


def test_all_is_complete() -> None:
    """Whatever the package itself gives by a plain name is meant to be public."""
    given = {
        name
        for name in (*vars(gemma4_mlx), *gemma4_mlx._HOME)
        if not name.startswith("_")
        and not inspect.ismodule(getattr(gemma4_mlx, name))
        and name not in ("TYPE_CHECKING", "import_module")
    }
    assert given == set(NAMES)


def test_every_error_is_public() -> None:
    from gemma4_mlx import errors

    raised = {
        name
        for name, thing in vars(errors).items()
        if inspect.isclass(thing) and issubclass(thing, errors.Gemma4Error)
    }
    assert raised <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_documented(name: str) -> None:
    node = api.definition(name)
    assert ast.get_docstring(node), name
    if isinstance(node, ast.ClassDef):
        silent = [item.name for item in api.public_methods(node) if not ast.get_docstring(item)]
        assert not silent, f"{name}: {silent}"


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_typed(name: str) -> None:
    node = api.definition(name)
    functions = [node] if isinstance(node, ast.FunctionDef) else api.public_methods(node)
    for function in functions:
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        bare = [item.arg for item in arguments if item.annotation is None and item.arg != "self"]
        assert not bare, f"{name}.{function.name}: {bare}"
        assert function.returns is not None, f"{name}.{function.name}"
