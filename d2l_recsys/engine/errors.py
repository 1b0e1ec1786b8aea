"""The errors of training and evaluation. All are ValueErrors."""


class NonFiniteLoss(ValueError):
    """A loss, a parameter or a score became NaN or infinite; the text says where."""


class CheckpointError(ValueError):
    """A checkpoint cannot be written, or there is none to resume from."""
