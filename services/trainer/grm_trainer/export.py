"""Export: a trained Llama decoder as GGUF (Q8_0), for llama.cpp.

For models of the nano recipe alone; bigger ones are served by vLLM as they are, or converted by llama.cpp's own script.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import gguf
import numpy as np
from transformers import LlamaForCausalLM

from .vocabulary import PRE_TOKENIZER

NORMAL, CONTROL = 1, 3


def export_gguf(model: LlamaForCausalLM, tokenizer, path: Path, name: str, description: str) -> dict:
    """Returns {bytes, sha256, parameters}."""
    config = model.config
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name(name)
    writer.add_description(description)
    writer.add_license("apache-2.0")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _add_tokenizer(writer, tokenizer)
    heads = config.num_attention_heads
    for key, tensor in model.state_dict().items():
        values = tensor.detach().float().numpy()
        if key == "lm_head.weight":
            continue  # tied to the embedding
        if "q_proj." in key or "k_proj." in key:
            values = _interleave(values, heads)
        if values.ndim == 1:
            writer.add_tensor(_name(key), values.astype(np.float32))
        else:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(_name(key), gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    data = path.read_bytes()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "parameters": model.num_parameters()}


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer) -> None:
    inner = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    control = {token["content"] for token in inner["added_tokens"]}
    merges = [" ".join(merge) if isinstance(merge, list) else merge for merge in inner["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZER)
    writer.add_token_list([text for text, _ in vocabulary])
    writer.add_token_types([CONTROL if text in control else NORMAL for text, _ in vocabulary])
    writer.add_token_merges(merges)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_add_bos_token(False)
    writer.add_chat_template(tokenizer.chat_template)


def _interleave(values: np.ndarray, heads: int) -> np.ndarray:
    """From halves of a head's dimensions (transformers) to pairs (llama.cpp), for rotary embeddings. A weight or a bias."""
    rows = values.shape[0]
    return values.reshape(heads, 2, rows // heads // 2, -1).swapaxes(1, 2).reshape(values.shape)


def _name(key: str) -> str:
    if key == "model.embed_tokens.weight":
        return "token_embd.weight"
    if key == "model.norm.weight":
        return "output_norm.weight"
    _, _, layer, *rest = key.split(".")
    part = {
        "input_layernorm": "attn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }[".".join(rest[:-1])]
    return f"blk.{layer}.{part}.{rest[-1]}"
