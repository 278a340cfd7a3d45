"""`task=demo`: a web page, reachable only from this machine, that shows a model's predictions for your own videos."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from fdp_lightning.errors import UserError

if TYPE_CHECKING:
    from starlette.applications import Starlette

HOST = "127.0.0.1"  # not an option: whoever can reach the page may send it faces

_SHUTDOWN_S = 2  # time that a running prediction has to end after Ctrl-C, seconds


def demo(config: DictConfig) -> None:
    """Serve the page until Ctrl-C; UserError if the extra, the port or the model is not available."""
    if missing := [name for name in ("starlette", "uvicorn") if find_spec(name) is None]:
        raise UserError(
            f"task=demo needs {' and '.join(missing)}, part of the extra `demo`: pip install 'fdp-lightning[demo]'"
        )
    with listening(config.demo.port) as place:  # before loading the model, which takes longer
        from fdp_lightning.inference.demo.app import demo_app
        from fdp_lightning.inference.model import load_model

        model = load_model(config.demo.checkpoint)
        serve(demo_app(model), place, model.facts["name"])


def serve(app: "Starlette", place: socket.socket, name: str) -> None:
    """Print the address and serve an application of `demo_app` on a socket of `listening` until Ctrl-C."""
    import uvicorn

    # Requests are not logged, because the names of videos may identify people.
    settings = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        log_level="warning",
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=_SHUTDOWN_S,
    )
    print(
        f"{name}: http://{HOST}:{place.getsockname()[1]}\n"
        "Open this address in a browser on this machine. Nothing leaves it, nothing is kept. Ctrl-C ends the demo.",
        flush=True,
    )
    try:
        uvicorn.Server(settings).run(sockets=[place])
    except KeyboardInterrupt:  # after the server has shut down
        print("Ended.")


@contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """Yield a socket that only this machine can reach; port 0 is any free one. UserError for a port in use."""
    with socket.socket() as place:
        # Without this option the port stays in use for a minute after a demo has ended.
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            place.bind((HOST, port))
            place.listen()
        except OSError as error:
            raise UserError(
                f"demo.port={port} is not available ({error.strerror}): another program, perhaps another demo, may be "
                "using it. demo.port=0 chooses any free port"
            ) from error
        yield place
