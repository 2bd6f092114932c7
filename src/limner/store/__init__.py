"""The room of the only truth: records, results, tasks, jobs, models and a journal, on SQLite or PostgreSQL."""
