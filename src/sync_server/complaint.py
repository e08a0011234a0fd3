"""What a command ends with when something is wrong that its caller can mend."""


class Complaint(Exception):
    """Told by the command line as one line, with exit code 1 and without a traceback; its text says what is to be done."""
