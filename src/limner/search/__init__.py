"""Search: one query over words, filters and vectors, in generations that are switched at once."""
