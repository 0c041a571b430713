"""A route that is written is served."""

import importlib
import pkgutil

from litestar.handlers import HTTPRouteHandler

from p2pool.api import resources
from p2pool.api.app import ROUTES


def test_every_handler_is_a_route() -> None:
    """Add it to ROUTES in `api/app.py`: until then nobody can call it."""
    modules = [
        importlib.import_module(found.name)
        for found in pkgutil.walk_packages(resources.__path__, f"{resources.__name__}.")
    ]
    written = {
        path
        for module in modules
        for thing in vars(module).values()
        if isinstance(thing, HTTPRouteHandler)
        for path in thing.paths
    }
    assert written == {path for route in ROUTES for path in route.paths}
