"""Start a study: a folder with a config to edit."""
