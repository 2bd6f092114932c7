"""The systems built on Limner: plug-ins found by entry point; nothing imports them."""
