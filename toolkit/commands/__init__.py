"""The commands of `python -m toolkit`, a file for each kind of question."""
