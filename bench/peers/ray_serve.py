"""Ray Serve: a deployment whose replicas draw, read and vote; callers speak HTTP to Serve's proxy."""

import asyncio
import os
import socket

os.environ.setdefault("RAY_DEDUP_LOGS", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
RUN_MARK = f"GRM_PEERS_RUN={os.getpid()}"
os.environ["GRM_PEERS_RUN"] = str(os.getpid())

import ray
from ray import serve
from starlette.requests import Request

from common import Args, answer_all, http_session, judge


@serve.deployment
class Judge:
    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._session = None

    async def __call__(self, request: Request) -> dict:
        row = await request.json()
        if self._session is None:
            self._session = http_session()
        return await judge(self._session, self._engine, row)


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def replicas() -> list[int]:
    """Ray names its processes after what runs in them."""
    found = []
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as command, open(f"/proc/{pid}/environ", "rb") as environ:
                if b"ServeReplica" in command.read() and RUN_MARK.encode() in environ.read():
                    found.append(pid)
        except OSError:
            continue
    return sorted(found)


async def main(port: int, args: Args) -> None:
    async with http_session() as session:

        async def ask(row: dict) -> int:
            async with session.post(f"http://127.0.0.1:{port}/", json=row) as reply:
                if reply.status != 200:
                    raise RuntimeError(f"{reply.status}: {(await reply.text())[:200]}")
                return (await reply.json())["samples"]

        await answer_all(args, ask, replicas)


if __name__ == "__main__":
    here = Args()
    listen = free_port()
    # A logical CPU is a number that Ray counts with: replicas wait for the engine and need little of a real one.
    ray.init(num_cpus=here.workers + 2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": listen})
    app = Judge.options(num_replicas=here.workers, max_ongoing_requests=max(1, here.in_flight)).bind(here.engine)
    serve.run(app, route_prefix="/")
    asyncio.run(main(listen, here))
    serve.shutdown()
    ray.shutdown()
