"""Sampler: many samples of many prompts, each prompt evaluated once; on the device where the model is.

Why not generate(): its cache grows by concatenation, which copies the whole cache at every token, and k samples of a prompt each carry the
prompt's keys and values. Here the prompt's are kept once per prompt and the samples' in buffers made beforehand. The mathematics are the
model's own (test_sampler.py compares logits with transformers').
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from transformers import LlamaForCausalLM


@dataclass(frozen=True)
class Generation:
    tokens: list[int]
    """Without the end token."""
    finished: bool
    """False: cut at the token limit."""


class Sampler:
    """Reads the weights once: make a new one after a training step."""

    def __init__(self, model: LlamaForCausalLM, dtype: torch.dtype = torch.float32):
        config = model.config
        self.device = model.device
        self.heads = config.num_attention_heads
        self.dim = config.hidden_size // self.heads
        self.eps = config.rms_norm_eps
        if config.num_key_value_heads != self.heads:
            raise ValueError(f"num_key_value_heads: {config.num_key_value_heads}, expected {self.heads}")
        cast = lambda tensor: tensor.detach().to(dtype)
        bias = lambda parts: None if parts[0] is None else cast(torch.cat(parts))
        self.embed = cast(model.model.embed_tokens.weight)
        self.head = cast(model.lm_head.weight)
        self.norm = cast(model.model.norm.weight)
        self.layers = []
        for layer in model.model.layers:
            attention, mlp = layer.self_attn, layer.mlp
            projections = [attention.q_proj, attention.k_proj, attention.v_proj]
            self.layers.append((
                cast(layer.input_layernorm.weight),
                (cast(torch.cat([p.weight for p in projections])), bias([p.bias for p in projections])),
                (cast(attention.o_proj.weight), bias([attention.o_proj.bias])),
                cast(layer.post_attention_layernorm.weight),
                cast(torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight])),
                cast(mlp.down_proj.weight),
            ))
        theta = config.rope_parameters["rope_theta"]
        inverse = 1.0 / theta ** (torch.arange(0, self.dim, 2).float() / self.dim)
        angles = torch.arange(config.max_position_embeddings).float()[:, None] * inverse[None]
        angles = torch.cat([angles, angles], dim=-1)
        self.cos, self.sin = angles.cos().to(self.device, dtype), angles.sin().to(self.device, dtype)

    def _rms(self, x, weight):
        wide = x.float()
        return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)).to(x.dtype) * weight

    def _rotate(self, x, positions):
        """x: [..., heads, dim]; positions: [...]"""
        cos, sin = self.cos[positions].unsqueeze(-2), self.sin[positions].unsqueeze(-2)
        half = self.dim // 2
        return x * cos + torch.cat([-x[..., half:], x[..., :half]], dim=-1) * sin

    def _mlp(self, x, gate_up, down):
        gate, up = F.linear(x, gate_up).chunk(2, dim=-1)
        return F.linear(F.silu(gate) * up, down)

    @torch.no_grad()
    def prefill(self, prompts: list[list[int]]):
        """(logits after the last token of each prompt [B, vocabulary], keys and values per layer [B, heads, P, dim], lengths [B])"""
        lengths = torch.tensor([len(prompt) for prompt in prompts])
        width = int(lengths.max())
        ids = torch.zeros(len(prompts), width, dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt)] = torch.tensor(prompt)
        ids, lengths = ids.to(self.device), lengths.to(self.device)
        positions = torch.arange(width, device=self.device).expand(len(prompts), width)
        x = self.embed[ids]
        cache = []
        for norm1, qkv, out, norm2, gate_up, down in self.layers:
            q, k, v = F.linear(self._rms(x, norm1), *qkv).view(*x.shape[:2], 3, self.heads, self.dim).unbind(2)
            q, k = self._rotate(q, positions).transpose(1, 2), self._rotate(k, positions).transpose(1, 2)
            v = v.transpose(1, 2).contiguous()
            # Padding stands at the right: causal attention keeps it out of what counts.
            attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + F.linear(attended.transpose(1, 2).flatten(2), *out)
            x = x + self._mlp(self._rms(x, norm2), gate_up, down)
            cache.append((k.contiguous(), v))
        last = x[torch.arange(len(prompts), device=self.device), lengths - 1]
        return F.linear(self._rms(last, self.norm), self.head).float(), cache, lengths

    @torch.no_grad()
    def sample(
        self, prompts: list[list[int]], k: int, temperature: float, max_tokens: int, end: int, generator: torch.Generator,
    ) -> list[list[Generation]]:
        """k generations per prompt; temperature 0 = greedy. `generator`: of the model's device."""
        logits, cache, lengths = self.prefill(prompts)
        count, width = len(prompts), int(lengths.max())
        prompt_mask = (torch.arange(width, device=self.device)[None] >= lengths[:, None])[:, None, None]
        buffer = lambda: torch.zeros(count, k, self.heads, max_tokens, self.dim, dtype=self.embed.dtype, device=self.device)
        own = [(buffer(), buffer()) for _ in self.layers]
        tokens = torch.full((count, k, max_tokens), end, device=self.device)
        alive = torch.arange(count, device=self.device)
        """Items that are still being drawn; everything below holds their rows alone."""
        done = torch.zeros(count, k, dtype=torch.bool, device=self.device)
        logits = logits[:, None].expand(count, k, -1)
        for step in range(max_tokens):
            if temperature == 0:
                chosen = logits.argmax(-1)
            else:
                odds = torch.softmax(logits / temperature, dim=-1).flatten(0, 1)
                chosen = torch.multinomial(odds, 1, generator=generator).view(len(alive), k)
            chosen = torch.where(done, end, chosen)
            tokens[alive, :, step] = chosen
            done = done | (chosen == end)
            if bool(done.all()) or step + 1 == max_tokens:
                break
            if step % 8 == 7 and (still := ~done.all(1)).float().mean() < 0.9:
                alive, done, lengths, prompt_mask, chosen = alive[still], done[still], lengths[still], prompt_mask[still], chosen[still]
                cache = [(a[still], b[still]) for a, b in cache]
                own = [(a[still], b[still]) for a, b in own]
            logits = self._step(chosen, step, lengths, prompt_mask, cache, own)
        return [[self._cut(drawn, end) for drawn in item] for item in tokens.tolist()]

    def _step(self, chosen, step, lengths, prompt_mask, cache, own):
        count, k = chosen.shape
        positions = (lengths + step)[:, None].expand(count, k)
        x = self.embed[chosen]
        scale = self.dim ** -0.5
        for (norm1, qkv, out, norm2, gate_up, down), (pk, pv), (ok, ov) in zip(self.layers, cache, own):
            q, key, value = F.linear(self._rms(x, norm1), *qkv).view(count, k, 3, self.heads, self.dim).unbind(2)
            q = self._rotate(q, positions) * scale
            ok[:, :, :, step] = self._rotate(key, positions)
            ov[:, :, :, step] = value
            over_prompt = (q.transpose(1, 2) @ pk.transpose(-1, -2)).masked_fill(prompt_mask, float("-inf"))  # [B, heads, k, P]
            over_own = (ok[:, :, :, : step + 1] @ q.unsqueeze(-1)).squeeze(-1)  # [B, k, heads, t]
            odds = torch.softmax(torch.cat([over_prompt.transpose(1, 2), over_own], dim=-1).float(), dim=-1).to(q.dtype)
            width = pk.shape[2]
            attended = (odds[..., :width].transpose(1, 2) @ pv).transpose(1, 2)
            attended = attended + (odds[..., width:].unsqueeze(-2) @ ov[:, :, :, : step + 1]).squeeze(-2)
            x = x + F.linear(attended.flatten(2), *out)
            x = x + self._mlp(self._rms(x, norm2), gate_up, down)
        return F.linear(self._rms(x, self.norm), self.head).float()

    @staticmethod
    def _cut(tokens: list[int], end: int) -> Generation:
        if end in tokens:
            return Generation(tokens[: tokens.index(end)], True)
        return Generation(tokens, False)


def encode(tokenizer, asked: list[dict], forced: str = "") -> list[int]:
    """A chat up to where the assistant begins to speak, and `forced` as the beginning of what it says."""
    ids = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=False)
    return [*ids, *tokenizer.encode(forced, add_special_tokens=False)]


def encode_all(tokenizer, chats: list[list[dict]], forced: str = "") -> list[list[int]]:
    """encode() of many."""
    if not chats:
        return []
    begun = tokenizer.encode(forced, add_special_tokens=False)
    return [[*ids, *begun] for ids in tokenizer.apply_chat_template(chats, add_generation_prompt=True, return_dict=False)]


def sample_texts(
    sampler: Sampler, tokenizer, chats: list[list[dict]], k: int, temperature: float, max_tokens: int, seed: int, forced: str = "",
) -> list[list[str | None]]:
    """k texts per chat, in batches of sequences of like length. None = cut at the token limit.
    `forced` is put into the assistant's mouth first, and is part of the texts."""
    encoded = encode_all(tokenizer, chats, forced)
    rows = 128 if sampler.device.type == "cpu" else 8192
    order = sorted(range(len(chats)), key=lambda i: len(encoded[i]))
    results: list[list[str | None]] = [[] for _ in chats]
    generator = torch.Generator(sampler.device).manual_seed(seed)
    size = max(1, rows // k)
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        drawn = sampler.sample([encoded[i] for i in batch], k, temperature, max_tokens, tokenizer.eos_token_id, generator)
        for i, generations in zip(batch, drawn):
            results[i] = [forced + tokenizer.decode(g.tokens) if g.finished else None for g in generations]
    return results
