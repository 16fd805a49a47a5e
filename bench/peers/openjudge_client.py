"""OpenJudge: a grader on its OpenAIChatModel, and a strategy that runs the grader once for each sample and adds the scores up.

Its own LLMGrader wants a JSON score in the reply, which a generative reward model does not write, so the grader here is a subclass of
BaseGrader, the way that its documentation gives for other replies. Calls, strategy and model are the library's.
"""

import asyncio
import os

from openjudge.evaluation_strategy import BaseEvaluationStrategy
from openjudge.graders.base_grader import BaseGrader
from openjudge.graders.schema import GraderMode, GraderRank
from openjudge.models.openai_chat_model import OpenAIChatModel

from common import MAX_TOKENS, TEMPERATURE, Args, answer_all, draws_of, vote


class SumStrategy(BaseEvaluationStrategy):
    async def execute(self, call_fn, **kwargs):
        row = kwargs["row"]
        results = await asyncio.gather(*(call_fn(draw=draw, **kwargs) for draw in draws_of(row)))
        return vote(row, [(each.metadata["order"], each.reason) for each in results])


class GrmGrader(BaseGrader):
    def __init__(self, model: OpenAIChatModel) -> None:
        super().__init__(name="grm", mode=GraderMode.LISTWISE, strategy=SumStrategy())
        self.model = model

    async def _aevaluate(self, draw: dict, row: dict, **_) -> GraderRank:
        reply = await self.model.achat(messages=draw["messages"], seed=draw["seed"])
        ranks = list(range(1, len(row["responses"]) + 1))
        return GraderRank(name=self.name, rank=ranks, reason=reply.content, metadata={"order": draw["order"]})

    @staticmethod
    def get_metadata() -> dict:
        return {}


async def main() -> None:
    args = Args()
    model = OpenAIChatModel(
        "fake-grm",
        api_key="none",
        base_url=f"{args.engine}/v1",
        timeout=600,
        temperature=TEMPERATURE,
        max_tokens=MAX_TOKENS,
    )
    grader = GrmGrader(model)

    async def ask(row: dict) -> int:
        return (await grader.aevaluate(row=row))["samples"]

    await answer_all(args, ask, lambda: [os.getpid()])


asyncio.run(main())
