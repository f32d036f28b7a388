"""What a conversion cost: source and result compared token by token, group by group."""

from gemma4_convert.report.compare import compare, measure
from gemma4_convert.report.figures import Report
from gemma4_convert.report.model_card import model_card
from gemma4_convert.report.samples import open_processor
from gemma4_convert.report.writing import write_report

__all__ = ["Report", "compare", "measure", "model_card", "open_processor", "write_report"]
