"""Timings side by side with the book's own functions, from the installed d2l."""
