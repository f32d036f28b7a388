"""A reply on the screen: Markdown drawn as it comes, thoughts, and the line of figures."""
