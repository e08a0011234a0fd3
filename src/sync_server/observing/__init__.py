"""What an operator sees of the server: a line per request, and numbers. Others only need `present` and `request_id`."""

from sync_server.observing.calls import Call, present, request_id

__all__ = ["Call", "present", "request_id"]
