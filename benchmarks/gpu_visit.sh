#!/usr/bin/env bash
# All that needs a GPU, on a machine with its own python3 and torch and no network.
#
#   bash benchmarks/gpu_visit.sh OUT [PART ...]     parts: tests profile steps schedule throughput20 throughput56
#
# WHEELS (default .gpu, filled by `make gpu-wheels` on a machine with network) holds the packages that are
# missing there. Each part ends well inside 8 minutes; its JSON lies in OUT as soon as it is made.
set -uo pipefail
cd "$(dirname "$0")/.."
out=$1
shift
parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(tests profile steps schedule throughput20 throughput56)
wheels=${WHEELS:-.gpu}
site=${TMPDIR:-/tmp}/resexp-site
python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade \
  --target "$site" "$wheels"/*.whl || exit 6
export PYTHONPATH=$site:$PWD PYTHONUNBUFFERED=1
status=0

part() { # SECONDS COMMAND...: its output beside its JSON, whatever becomes of it
  local limit=$1
  shift
  timeout "$limit" "$@" 2>&1 | tee -a "$out/visit.log" | tail -n "${LINES_SHOWN:-25}" || status=1
  cp -f benchmarks/results/*"$(device)"*.json "$out"/ 2>/dev/null
}
device() { python3 -c 'import torch; print(torch.cuda.get_device_name().lower().replace(" ", "-"))'; }

for name in "${parts[@]}"; do
  echo "== $name"
  case $name in
    tests) # only xdist: what else that machine has installed is not asked
      PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 part 240 python3 -m pytest -p xdist -m gpu -n 6 tests/test_gpu.py ;;
    profile) part 90 python3 -m benchmarks.gpu_profile ;;
    steps) part 60 python3 -m benchmarks.overhead --steps 200 --rounds 5 ;;
    schedule) part 120 python3 -m benchmarks.schedule --depth 20,56,110 --seconds "${SECONDS_A_NET:-25}" ;;
    throughput*) part 400 python3 -m benchmarks.throughput --steps 200 --depth "${name#throughput}" ;;
    *) echo "no part of that name: $name" ; exit 2 ;;
  esac
done
exit $status
