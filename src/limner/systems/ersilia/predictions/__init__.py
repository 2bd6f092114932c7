"""Predictions as they are looked up: tables, files and what writes them."""
