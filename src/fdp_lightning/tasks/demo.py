"""`task=demo`: a page on this machine, for this machine alone, that shows what a model says of one's own video."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from fdp_lightning.errors import UserError

if TYPE_CHECKING:
    from starlette.applications import Starlette

HOST = "127.0.0.1"
"""There is no option for it: whoever reaches the page may show it faces."""

_SHUTDOWN_S = 2
"""For a prediction that is being made when Ctrl-C is pressed, before it is given up, seconds."""


def demo(config: DictConfig) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        UserError: the extra is not installed, the port is none or is taken, or there is no such model.
    """
    if missing := [name for name in ("starlette", "uvicorn") if find_spec(name) is None]:
        raise UserError(
            f"task=demo needs {' and '.join(missing)}, which the extra `demo` brings: pip install 'fdp-lightning[demo]'"
        )
    with listening(config.demo.port) as place:  # first of all: it fails at once, and the model takes seconds
        from fdp_lightning.inference.demo.app import demo_app
        from fdp_lightning.inference.model import load_model

        model = load_model(config.demo.checkpoint)
        serve(demo_app(model), place, model.facts["name"])


def serve(app: "Starlette", place: socket.socket, name: str) -> None:
    """Print the address and serve until Ctrl-C.

    Args:
        app: of `demo_app`.
        place: of `listening`.
        name: of the model.
    """
    import uvicorn

    # Nothing is logged of what is asked for: it would be of whom a video is.
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
        "Open this address in a browser on this machine. Nothing leaves it, nothing is kept. Ctrl-C ends.",
        flush=True,
    )
    try:
        uvicorn.Server(settings).run(sockets=[place])
    except KeyboardInterrupt:  # after the server has ended in good order
        print("Ended.")


@contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """A socket that this machine alone can reach.

    Args:
        port: 0 for any that is free.

    Raises:
        UserError: it is no port, or it is taken.
    """
    if not 0 <= port < 2**16:
        raise UserError(f"demo.port={port} is no port; expected 1024 to 65535, or 0 for any that is free")
    with socket.socket() as place:
        # Without it a port stays taken for a minute after a demo has ended.
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            place.bind((HOST, port))
            place.listen()
        except OSError as error:
            raise UserError(
                f"demo.port={port} cannot be had ({error.strerror}): another program, perhaps another demo, may be "
                "using it. demo.port=0 takes any that is free"
            ) from error
        yield place
