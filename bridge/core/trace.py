"""Where an exception came from, for a log that must not quote what it was about."""

from __future__ import annotations


def where(exc: BaseException) -> str:
    """Return the lines of code that an exception went through, the innermost last.

    Its text is left out: it may quote a payload or a token.
    """
    places = []
    traceback = exc.__traceback__
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename.rpartition("/")[2]
        places.append(f"{file}:{traceback.tb_lineno}")
        traceback = traceback.tb_next
    return " > ".join(places)
