"""The endpoints: a page, and an API whose description is at /openapi.json."""

import asyncio
import logging
import os
import typing
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

import fastapi
import fastapi.security
import numpy as np
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from isic_tf.diagnosis.config import NOTICE
from isic_tf.evaluation import report_template
from isic_tf.server import answers, guard, judging, metrics, uploads
from isic_tf.server.config import HANGING, ServeConfig
from tfrecord_tools import __version__, errors

_LOG = logging.getLogger(__name__)
_TEMPLATE = "page.html.j2"
# Requests to /judge that are being answered; their images are in memory.
_MOST_REQUESTS = 16
_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
_RESPONSES = {
    400: "The request is malformed, or ended early.",
    401: "The token is missing or wrong.",
    403: "The request comes from a page of another site.",
    408: "The images took too long to arrive.",
    409: "The run has no calibration, so there are no probabilities.",
    411: "The length of the request is missing.",
    413: "The request is too large.",
    415: "The request is no form with files.",
    422: "A parameter is out of range, or an image cannot be decoded within the limits.",
    503: "The server is busy, or the images waited too long for others: try again.",
    504: "Judging took too long, and the worker is restarted: try again.",
}
_RETRY = {"Retry-After": "2"}
# Until a worker that hangs is ended, so that its requests are answered first.
_SECONDS_TO_ANSWER = 1.0
_Result = typing.TypeVar("_Result")


def end_worker() -> None:
    """Ends this process, whose threads cannot be ended, so that `serving` starts another one."""
    os._exit(HANGING)


def make_app(
    service: judging.JudgingService, config: ServeConfig, token: str, end: Callable[[], None] = end_worker
) -> guard.Guard:
    """Makes the application.

    Args:
        service: What judges.
        config: The limits.
        token: What requests must send; "" for nothing.
        end: Ends this process where the networks hang; another one is then started, see `serving`.

    Returns:
        ASGI application.
    """
    counted = metrics.Metrics()
    # The pages that FastAPI makes of the description load scripts from elsewhere.
    app = fastapi.FastAPI(
        title="isic-tf", version=__version__, description=NOTICE, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    _add_error_handlers(app)
    _add_page(app, service)
    scheme = [fastapi.Depends(fastapi.security.HTTPBearer(auto_error=False))] if token else []
    router = fastapi.APIRouter(dependencies=scheme)
    _add_information(app, router, service, counted)
    _add_judge(router, service, config, counted, end)
    _add_calibrate(router, service)
    app.include_router(router)
    hosts = () if token else tuple(dict.fromkeys((*_LOCAL_NAMES, config.host)))
    return guard.Guard(app, token, hosts, counted)


def _describe(*statuses: int) -> dict[int | str, dict[str, Any]]:
    listed = (*statuses, 400, 401, 403)
    return {status: {"model": answers.Problem, "description": _RESPONSES[status]} for status in listed}


def _add_error_handlers(app: fastapi.FastAPI) -> None:
    """Every error is JSON of one line; of one that is not the client's, the log has the rest."""

    @app.exception_handler(HTTPException)
    async def answer_http(_: fastapi.Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"detail": error.detail}, error.status_code, error.headers)

    @app.exception_handler(errors.IsicError)
    async def answer_problem(_: fastapi.Request, error: errors.IsicError) -> JSONResponse:
        return JSONResponse({"detail": " ".join(str(error).split())}, 422)

    @app.exception_handler(RequestValidationError)
    async def answer_invalid(_: fastapi.Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return JSONResponse({"detail": f"{place}: {first['msg']}"}, 422)

    @app.exception_handler(Exception)
    async def answer_failure(_: fastapi.Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": f"the server failed ({type(error).__name__}); its log has the reason"}, 500)


def _add_page(app: fastapi.FastAPI, service: judging.JudgingService) -> None:
    environment = report_template.make_environment("isic_tf.server")
    page = environment.get_template(_TEMPLATE).render(facts=service.collect_facts(), version=__version__)
    app.mount("/static", StaticFiles(packages=[("isic_tf.server", "static")]))

    @app.get("/", include_in_schema=False)
    async def show_page() -> HTMLResponse:
        return HTMLResponse(page)


def _add_information(
    app: fastapi.FastAPI, router: fastapi.APIRouter, service: judging.JudgingService, counted: metrics.Metrics
) -> None:
    @app.get("/health", responses={503: {"model": answers.Health}})
    async def check_health(response: fastapi.Response) -> answers.Health:
        """Tells that images can be judged; needs no token."""
        if not service.is_alive:
            response.status_code = 503
        return answers.Health(status="ok" if service.is_alive else "failing")

    @router.get("/run", responses=_describe())
    async def describe_run() -> answers.RunFacts:
        """Describes the run that judges, and the limits of a request."""
        return service.collect_facts()

    # By its reference, since a model would be described as text, too.
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    refused: dict[int | str, dict[str, Any]] = {
        status: {"content": problem, "description": _RESPONSES[status]} for status in (400, 401)
    }

    @router.get("/metrics", response_class=PlainTextResponse, responses=refused)
    async def list_metrics() -> PlainTextResponse:
        """Lists counters of requests, images and passes, in the text format of Prometheus."""
        return PlainTextResponse(counted.format(service.passes), media_type=metrics.CONTENT_TYPE)


def _add_judge(
    router: fastapi.APIRouter,
    service: judging.JudgingService,
    config: ServeConfig,
    counted: metrics.Metrics,
    end: Callable[[], None],
) -> None:
    free = asyncio.Semaphore(_MOST_REQUESTS)
    names = [field.name for field in service.fields]

    @router.post(
        "/judge",
        responses=_describe(408, 409, 413, 415, 422, 503, 504),
        openapi_extra=_describe_upload(config.max_images, service.fields),
    )
    async def judge_images(
        request: fastapi.Request,
        prevalence: Annotated[
            float | None,
            fastapi.Query(gt=0, lt=1, description="Prevalence of malignant lesions where the images come from."),
        ] = None,
        maps: Annotated[
            bool, fastapi.Query(description="Whether to answer pictures with their Grad-CAM maps, too.")
        ] = False,
    ) -> answers.Judged:
        """Judges the images of one patient: a form of `images` and of metadata that the run uses. Nothing is stored."""
        if free.locked():
            await _within(config.max_seconds, uploads.drain(request.stream()), 408, _RESPONSES[408])
            raise HTTPException(503, f"{_MOST_REQUESTS} requests are being answered; try again", _RETRY)
        async with free:
            reading = uploads.read_uploads(request, config.max_images, config.max_upload_megabytes << 20, names)
            found = await _within(config.max_seconds, reading, 408, _RESPONSES[408])
            if prevalence is not None and not service.is_calibrated:
                raise HTTPException(409, "expected a run with a calibration, got one without; leave out prevalence")
            judging_all = asyncio.ensure_future(service.judge(found, prevalence, maps))
            try:
                await asyncio.wait({judging_all}, timeout=config.max_seconds)
                if not judging_all.done():
                    # The images may have waited for others: a pass has as long by itself.
                    await asyncio.wait({judging_all}, timeout=service.seconds_left)
                if not judging_all.done():
                    if service.is_hanging:
                        raise _end_hanging(service, config, end)
                    raise HTTPException(503, "the images waited too long for others; try again", _RETRY)
                judged = judging_all.result()
            finally:
                judging_all.cancel()
        counted.count_images(len(judged))
        used = service.collect_facts().prevalence if prevalence is None else prevalence
        return answers.Judged(notice=NOTICE, prevalence=used if service.is_calibrated else None, images=judged)


def _end_hanging(service: judging.JudgingService, config: ServeConfig, end: Callable[[], None]) -> HTTPException:
    """Ends this process shortly, and returns what all requests that wait for the networks are answered until then."""
    problem = HTTPException(
        504,
        f"judging took longer than {config.max_seconds:g} s (--max_seconds), so the worker is restarted; send fewer "
        "images, or try again",
        _RETRY,
    )
    _LOG.warning(f"note: the networks took more than {config.max_seconds:g} s (--max_seconds), so the worker is ended")
    service.abandon(problem)
    asyncio.get_running_loop().call_later(_SECONDS_TO_ANSWER, end)
    return problem


def _add_calibrate(router: fastapi.APIRouter, service: judging.JudgingService) -> None:
    model: Any = answers.make_calibrate_request(service.collect_facts().folds)

    @router.post("/calibrate", responses=_describe(409, 411, 413, 422))
    async def calibrate_scores(scores: model) -> list[answers.Calibrated]:
        """Calibrates the scores that /judge answered for another prevalence, without the images."""
        if not service.is_calibrated:
            raise HTTPException(409, _RESPONSES[409])
        return service.calibrate(np.array(scores.fold_scores, np.float64), scores.prevalence)


async def _within(seconds: float, work: Awaitable[_Result], status: int, text: str) -> _Result:
    """Waits for some work, but not for longer; then answers a status."""
    try:
        return await asyncio.wait_for(work, seconds)
    except asyncio.TimeoutError as error:
        raise HTTPException(status, text, _RETRY if status == 503 else None) from error


def _describe_upload(max_images: int, fields: Sequence[answers.MetadataField]) -> dict[str, Any]:
    files = {
        "type": "array",
        "minItems": 1,
        "maxItems": max_images,
        "items": {"type": "string", "format": "binary"},
        "description": "JPEG, PNG, BMP, TIFF, WebP or DICOM files.",
    }
    form = {
        "type": "object",
        "additionalProperties": False,
        "required": [uploads.FIELD],
        "properties": {uploads.FIELD: files, **{field.name: _describe_values(field, max_images) for field in fields}},
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}}


def _describe_values(field: answers.MetadataField, max_images: int) -> dict[str, Any]:
    unknown = {"type": "string", "enum": ["", *field.choices]}
    limits = {} if field.most is None else {"minimum": field.least, "maximum": field.most}
    value = unknown if field.choices else {"anyOf": [{"type": "number", **limits}, unknown]}
    text = f"{field.label}: once for all images, or once for each, in their order; empty or left out where unknown."
    return {"anyOf": [value, {"type": "array", "maxItems": max_images, "items": value}], "description": text}
