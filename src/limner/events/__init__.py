"""The room that tells other programs what changed: CloudEvents from the journal, on a broker of their choice."""
