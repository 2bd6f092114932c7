"""The room that moves tasks and answers; it may lose everything, the store re-sends."""
