"""Put a report beside the model it is about: report.json, and the tables in README.md."""

import os
from pathlib import Path

from gemma4_convert.partial import sync_directory, write_file
from gemma4_convert.plan import ConversionPlan
from gemma4_convert.report.figures import Report
from gemma4_convert.report.model_card import model_card
from gemma4_convert.writing import as_json
from gemma4_mlx.errors import InputError

REPORT_FILE, CARD_FILE = "report.json", "README.md"


def write_report(dest: Path, report: Report, plan: ConversionPlan) -> None:
    """Write report.json and the model card into the conversion ``dest``, each whole or not at all.

    Raises InputError when they cannot be written.
    """
    files = {
        REPORT_FILE: as_json(report.as_json()),
        CARD_FILE: model_card(plan, report).encode(),
    }
    try:
        for name, content in files.items():
            _replace(dest / name, content)
        sync_directory(dest)
    except OSError as error:
        raise InputError(
            f"the report cannot be written into {dest} ({error.strerror}): see to its disk and "
            "permissions"
        ) from None


def _replace(file: Path, content: bytes) -> None:
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        write_file(temporary, content)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
