#!/usr/bin/env bash
# What a GPU does, in at most eight minutes, on a machine that has one: whether every family computes right on it in float32 and float16,
# and step times beside PyTorch's on the same card. Needs a graphics driver with Vulkan (Linux); with a Python that has torch with CUDA and
# diffusers as PYTHON, its times too. Run from the repository root, after npm ci. A part that fails does not keep the others from running.
# DRY_RUN=1 runs all parts on the smallest sizes, on any device: shows that the script works, and no times.
set -uo pipefail
cd "$(dirname "$0")/.."
dry=${DRY_RUN:+--dry-run}
models=(src/models/transformers src/models/text-encoders)
pictures=(src/runtime/webgpu.test.ts src/models/float16.test.ts src/pipelines/webgpu.test.ts)
if [ -n "$dry" ]; then
  models=(src/models/transformers/flux)
  pictures=(src/runtime/webgpu.test.ts)
fi

status=0
part() { # seconds, command
  local limit=${DRY_RUN:+600} code=0
  timeout "${limit:-$1}" "${@:2}" || code=$?
  [ "$code" = 0 ] || { echo "FAILED ($code, 124 is out of time): ${*:2}"; status=1; }
}
on_gpu() { # seconds, tests
  part "$1" npx vitest run --no-isolate --maxWorkers=1 "${@:2}"
}

npm run --silent build || exit 1
part 20 node dist/cli/main.js doctor

echo "== every family, float32 (1e-4) and float16 (docs/gpu.md)"
DEJA_DIT_TEST_BACKEND=webgpu on_gpu 100 "${models[@]}" -t "forward\\(\\) returns|equal Transformers without a mask"
on_gpu 80 "${pictures[@]}"

for dtype in float32 float16; do
  echo "== step times, $dtype"
  part 60 node dist/cli/main.js bench --backend webgpu --compute-dtype "$dtype" $dry
done
echo "== step times in 4 bits"
part 60 node dist/cli/main.js bench --backend webgpu --quantize int4_weight_only $dry
if [ -n "${PYTHON:-}" ]; then
  echo "== PyTorch on the same card, bfloat16"
  part 100 "$PYTHON" bench/diffusers_gpu_step.py $dry
fi
exit "$status"
