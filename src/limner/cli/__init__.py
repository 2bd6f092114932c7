"""The command line: one verb for each thing that a user asks of a project."""
