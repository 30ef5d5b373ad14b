"""create_app: the routes, and what stands in front of them. Wiring only."""

from pathlib import Path

from litestar import Litestar

from config.schema import Config
from gateway.engine.engine import Engine
from gateway.http.admin import admin_routes
from gateway.http.admin_devices import device_routes
from gateway.http.auth import KeyGuard, admin_paths, public_paths
from gateway.http.chat import chat_route
from gateway.http.completions import completion_route
from gateway.http.connections import ConnectionLimit
from gateway.http.cortex import cortex_chat_route
from gateway.http.cortex_audio import cortex_audio_routes
from gateway.http.embeddings import embedding_route
from gateway.http.errors import EXCEPTION_HANDLERS
from gateway.http.front import Front
from gateway.http.health import health_routes
from gateway.http.image_files import image_file_routes
from gateway.http.images import image_routes
from gateway.http.models import model_routes
from gateway.http.openapi.routes import openapi_routes
from gateway.http.page import page_routes, swagger_ui_routes
from gateway.http.picture_files import PictureFiles
from gateway.http.realtime import realtime_route
from gateway.http.router import router_routes
from gateway.http.services import Services
from gateway.http.speech import speech_routes
from gateway.http.tokens import token_routes
from gateway.http.transcription import transcription_routes
from gateway.http.vision import vision_routes
from gateway.keys import KeyRing
from gateway.reloading import Reloader
from gateway.remote.fetching import Fetcher
from gateway.telemetry.metrics import Metrics


def create_app(
    config: Config,
    engine: Engine,
    metrics: Metrics,
    keys: KeyRing,
    *,
    reloader: Reloader,
    spool: Path | None = None,
    connections: ConnectionLimit | None = None,
    fetcher: Fetcher | None = None,
) -> Litestar:
    """The whole HTTP side. The engine is started and stopped by whoever made it.

    `spool`: the folder for uploads; None: the system's for temporary files.
    `connections`: those of the server that runs it; None: they are not counted.
    `fetcher`: of pictures named by address; None: as configured.
    """
    if fetcher is None and config.remote_images.allowed:
        fetcher = Fetcher(config.remote_images)
    pictures = PictureFiles(config, spool)
    services = Services(config, engine, metrics, keys, reloader, spool, pictures, fetcher)
    app = Litestar(
        [
            chat_route(services),
            completion_route(services),
            embedding_route(services),
            cortex_chat_route(services),
            *transcription_routes(services),
            *speech_routes(services),
            *cortex_audio_routes(services),
            *vision_routes(services),
            *image_routes(services),
            *image_file_routes(services),
            realtime_route(services),
            *token_routes(services),
            *model_routes(services),
            *router_routes(services),
            *admin_routes(services),
            *device_routes(services),
            *health_routes(services),
            *openapi_routes(services),
            *page_routes(),
            *swagger_ui_routes(),
        ],
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
    guard = KeyGuard(keys, public_paths(app), admin_paths(app))
    app.asgi_handler = Front(app.asgi_handler, config, guard, metrics, connections)
    return app
