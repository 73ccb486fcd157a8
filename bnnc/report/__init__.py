"""What is told about a compiled module: facts.py, one dataclass for the summary, `--json` and facts.json."""
