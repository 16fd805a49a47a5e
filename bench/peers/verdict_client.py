"""The library `verdict`: a pipeline with a layer of units, each of which is a judge's call; its executor has a thread for each call.

A dataset row is a request with one order of its responses, and the layer repeats its unit as often as samples of that order are wanted. A
request is answered when both of its rows are.
"""

import os
import threading
import time

import pandas
from verdict import Layer, Pipeline, Unit
from verdict.dataset import DatasetWrapper
from verdict.extractor import RawExtractor
from verdict.model import vLLMModel
from verdict.schema import Schema
from verdict.util import ratelimit

from common import MAX_TOKENS, TEMPERATURE, Args, Log, done, ready, vote

args = Args()
log = Log(args.out)
rows = {row["id"]: row for row in args.warm + args.rows}
lock = threading.Lock()
begun: dict[str, float] = {}
texts: dict[str, list] = {}


class CritiqueUnit(Unit):
    class ResponseSchema(Schema):
        text: str

    def execute(self, input, *rest, **more):
        with lock:
            begun.setdefault(self.source_input.row, time.time())
        return super().execute(input, *rest, **more)

    def process(self, input, response):
        row = rows[self.source_input.row]
        with lock:
            mine = texts.setdefault(row["id"], [])
            mine.append((row["prompts"][self.source_input.order]["order"], response.text))
            complete = len(mine) == row["k"]
        if complete:
            log.tell(row["id"], begun[row["id"]], vote(row, mine)["samples"])
        return response


def message(prompt: dict, role: str) -> str:
    return "\n\n".join(each["content"] for each in prompt["messages"] if each["role"] == role)


ratelimit.disable()
model = vLLMModel("fake-grm", f"{args.engine}/v1", "none")
repeats = args.rows[0]["prompts"][0]["samples"]
unit = CritiqueUnit().extract(RawExtractor()).prompt("@system\n{source.system}\n@user\n{source.user}\n@no_format")
pipeline = Pipeline() >> Layer(unit.via(model, temperature=TEMPERATURE, max_tokens=MAX_TOKENS), repeat=repeats)


def run(wanted: list[dict]) -> None:
    table = pandas.DataFrame(
        [
            {"row": row["id"], "order": at, "system": message(prompt, "system"), "user": message(prompt, "user")}
            for row in wanted
            for at, prompt in enumerate(row["prompts"])
        ]
    )
    workers = args.in_flight * args.rows[0]["k"]
    pipeline.run_from_dataset(DatasetWrapper(table), max_workers=workers, display=False, graceful=True)


run(args.warm)
ready([os.getpid()])
run(args.rows)
done()
os._exit(0)
