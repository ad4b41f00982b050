"""The process that owns the networks and answers requests; `serving` starts it."""

import json
import logging
import os
import signal
import socket
import sys
import threading
from typing import Any

from isic_tf.server.config import ServeConfig
from tfrecord_tools import cli

_LOG = logging.getLogger(__name__)


def main() -> None:
    """Reads its configuration from standard input, loads the run and answers requests until SIGTERM."""
    listener = socket.socket(fileno=int(sys.argv[1]))
    content = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    cli.show_log()
    code = cli.execute(lambda: run_worker(listener, ServeConfig(**content["config"]), content["token"]))
    sys.exit(code)


def _end_with_the_parent() -> None:
    # Not by `sys.stdin`, whose lock Python could not take at its own end.
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def run_worker(listener: socket.socket, config: ServeConfig, token: str) -> None:
    """Loads a run and answers requests until SIGTERM.

    Args:
        listener: A socket that listens.
        config: The run and the limits.
        token: What requests must send; "" for nothing.

    Raises:
        IsicError: The run cannot be loaded or served.
    """
    with cli.quiet_imports():
        import uvicorn

        from isic_tf.server import app, judging

    # It warns of every malformed request.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    service = judging.JudgingService(config)
    options: dict[str, Any] = {"log_level": "warning", "access_log": False, "server_header": False, "ws": "none"}
    server = uvicorn.Server(
        uvicorn.Config(
            app.make_app(service, config, token),
            proxy_headers=False,
            timeout_graceful_shutdown=round(2 * config.max_seconds),
            **options,
        )
    )
    host, port = listener.getsockname()[:2]
    _LOG.info(f"serving at http://{f'[{host}]' if ':' in host else host}:{port} (Ctrl-C stops)")
    try:
        server.run(sockets=[listener])
    finally:
        service.close()
        if service.is_hanging:
            app.end_worker()
