"""The same app behind each middleware that is compared; runs in the benchmark's own environment.

The two W&B middlewares are the patterns that guides show, written anew: one row for each request,
`wandb.log` in a thread (`cookbook`) or on the event loop in a `finally` (`guide`).
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from pydantic import BaseModel

VARIANTS = (
    "bare", "base http", "cookbook", "guide", "prometheus", "opentelemetry",
    "ours 1 %", "ours 100 %", "ours 100 % + bodies",
)  # fmt: skip
_RATES = {"ours 1 %": 0.01, "ours 100 %": 1.0, "ours 100 % + bodies": 1.0}
Close = Callable[[], Any]


class Item(BaseModel):
    """What the handler takes."""

    text: str
    number: int


def make(variant: str, folder: str) -> tuple[Any, Close]:
    """The app behind a middleware, and what closes it.

    Args:
        variant: One of `VARIANTS`.
        folder: Where it may write.
    """
    app = FastAPI()

    @app.post("/predict")
    async def predict(item: Item) -> dict[str, Any]:
        return {"text": item.text, "double": 2 * item.number}

    @app.post("/slow")
    async def slow(item: Item) -> dict[str, Any]:
        await asyncio.sleep(0.02)
        return {"double": 2 * item.number}

    if variant in _RATES:
        return _ours(app, variant, folder)
    if variant in ("cookbook", "guide"):
        return _with_wandb(app, variant, folder)
    if variant == "base http":

        @app.middleware("http")
        async def nothing(request: Request, call_next: Any) -> Any:
            return await call_next(request)

    if variant == "prometheus":
        from prometheus_fastapi_instrumentator import Instrumentator

        Instrumentator().instrument(app)
    if variant == "opentelemetry":
        _instrument(app)
    return app, lambda: None


def _ours(app: Any, variant: str, folder: str) -> tuple[Any, Close]:
    from flytekitplugins.wbmon.serving import (
        PredictionLogger,
        PredictionLoggingMiddleware,
        SamplingPolicy,
    )

    log = PredictionLogger("bench", folder, sampling=SamplingPolicy(rate=_RATES[variant]))
    capture = "bodies" if "bodies" in variant else "metadata"
    return PredictionLoggingMiddleware(app, log, capture=capture), log.close  # type: ignore[arg-type]


def _with_wandb(app: Any, variant: str, folder: str) -> tuple[Any, Close]:
    import wandb

    os.environ["WANDB_MODE"] = "offline"
    run = wandb.init(project="bench", dir=folder, settings=wandb.Settings(silent=True))
    waiting = set()

    def log(request: Request, status: int, begin: float) -> None:
        path = request.url.path
        wandb.log(
            {
                f"api{path}/latency_ms": (time.time() - begin) * 1000,
                f"api{path}/status": status,
                "api/total_requests": 1,
            }
        )

    @app.middleware("http")
    async def logged(request: Request, call_next: Any) -> Any:
        begin = time.time()
        response = await call_next(request)
        if variant == "cookbook":
            task = asyncio.create_task(asyncio.to_thread(log, request, response.status_code, begin))
            waiting.add(task)
            task.add_done_callback(waiting.discard)
        else:
            log(request, response.status_code, begin)
        return response

    return app, run.finish


def _instrument(app: Any) -> None:
    from opentelemetry import trace
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):
        def export(self, spans: Any) -> Any:  # noqa: ARG002 - the interface of an exporter
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    trace.set_tracer_provider(provider)
    FastAPIInstrumentor.instrument_app(app)


if __name__ == "__main__":
    import uvicorn

    chosen, end = make(sys.argv[1], sys.argv[2])
    uvicorn.run(
        chosen, host="127.0.0.1", port=int(sys.argv[3]), log_level="warning", access_log=False
    )
    end()
