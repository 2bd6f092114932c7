"""The catalogue system: what can be inferred from a library's pictures, searchable beside its text."""
