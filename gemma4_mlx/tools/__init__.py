"""Python functions as tools: what a chat template declares of them, and calls that a model wrote.

A function's name, signature and docstring say all that a model needs to know of it (``tool_of``);
what a model writes is checked and converted before the function runs (``Tool.call``); what the
function returns becomes text (``result_text``).
"""

from gemma4_mlx.tools.results import result_text
from gemma4_mlx.tools.tool import Tool, tool_of

__all__ = ["Tool", "result_text", "tool_of"]
