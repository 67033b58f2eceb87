"""Errors that a user can act on: each has a message of one line and an exit code."""

import errno


class ReproError(Exception):
    """Base class of the errors that the command line reports in one line."""

    exit_code = 1


class ConfigError(ReproError, ValueError):
    """A setting is unknown, of the wrong type or out of range."""

    exit_code = 2


class MissingDataError(ReproError):
    """Something required is missing; the message names the command that provides it."""

    exit_code = 3


class OutOfMemoryError_(ReproError):
    """The device ran out of memory; the message names the largest batch that was tried."""

    exit_code = 4


class DivergedError(ReproError):
    """The only run of a command diverged; its record is stored."""

    exit_code = 5


class IntegrityError(ReproError):
    """A stored file does not match its recorded checksum."""

    exit_code = 6


class DiskFullError(ReproError):
    """The disk is full, or a quota or file-size limit is reached; finished runs stay."""

    exit_code = 7


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# How the loader of libraries and the starter of threads say that memory, or a limit on it, is used up.
NO_MEMORY = ("failed to map segment", "cannot allocate memory", "can't start new thread", "can't allocate")


def lacks_memory(error: BaseException) -> bool:
    """Return whether an error says that memory is used up, in whatever words."""
    said = isinstance(error, ImportError | OSError | RuntimeError) and str(error).lower()
    return isinstance(error, MemoryError) or (bool(said) and any(words in said for words in NO_MEMORY))


def of_the_system(error: OSError) -> ReproError:
    """Return an error of the operating system as one of ours: a full disk, or a file that cannot be used."""
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno in FULL:
        return DiskFullError(
            f"{reason.lower()}: free some space and run the same command again; finished runs are saved"
        )
    where = "" if error.filename is None else f"{str(error.filename)!r}: "
    return ConfigError(f"{where}{reason[:200]}")
