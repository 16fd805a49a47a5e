"""A plain asyncio client: one process, aiohttp, nothing between it and the engine."""

import asyncio
import os
import time

import aiohttp

from common import Args, Log, done, judge, keep_open, ready


async def main() -> None:
    args = Args()
    log = Log(args.out)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=600)) as session:

        async def answer(row: dict) -> None:
            start = time.time()
            try:
                log.tell(row["id"], start, (await judge(session, args.engine, row))["samples"])
            except (aiohttp.ClientError, asyncio.TimeoutError) as error:
                log.tell(row["id"], start, 0, repr(error))

        await args.warm_up(answer)
        ready([os.getpid()])
        await keep_open(args.rows, args.in_flight, answer)
        done()


asyncio.run(main())
