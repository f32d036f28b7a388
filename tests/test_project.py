"""The shape of the project itself: what is packaged, and what may import what."""

import ast
import doctest
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]
PACKAGES: dict[str, str] = SETUPTOOLS["package-dir"]  # import name → folder


def module_files() -> dict[str, Path]:
    """Dotted module name → file, for every module of the three packages."""
    found = {}
    for package, folder in PACKAGES.items():
        for file in sorted((ROOT / folder).rglob("*.py")):
            parts = file.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join((package, *parts)).removesuffix(".__init__")] = file
    return found


MODULES = module_files()


# --- packaging ---------------------------------------------------------------------------------


def test_package_list_equals_the_tree() -> None:
    in_tree = {
        ".".join((package, *init.parent.relative_to(ROOT / folder).parts))
        for package, folder in PACKAGES.items()
        for init in (ROOT / folder).rglob("__init__.py")
    }
    assert set(SETUPTOOLS["packages"]) == in_tree
    assert len(SETUPTOOLS["packages"]) == len(in_tree)


def test_every_folder_with_code_is_a_package() -> None:
    bare = {
        str(file.parent.relative_to(ROOT))
        for file in MODULES.values()
        if not (file.parent / "__init__.py").exists()
    }
    assert not bare, f"folders without __init__.py are left out of the wheel: {bare}"


def test_every_data_file_is_in_the_wheel() -> None:
    missing = []
    for package, folder in PACKAGES.items():
        packed = {
            file
            for pattern in SETUPTOOLS["package-data"][package]
            for file in (ROOT / folder).glob(pattern)
        }
        for file in (ROOT / folder).rglob("*"):
            if file.is_file() and file.suffix not in (".py", ".pyc") and file not in packed:
                missing.append(str(file.relative_to(ROOT)))
    assert not missing, f"no package-data pattern in pyproject.toml takes {missing}"


def test_the_wheel_stays_small() -> None:
    sizes = {
        file: file.stat().st_size
        for folder in PACKAGES.values()
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and file.suffix != ".pyc"
    }
    demo_files = ROOT / "gemma4_mlx/demo"
    demo = sum(size for file, size in sizes.items() if file.is_relative_to(demo_files))
    assert demo <= 12 * 2**20, f"the demo model takes {demo / 2**20:.1f} MiB, more than 12"
    assert sum(sizes.values()) - demo <= 2 * 2**20, "more than 2 MiB beside the demo model"


def test_the_tests_run_this_checkout() -> None:
    for package, folder in PACKAGES.items():
        file = importlib.import_module(package).__file__
        assert file is not None
        assert Path(file).parent == ROOT / folder, f"{package} is another copy; run `make setup`"


# Where a package is imported under another name than it is installed by.
INSTALLED_BY = {"PIL": "pillow", "markdown_it": "markdown_it_py"}


def test_every_imported_package_is_declared() -> None:
    """What comes along with a dependency today may not come along tomorrow."""
    project = PYPROJECT["project"]
    extras = [project["optional-dependencies"][name] for name in ("mic", "media")]
    declared = {
        re.split(r"[^\w.-]", requirement)[0].replace("-", "_").lower()
        for requirement in sum(extras, project["dependencies"])
    }
    undeclared = {
        (name, module)
        for module, file in MODULES.items()
        if module != REFERENCE_PROCESS
        for name in {imported.split(".")[0] for imported, _ in imports(file)}
        if name not in sys.stdlib_module_names | set(PACKAGES)
        and INSTALLED_BY.get(name, name).lower() not in declared
    }
    assert not undeclared


# --- what may import what ----------------------------------------------------------------------

# From the bottom up; parts of one row never import each other.
ROWS: list[set[str]] = [
    {"errors"},
    {"json_files", "demo", "tools"},
    {"text_config", "released", "hub"},
    {"config", "hub_download"},
    {"generation_config", "layer_plan", "processing"},
    {"nn", "memory", "tensor_shapes"},
    {"text", "vision", "audio", "anatomy"},
    {"multimodal"},
    {"model"},
    {"nan_scan"},
    {"loading"},
    {"generation"},
    {"speech"},
    {"checks"},
]
# processing stands beside the model: these are all that it knows, and all that know it.
PROCESSING_KNOWS = {"config", "json_files", "errors"}
KNOW_PROCESSING = {"loading", "generation", "speech", "checks"}
# Runs transformers, where that is installed, to compare: in a process of its own, never imported.
REFERENCE_PROCESS = "gemma4_mlx.checks.transformers_process"


def imports(file: Path) -> Iterator[tuple[str, bool]]:
    """Every imported module, inside functions too, and whether it is imported at import time."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    late: set[ast.AST] = set()
    for node in ast.walk(tree):
        typing_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if typing_only or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            late.update(ast.walk(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node not in late
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute here"
            base = node.module or ""
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield (inner if inner in MODULES else base), node not in late


def part(module: str) -> str:
    """``gemma4_mlx.text.moe`` → ``text``; the package itself → ``""``."""
    return module.partition(".")[2].partition(".")[0]


def row(name: str) -> int:
    for index, names in enumerate(ROWS):
        if name in names:
            return index
    raise AssertionError(f"gemma4_mlx.{name} has no place in the order of DESIGN: add it to ROWS")


def allowed(importer: str, imported: str) -> bool:
    if importer == imported:
        return True
    if imported == "processing":
        return importer in KNOW_PROCESSING
    if importer == "processing":
        return imported in PROCESSING_KNOWS
    return row(imported) < row(importer)


@pytest.mark.parametrize("module", MODULES)
def test_arrows_point_one_way(module: str) -> None:
    order = ["gemma4_mlx", "gemma4_convert", "gemma4_cli"]
    top = module.split(".")[0]
    for imported, _ in imports(MODULES[module]):
        other = imported.split(".")[0]
        if other not in order:
            continue
        assert order.index(other) <= order.index(top), f"{module} imports {imported}"
        if top == other == "gemma4_mlx" and module != "gemma4_mlx":
            assert part(imported), f"{module} imports the public names, which stand above it"
            assert allowed(part(module), part(imported)), f"{module} imports {imported}"


@pytest.mark.parametrize(
    ("importer", "imported", "may"),
    [
        ("text", "nn", True),
        ("nn", "text", False),
        ("vision", "audio", False),
        ("processing", "config", True),
        ("processing", "layer_plan", False),
        ("model", "processing", False),
        ("loading", "processing", True),
        ("generation", "speech", False),
    ],
)
def test_the_order_itself(importer: str, imported: str, may: bool) -> None:
    assert allowed(importer, imported) is may


@pytest.mark.parametrize("module", MODULES)
def test_no_foreign_frameworks(module: str) -> None:
    """The reference and the other programs stay out of the packages."""
    for imported, at_import_time in imports(MODULES[module]):
        other = imported.split(".")[0]
        assert imported != REFERENCE_PROCESS, "it is run, not imported"
        if module == REFERENCE_PROCESS and not at_import_time:
            continue
        assert other not in {"torch", "torchvision", "transformers", "mlx_vlm", "mlx_lm"}, imported


@pytest.mark.parametrize("module", MODULES)
def test_mlx_stays_out_of_what_reads_files(module: str) -> None:
    """Configs, plans and inputs are made without an accelerator; the Processor wraps them."""
    plain = module in ("gemma4_mlx.errors", "gemma4_mlx.config", "gemma4_mlx.layer_plan")
    processing = part(module) == "processing" and module != "gemma4_mlx.processing.processor"
    if plain or processing:
        used = {imported.split(".")[0] for imported, _ in imports(MODULES[module])}
        assert "mlx" not in used


# --- start-up ----------------------------------------------------------------------------------

HEAVY = ("mlx", "mlx_lm", "numpy", "PIL", "transformers", "soundfile", "tokenizers")


def in_new_interpreter(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["gemma4_mlx", "gemma4_cli.__main__", "gemma4_convert"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    loaded = in_new_interpreter(
        f"import sys, {module}; print(*(m for m in {HEAVY} if m in sys.modules))"
    )
    assert loaded == ""


def test_importing_takes_under_50_ms() -> None:
    code = "import time; t = time.perf_counter(); import gemma4_mlx; print(time.perf_counter() - t)"
    times = [float(in_new_interpreter(code)) for _ in range(5)]
    assert min(times) < 0.05, times


# --- the public names ----------------------------------------------------------------------------


def test_public_names_resolve_and_are_typed() -> None:
    import gemma4_mlx

    for name in gemma4_mlx.__all__:
        assert getattr(gemma4_mlx, name) is not None
        assert name in dir(gemma4_mlx)
    with pytest.raises(AttributeError, match="nonsense"):
        gemma4_mlx.nonsense  # noqa: B018

    typed = {
        alias.name: node.module
        for block in ast.parse(MODULES["gemma4_mlx"].read_text()).body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == gemma4_mlx._HOME, "the lazy table and the TYPE_CHECKING imports differ"


@pytest.mark.parametrize("module", [name for name in MODULES if not name.endswith("__main__")])
def test_doctests(module: str) -> None:
    """Every module imports, and the examples in its docstrings hold."""
    assert doctest.testmod(importlib.import_module(module)).failed == 0


# --- house style -------------------------------------------------------------------------------


@pytest.mark.parametrize("module", MODULES)
def test_a_file_is_one_idea(module: str) -> None:
    file = MODULES[module]
    lines = len(file.read_text(encoding="utf-8").splitlines())
    assert lines <= 300, f"{file} has {lines} lines: usually two ideas"
