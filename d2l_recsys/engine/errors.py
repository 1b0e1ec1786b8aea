"""The errors of training and evaluation. All are ValueErrors."""


class NonFiniteLoss(ValueError):
    """A loss, a parameter or a score is NaN or infinite. The message says where."""


class CheckpointError(ValueError):
    """A checkpoint cannot be written, or there is none to resume from."""


class ModelError(ValueError):
    """A saved model is missing, damaged or of the wrong kind for the task."""
