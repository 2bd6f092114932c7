"""The ersilia system: a whole library of molecules through a model, stored, and looked up by key."""
