"""Every page that is written by a program: ``python -m tests.docs``, or ``make docs``."""

from tests.docs import api, claims, commands, compared, files, journeys, macs
from tests.docs.pages import write

for module in (commands, api, files, journeys, claims):
    write(module.PAGE, module.text())
# Tables within README, where it has a place for them.
for name, table in {"macs": macs, "compared": compared}.items():
    if f"<!-- {name}:begin -->" in table.PAGE.read_text(encoding="utf-8"):
        write(table.PAGE, table.page())
