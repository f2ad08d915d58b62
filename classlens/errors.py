"""The one error that users are meant to read."""


class InputError(Exception):
    """Something the user gave is wrong: a config key, a file, a weight.

    The message names the file or key and says what to do about it; it is shown without a traceback.
    """
