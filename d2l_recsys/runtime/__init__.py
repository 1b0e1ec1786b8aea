"""MXNet and the machine it runs on."""
