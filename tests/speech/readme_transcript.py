"""README's transcript of a joined recording: ``python -m tests.speech.readme_transcript``.

The test beside it fails when the demo model hears something else.
"""

import re
import sys
from pathlib import Path

from gemma4_mlx import load, transcribe
from tests.speech.joined_digits import joined

README = Path(__file__).resolve().parents[2] / "README.md"
_BETWEEN = re.compile(r"(?<=<!-- joined:begin -->\n).*?(?=<!-- joined:end -->)", re.DOTALL)


def shown() -> str:
    """What stands in README."""
    found = _BETWEEN.search(README.read_text(encoding="utf-8"))
    assert found is not None, "README.md has lost the place of the transcript"
    return found.group()


def made() -> str:
    """What is heard now, with what was said where it differs."""
    recording = joined(45, (0.05, 3.0), seed=11)
    transcript = transcribe(*load("demo"), recording.samples)
    said, heard = recording.text.split(), transcript.text.split()
    wrong = [f"“{b}” for “{a}”" for a, b in zip(said, heard, strict=True) if a != b]
    judged = "all right" if not wrong else ", ".join(wrong)
    count = len(said)
    rows = "".join(
        f"    {segment.start:5.1f} – {segment.end:5.1f} s  {segment.text}\n"
        for segment in transcript.segments
    )
    return (
        f"{count} spoken digits by several people, joined with gaps of 0.05 to 3 s "
        f"({judged}):\n\n{rows}\n"
    )


def main() -> None:
    text = README.read_text(encoding="utf-8")
    README.write_text(_BETWEEN.sub(lambda _: made(), text), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
