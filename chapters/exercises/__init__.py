"""The book's exercises, worked, by section."""
