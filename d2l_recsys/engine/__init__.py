"""Training and evaluation with Gluon. This folder imports no section of the book."""
