"""The room that keeps large bytes, each under the SHA-256 of its content."""
