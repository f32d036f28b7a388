"""The order in which --image, --audio and --video were given, among one another.

A parser hands over each option's values together; a message has them as the user wrote them.
"""

from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand

_KEY = "gemma4_cli.media_order"
_NAMES = ("image", "audio", "video")


class KeepsMediaOrder(TyperCommand):
    """A command that remembers which media option came when."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As it is, and beside that what the parser alone knows."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        ctx.meta[_KEY] = [param.name for param in order if param.name in _NAMES]
        return super().parse_args(ctx, args)


def in_order(context: typer.Context, **given: Sequence[str] | None) -> list[tuple[str, str]]:
    """(kind, path or link) of all media, as they were given."""
    waiting = {kind: iter(paths or ()) for kind, paths in given.items()}
    return [(kind, next(waiting[kind])) for kind in context.meta.get(_KEY, ())]
