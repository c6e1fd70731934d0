"""Times steps of a Diffusers FLUX transformer on request: one JSON line in per batch of steps, one out with milliseconds."""

import json
import sys
import time

import torch
from diffusers import FluxTransformer2DModel

case = json.loads(sys.stdin.readline())
torch.set_num_threads(case["threads"])
torch.manual_seed(0)
if isinstance(case["model"], str):
    model = FluxTransformer2DModel.from_pretrained(case["model"], torch_dtype=torch.float32)
else:
    model = FluxTransformer2DModel.from_config(case["model"])
model = model.eval()
dtype = torch.bfloat16 if case["compiledBfloat16"] else torch.float32
model = model.to(dtype)
config, edge, text = model.config, case["imageEdge"], case["textTokens"]
ids = torch.zeros(edge * edge, 3)
ids[:, 1] = torch.arange(edge * edge) // edge
ids[:, 2] = torch.arange(edge * edge) % edge
inputs = dict(
    hidden_states=torch.randn(1, edge * edge, config.in_channels, dtype=dtype),
    encoder_hidden_states=torch.randn(1, text, config.joint_attention_dim, dtype=dtype),
    pooled_projections=torch.randn(1, config.pooled_projection_dim, dtype=dtype),
    timestep=torch.tensor([0.5], dtype=dtype),
    img_ids=ids,
    txt_ids=torch.zeros(text, 3),
)
if case["compiledBfloat16"]:
    model = torch.compile(model)
print(json.dumps({"torch": torch.__version__}), flush=True)
with torch.inference_mode():
    for line in sys.stdin:
        times = []
        for _ in range(json.loads(line)["steps"]):
            start = time.perf_counter()
            model(**inputs)
            times.append((time.perf_counter() - start) * 1000)
        print(json.dumps({"times": times}), flush=True)
