"""Files, frames and arrays. NumPy and pandas only, never MXNet."""
