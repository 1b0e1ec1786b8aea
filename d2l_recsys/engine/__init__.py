"""Training and evaluation with Gluon. Knows no section of the book."""
