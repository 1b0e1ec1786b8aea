"""Tools for users: curves, the doctor and the launcher."""
