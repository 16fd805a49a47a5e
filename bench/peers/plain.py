"""A plain asyncio client: one process, aiohttp, nothing between it and the engine."""

import asyncio
import os

from common import Args, answer_all, http_session, judge


async def main() -> None:
    args = Args()
    async with http_session() as session:

        async def ask(row: dict) -> int:
            return (await judge(session, args.engine, row))["samples"]

        await answer_all(args, ask, lambda: [os.getpid()])


asyncio.run(main())
