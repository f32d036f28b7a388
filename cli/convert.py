"""``gemma4 convert SOURCE [DEST]``: a checkpoint as a smaller one for this machine."""

import json
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gemma4_cli.console import clear_status, complain, notice, notices, say
from gemma4_cli.pace import Pace
from gemma4_cli.units import size

if TYPE_CHECKING:
    from gemma4_convert.plan import ConversionPlan
    from gemma4_convert.recipe import Recipe
    from gemma4_convert.report.figures import Report


class Mode(StrEnum):
    """How numbers are packed."""

    AFFINE = "affine"
    MXFP4 = "mxfp4"
    MXFP8 = "mxfp8"
    NVFP4 = "nvfp4"


class Dtype(StrEnum):
    """The dtypes of unquantized checkpoints."""

    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT32 = "float32"


def convert(
    source: Annotated[
        str,
        typer.Argument(
            help="What to convert: a directory, a hub id, e2b, e4b, 26b or 31b.", metavar="SOURCE"
        ),
    ],
    dest: Annotated[
        Path | None,
        typer.Argument(
            help="The new directory. Else named after source and recipe, here.", metavar="[DEST]"
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            "-r",
            help="8bit, balanced, small, mlx-4bit, or your own TOML file. [default: balanced]",
            show_default=False,
        ),
    ] = None,
    bits: Annotated[
        int | None, typer.Option("--bits", help="Plain: 2, 3, 4, 5, 6 or 8 bits for the decoder.")
    ] = None,
    group_size: Annotated[
        int | None,
        typer.Option("--group-size", help="With --bits: 32, 64 or 128 numbers share a scale."),
    ] = None,
    mode: Annotated[
        Mode | None, typer.Option("--mode", help="With --bits or instead: how numbers are packed.")
    ] = None,
    dtype: Annotated[
        Dtype | None, typer.Option("--dtype", help="Quantize nothing, write this dtype.")
    ] = None,
    plan_only: Annotated[
        bool, typer.Option("--plan", help="Show what would be written, and write nothing.")
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Measure what it cost, for every tensor group.")
    ] = False,
    report_text: Annotated[
        Path | None, typer.Option("--report-text", help="Measure on this text instead of ours.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Read the result back and compare it with the source.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a checkpoint at DEST.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures as JSON.")] = False,
) -> None:
    """Convert a checkpoint to MLX, quantized by a recipe. Its directory is stdout's last line."""
    _refuse_conflicts(recipe, bits, group_size, mode, dtype)
    if plan_only and (report or report_text or check):
        raise typer.BadParameter("--plan writes nothing: there is nothing to check or report on")
    if report_text is not None and not report:
        raise typer.BadParameter("--report-text is of use with --report only")
    text = None
    if report_text is not None:
        from gemma4_convert.report.samples import read_text

        text = read_text(report_text.expanduser())

    chosen = _recipe(recipe, bits, group_size, mode, dtype)
    target = dest or _default_dest(source, chosen)
    if not plan_only:
        from gemma4_convert.destination import refuse_existing

        refuse_existing(target.expanduser().resolve(), force)  # rather than after a download
    plan = _plan(source, chosen, download=not plan_only)
    _warn_of_float16(plan)
    if plan_only:
        from gemma4_cli.plan_table import figures, lines

        figured = {"source": source, "dest": str(target), **figures(plan)}
        say(_json(figured) if as_json else "\n".join(lines(plan, str(target))), end="\n")
        return

    from gemma4_convert.convert import carry_out

    if report:  # what makes it impossible is told before anything is written
        from gemma4_convert.report import open_processor

        open_processor(plan.source, plan.config)
    began = time.monotonic()
    pace = Pace("writing")
    done = carry_out(plan, target, progress=pace, notice=notice, force=force)
    clear_status()
    seconds = time.monotonic() - began
    notices(done.mended)
    notice(
        f"{size(plan.total_bytes)}, {plan.bits_per_weight:.2f} bits a weight, "
        f"written in {seconds:.1f} s"
    )
    problems = _check(plan, target) if check else None
    measured = _report(plan, target, text) if report and not problems else None
    if as_json:
        from gemma4_cli.plan_table import figures

        result: dict[str, Any] = {"source": source, "dest": str(target), **figures(plan)}
        result |= {"seconds": round(seconds, 3), "mended": list(done.mended)}
        if problems is not None:
            result["problems"] = problems
        if measured is not None:
            result["report"] = measured.as_json()
        say(_json(result), end="\n")
    else:
        if measured is not None:
            say(measured.markdown(), end="\n")
        say(str(target), end="\n")
    if problems:
        raise typer.Exit(1)


def _refuse_conflicts(
    recipe: str | None,
    bits: int | None,
    group_size: int | None,
    mode: Mode | None,
    dtype: Dtype | None,
) -> None:
    """Wrong usage: options that ask for different things, or mean nothing without another."""
    ways = {
        "--recipe": recipe is not None,
        "--bits": bits is not None,
        "--mode": mode is not None,
        "--dtype": dtype is not None,
    }
    given = [name for name, is_given in ways.items() if is_given]
    if len(given) > 1 and given != ["--bits", "--mode"]:
        raise typer.BadParameter(f"{' and '.join(given)} ask for different things: give one")
    if group_size is not None and bits is None and mode is None:
        raise typer.BadParameter("--group-size is of use with --bits only")


def _recipe(
    recipe: str | None,
    bits: int | None,
    group_size: int | None,
    mode: Mode | None,
    dtype: Dtype | None,
) -> "Recipe":
    from gemma4_convert.recipe import DEFAULT, load_recipe, plain_recipe, unquantized

    if dtype is not None:
        return unquantized(dtype)
    if bits is not None or mode is not None:
        return plain_recipe(bits, group_size, mode or Mode.AFFINE)
    return load_recipe(recipe or DEFAULT)


def _plan(source: str, recipe: "Recipe", download: bool) -> "ConversionPlan":
    from gemma4_convert.plan import make_plan, plan_of_config
    from gemma4_mlx.config import Gemma4Config
    from gemma4_mlx.errors import HubError
    from gemma4_mlx.hub import ALIASES
    from gemma4_mlx.loading import find_checkpoint
    from gemma4_mlx.released import released_config

    try:
        return make_plan(find_checkpoint(source, download=download), recipe)
    except HubError:
        aliases = {hub_id.lower(): alias for alias, hub_id in ALIASES.items()}
        alias = aliases.get(ALIASES.get(source.lower(), source).lower())
        if download or alias is None:
            raise
    notice(f"{source} is not downloaded: this is worked out from its released config.json")
    return plan_of_config(ALIASES[alias], Gemma4Config.from_dict(released_config(alias)), recipe)


def _warn_of_float16(plan: "ConversionPlan") -> None:
    vision = plan.config.vision
    if plan.recipe.dtype == Dtype.FLOAT16 and vision is not None and vision.standardize:
        notice(
            "in float16 the vision tower of this model overflows in programs that do not compute "
            "its last steps in float32, as this one does: bfloat16 is safe everywhere"
        )


def _default_dest(source: str, recipe: "Recipe") -> Path:
    """Here, under the name of the source and the recipe."""
    from gemma4_convert.report.checkpoint_name import checkpoint_name
    from gemma4_mlx.hub import ALIASES

    hub_id = ALIASES.get(source.lower())
    name = hub_id or checkpoint_name(Path(source).expanduser().resolve())
    return Path(f"{name.rpartition('/')[2]}-{recipe.name}")


def _check(plan: "ConversionPlan", dest: Path) -> list[str]:
    from gemma4_convert.check import check_conversion

    problems = check_conversion(plan, dest, Pace("checking", "weights"))
    clear_status()
    for problem in problems:
        complain(problem)
    if problems:
        notice(f"{dest} has {len(problems)} problems: do not use it")
    else:
        notice("checked: every tensor is as planned and close to the source")
    return problems


def _report(plan: "ConversionPlan", dest: Path, text: str | None) -> "Report":
    from gemma4_cli.console import status
    from gemma4_convert.report import compare, write_report

    measured = compare(plan.source, dest, text=text, progress=status)
    clear_status()
    write_report(dest, measured, plan)
    return measured


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, indent=2)
