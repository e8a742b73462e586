"""What a number format lost: perplexity and greedy agreement of GGUF files or directories, computed alike.

Runs in the environment of transformers. Its one argument is a JSON object: models (name to path), reference (a name),
text, prompts, tokens (of each answer). Weights are dequantised exactly and computed in float32, so what is seen is what
the format did to the weights, not what an engine's arithmetic adds. Prints one JSON object.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
from transformers.utils import logging

BATCH = 25
"""Prompts that are answered together."""
CONTEXT = 512
"""Tokens that a token is predicted from at most; windows overlap by half."""


def load(path):
    path = Path(path)
    if path.is_dir():
        return (
            AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval(),
            AutoTokenizer.from_pretrained(path),
        )
    place, name = str(path.parent), path.name
    model = AutoModelForCausalLM.from_pretrained(
        place, gguf_file=name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    return model.eval(), AutoTokenizer.from_pretrained(place, gguf_file=name)


def losses(model, ids):
    """Nats of every token but the first, each from at least half a window of those before it."""
    found = []
    position = 1
    while position < len(ids):
        begin = max(0, position - CONTEXT // 2)
        window = ids[begin : begin + CONTEXT]
        scores = model(window[None]).logits[0].log_softmax(-1)
        first = position - begin
        targets = window[first:]
        found.append(-scores[first - 1 : len(window) - 1].gather(1, targets[:, None])[:, 0])
        position = begin + len(window)
    return torch.cat(found)


def answers(model, tokenizer, prompts, tokens):
    """Greedy answers, as (prompt and answer, length of the prompt)."""
    found = []
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    ends_with = model.generation_config.eos_token_id
    ends_with = torch.tensor([ends_with if ends_with is not None else -1]).flatten()
    for begin in range(0, len(prompts), BATCH):
        asked = tokenizer.apply_chat_template(
            [[{"role": "user", "content": prompt}] for prompt in prompts[begin : begin + BATCH]],
            add_generation_prompt=True,
            padding=True,
            return_tensors="pt",
            return_dict=True,
        )
        wholes = model.generate(**asked, max_new_tokens=tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id)
        width = asked["input_ids"].shape[1]
        for whole, mask in zip(wholes, asked["attention_mask"], strict=True):
            answer = whole[width:]
            ends = torch.isin(answer, ends_with).nonzero()
            length = int(ends[0, 0]) + 1 if len(ends) else len(answer)  # what follows the end is padding
            start = width - int(mask.sum())
            found.append((whole[start : width + length], width - start))
    return found


def main():
    logging.disable_progress_bar()
    asked = json.loads(sys.argv[1])
    torch.manual_seed(0)
    names = [asked["reference"], *(name for name in asked["models"] if name != asked["reference"])]
    results, said, before = {}, None, None
    with torch.inference_mode():
        for number, name in enumerate(names):
            sys.stderr.write(f"progress {number / len(names):.2f} {name}\n")
            sys.stderr.flush()
            model, tokenizer = load(asked["models"][name])
            ids = torch.tensor(tokenizer(asked["text"])["input_ids"])
            nats = losses(model, ids)
            result = {"tokens": len(nats), "perplexity": float(nats.mean().exp())}
            if said is None:
                before = nats
                said = answers(model, tokenizer, asked["prompts"], asked["tokens"])
            else:
                # the same tokens under both: the mean difference is far surer than either perplexity
                apart = nats - before
                result["log_ratio"] = float(apart.mean())
                result["log_ratio_error"] = float(apart.std() / len(apart) ** 0.5)
                same, whole, total = 0, 0, 0
                for ids, start in said:
                    choice = model(ids[None]).logits[0].argmax(-1)[start - 1 : -1]
                    equal = choice == ids[start:]
                    same, total, whole = same + int(equal.sum()), total + len(equal), whole + bool(equal.all())
                result |= {"agreed_tokens": same, "answer_tokens": total, "agreed_answers": whole, "answers": len(said)}
            results[name] = result
    sys.stdout.write(json.dumps(results))


main()
