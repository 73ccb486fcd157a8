"""The command line: one file a command. Nothing heavier than typer is imported before a command runs."""
