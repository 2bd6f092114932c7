"""The room that does the work: takes tasks, fetches files, infers in child processes, and answers."""
