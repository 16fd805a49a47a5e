import torch
from transformers import LlamaConfig, LlamaForCausalLM

from grm_trainer.sampler import Sampler


def model():
    torch.manual_seed(0)
    made = LlamaForCausalLM(LlamaConfig(
        vocab_size=300, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=4,
        tie_word_embeddings=True, max_position_embeddings=128, attention_bias=True,
    )).eval()
    for name, weights in made.named_parameters():
        if weights.dim() > 1:
            weights.data *= 4  # far from uniform, so that a mistake changes the argmax
        elif name.endswith("bias"):
            weights.data.normal_()
    return made


def test_greedy_tokens_are_those_of_transformers():
    made = model()
    prompts = [[5, 6, 7, 9, 100], [8, 9, 10, 11, 12, 13, 14, 15, 17], [42]]
    drawn = Sampler(made).sample(prompts, 3, 0, 24, 1, torch.Generator())
    for prompt, generations in zip(prompts, drawn):
        wanted = made.generate(torch.tensor([prompt]), max_new_tokens=24, do_sample=False, pad_token_id=0, eos_token_id=1)[0, len(prompt):].tolist()
        wanted = wanted[: wanted.index(1)] if 1 in wanted else wanted
        assert [g.tokens for g in generations] == [wanted] * 3


def test_prefill_gives_the_logits_of_transformers():
    made = model()
    prompts = [[5, 6, 7], [8, 9, 10, 11, 12]]
    logits, *_ = Sampler(made).prefill(prompts)
    for row, prompt in zip(logits, prompts):
        torch.testing.assert_close(row, made(torch.tensor([prompt])).logits[0, -1], atol=1e-4, rtol=1e-4)


def test_sampling_follows_the_seed_and_the_distribution():
    made = model()
    sampler = Sampler(made)
    one = sampler.sample([[5, 6]], 512, 1.0, 1, 1, torch.Generator().manual_seed(1))
    assert one == sampler.sample([[5, 6]], 512, 1.0, 1, 1, torch.Generator().manual_seed(1))
    odds = torch.softmax(made(torch.tensor([[5, 6]])).logits[0, -1], -1)
    first = [g.tokens[0] if g.tokens else 1 for g in one[0]]
    top = int(odds.argmax())
    assert abs(first.count(top) / 512 - odds[top].item()) < 0.1
