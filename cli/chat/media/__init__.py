"""Files, links and the clipboard as parts of a message."""
