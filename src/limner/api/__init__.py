"""The HTTP API: the same application as every other door, behind tokens."""
