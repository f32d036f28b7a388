"""The command line ``gemma4``: it declares commands and prints, the library does the work."""
