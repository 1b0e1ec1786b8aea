"""Files, frames and arrays. This folder uses NumPy and pandas, never MXNet."""
