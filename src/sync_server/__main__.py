"""The command `sync-server`, also as `python -m sync_server`."""

import gc
import signal


def main() -> None:
    """Run it. A Ctrl-C ends it without a traceback also while everything is still being imported, which takes a moment."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as a shell has it for what runs in the background
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.disable()  # until all is imported: it stays, and to look for garbage in it again and again takes a tenth of the time
    from sync_server import cli  # noqa: PLC0415 - see above

    cli.main()


if __name__ == "__main__":
    main()
