"""The room of the models: adds, checks and promotes them, trains them, and judges them before they serve."""
