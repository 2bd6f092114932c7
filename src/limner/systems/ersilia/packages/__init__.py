"""Model packages: read, packed, run and checked."""
