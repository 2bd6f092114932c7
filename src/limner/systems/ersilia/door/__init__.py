"""Where predictions are asked for: routes, the function behind a gateway, the upload flow, and the page."""
