"""How files of transcripts are named: ``--output-template``."""

import string
from datetime import date
from pathlib import PurePath

import typer

from gemma4_cli.transcribe.formats import Format
from gemma4_cli.transcribe.inputs import Recording

DEFAULT = "{folder}/{stem}.{ext}"
_FIELDS = ("folder", "stem", "name", "index", "date", "ext")


def check_template(template: str, form: Format, within: bool) -> None:
    """BadParameter for a template that cannot name files; ``within``: those of a given folder."""
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise typer.BadParameter(f"--output-template {template!r}: {error}") from None
    names = [name for _, name, _, _ in parsed if name is not None]
    unknown = [name for name in names if name not in _FIELDS]
    if unknown:
        raise typer.BadParameter(
            f"--output-template has no {{{unknown[0]}}}; it knows "
            + ", ".join(f"{{{name}}}" for name in _FIELDS)
        )
    if any(spec or conversion for _, name, spec, conversion in parsed if name is not None):
        raise typer.BadParameter("--output-template takes plain {names}, without : or !")
    if len(form.each) > 1 and "ext" not in names:
        raise typer.BadParameter(f"--output-template needs {{ext}} with --format {form}")
    if not template or template.endswith("/"):
        raise typer.BadParameter(f"--output-template {template!r} names a folder, not a file")
    path = PurePath(template)
    if within and (path.is_absolute() or ".." in path.parts):
        raise typer.BadParameter(
            f"--output-template {template!r} leads out of --output-dir: give one of the two"
        )


def filled(template: str, recording: Recording, form: Format, index: int) -> str:
    """The name of the file for a recording, the ``index``-th of all, in a format."""
    values = {
        "folder": recording.folder.as_posix(),
        "stem": recording.stem,
        "name": recording.name,
        "index": index,
        "date": date.today().isoformat(),
        "ext": form.value,
    }
    return template.format(**values)


def apart(one: Recording, other: Recording) -> str:
    """A template that names files of these two unlike."""
    alike = (one.folder, one.name) == (other.folder, other.name)
    return "{folder}/{stem}-{index}.{ext}" if alike else "{folder}/{name}.{ext}"
