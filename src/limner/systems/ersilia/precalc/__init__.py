"""Precalculation: a whole library through one model, as a row of the engine's own jobs."""
