"""What the Python peers share: rows, drawing a sample, reading its scores, the sum vote, and run.py's protocol.

A driver is started as `python PEER.py ENGINE_URL ROWS OUT IN_FLIGHT WORKERS`. It answers the rows whose id begins with "warm", so that what
runs once has run, prints {"ready": true, "workers": [pid]}, waits for a line, answers the others (a line of OUT each), prints {"done": true} and
waits for another line, so that run.py can read its CPU time before it ends.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time

TEMPERATURE = 0.5
MAX_TOKENS = 1024
BOX = re.compile(r"\\boxed\{([^{}]*)\}")


class Args:
    def __init__(self) -> None:
        self.engine, path, self.out, in_flight, workers = sys.argv[1:6]
        with open(path, encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        self.warm = [row for row in rows if row["id"].startswith("warm")]
        self.rows = [row for row in rows if not row["id"].startswith("warm")]
        self.in_flight = int(in_flight)
        self.workers = int(workers)

    async def warm_up(self, answer) -> None:
        await keep_open(self.warm, self.in_flight, answer)


def draws_of(row: dict) -> list[dict]:
    """One entry for each sample: messages, order, seed."""
    draws = []
    for prompt in row["prompts"]:
        for _ in range(prompt["samples"]):
            draws.append({"messages": prompt["messages"], "order": prompt["order"], "seed": len(draws)})
    return draws


def scores_in(text: str, n: int) -> list[float] | None:
    """The last box that holds exactly n numbers of 1..10."""
    for box in reversed(BOX.findall(text)):
        try:
            scores = [float(part) for part in box.split(",")]
        except ValueError:
            continue
        if len(scores) == n and all(1 <= score <= 10 for score in scores):
            return scores
    return None


def vote(row: dict, texts: list[tuple[list[int], str]]) -> dict:
    """Sums of the scores by response, of the samples that could be read."""
    n = len(row["responses"])
    sums = [0.0] * n
    valid = 0
    for order, text in texts:
        scores = scores_in(text, n)
        if scores is None:
            continue
        valid += 1
        for place, response in enumerate(order):
            sums[response] += scores[place]
    return {"sums": sums, "samples": valid}


def body_of(draw: dict, model: str) -> dict:
    return {
        "model": model,
        "messages": draw["messages"],
        "temperature": TEMPERATURE,
        "max_tokens": MAX_TOKENS,
        "seed": draw["seed"],
    }


async def judge(session, engine: str, row: dict, model: str = "fake-grm") -> dict:
    """Draws a row's samples with an aiohttp session and votes."""

    async def one(draw: dict) -> tuple[list[int], str]:
        async with session.post(f"{engine}/v1/chat/completions", json=body_of(draw, model)) as reply:
            reply.raise_for_status()
            answer = await reply.json()
        return draw["order"], answer["choices"][0]["message"]["content"]

    return vote(row, await asyncio.gather(*(one(draw) for draw in draws_of(row))))


class Log:
    """A line for each row, written at once: what was answered before a kill counts."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "a", buffering=1, encoding="utf-8")

    def tell(self, row_id: str, start: float, samples: int, error: str | None = None) -> None:
        if row_id.startswith("warm"):
            return
        line = {"id": row_id, "start": start, "end": time.time(), "samples": samples, "ok": samples > 0}
        if error is not None:
            line["error"] = error[:300]
        self._file.write(json.dumps(line) + "\n")


def ready(workers: list[int]) -> None:
    print(json.dumps({"ready": True, "workers": workers}), flush=True)
    sys.stdin.readline()


def done() -> None:
    print(json.dumps({"done": True}), flush=True)
    sys.stdin.readline()


async def keep_open(rows: list[dict], in_flight: int, answer) -> None:
    """`answer(row)` for each row, so many at once."""
    waiting = iter(rows)

    async def lane() -> None:
        for row in waiting:
            await answer(row)

    await asyncio.gather(*(lane() for _ in range(in_flight)))


async def answer_all(args: Args, ask, workers) -> None:
    """`ask(row)` gives the samples in a row's answer; whatever it throws is a failed request. `workers()` names the processes that may be killed."""
    log = Log(args.out)

    async def answer(row: dict) -> None:
        start = time.time()
        try:
            log.tell(row["id"], start, await ask(row))
        except Exception as error:
            log.tell(row["id"], start, 0, repr(error))

    await args.warm_up(answer)
    ready(workers())
    await keep_open(args.rows, args.in_flight, answer)
    done()


def http_session():
    """Without a bound on connections; a call may take ten minutes."""
    import aiohttp  # not in the environment of verdict

    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=600))
