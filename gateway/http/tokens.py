"""POST /tokenize and /detokenize, also under /v1; compat.tokens documents their shapes."""

from typing import Any

from litestar import Request, post
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from backends.protocol import DetokenizeParameters, DetokenizeResult, TokenizeResult
from compat.tokens import (
    Detokenized,
    DetokenizeRequest,
    Tokenized,
    TokenizeRequest,
    decode_detokenize,
    decode_tokenize,
    render_detokenized,
    render_tokenized,
    tokenize_parameters,
)
from gateway.http.answer import Answer
from gateway.http.body import off_loop, read_json
from gateway.http.disconnect import until_disconnect
from gateway.http.generation import single
from gateway.http.openapi.operation import documented
from gateway.http.services import Services, new_answer


def token_routes(services: Services) -> list[HTTPRouteHandler]:
    @post(
        ["/tokenize", "/v1/tokenize"],
        status_code=200,
        opt=documented(
            summary="Tokens of a text or conversation",
            tag="tokens",
            description="One of `content`, `prompt` and `messages`.",
            request=TokenizeRequest,
            example={"model": "gpt-4o-mini", "prompt": "Say hello."},
            answer=Tokenized,
        ),
    )
    async def tokenize(request: Request[Any, Any, Any]) -> ASGIApp:
        body, item = await read_json(request, services.config, decode_tokenize)
        spec = services.engine.resolve(body.model) if body.model else services.first_model("generate")
        with until_disconnect(request.receive):
            parameters = tokenize_parameters(body)
            description = await services.description(spec, "tokenize")
            stream = services.submit(request.scope, new_answer("tok", spec), "tokenize", parameters, [item])
            result = await single(stream, TokenizeResult)
            return Answer(await off_loop(len(result.tokens), render_tokenized, body, description, result))

    @post(
        ["/detokenize", "/v1/detokenize"],
        status_code=200,
        opt=documented(
            summary="Text of tokens",
            tag="tokens",
            request=DetokenizeRequest,
            example={"model": "gpt-4o-mini", "tokens": [1, 2]},
            answer=Detokenized,
        ),
    )
    async def detokenize(request: Request[Any, Any, Any]) -> ASGIApp:
        body, item = await read_json(request, services.config, decode_detokenize)
        spec = services.engine.resolve(body.model) if body.model else services.first_model("generate")
        with until_disconnect(request.receive):
            await services.description(spec, "detokenize")
            answer = new_answer("tok", spec)
            stream = services.submit(request.scope, answer, "detokenize", DetokenizeParameters(), [item])
            result = await single(stream, DetokenizeResult)
            return Answer(await off_loop(len(result.text), render_detokenized, result))

    return [tokenize, detokenize]
