"""What is said when data isn't as it should be."""


class DataError(ValueError):
    """Something is wrong with the data; the message names the file, the value, what was expected and the remedy."""

    def __init__(self, message: str):
        # a loader's worker hands the error on with its traceback in front: the reader needs the last words alone
        in_worker = message.startswith("Caught DataError in ")
        super().__init__(message.rpartition("DataError: ")[2].strip() if in_worker else message)
