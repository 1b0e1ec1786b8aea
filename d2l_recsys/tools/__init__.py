"""Tools for users: figures, the doctor and the launcher."""
