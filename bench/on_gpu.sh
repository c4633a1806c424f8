#!/bin/bash
# on_gpu.sh RESULTS [BUILD [BENCH-ARGS...]]
#
# Runs everything on a machine that has a Vulkan driver and a build folder made elsewhere, and nothing else: no CMake, no
# compiler, no validation layers. All test programs (both ways of reaching memory), then danaus-info, then danaus-bench.
#
#   RESULTS/on_gpu.json   {schema, date, tests: [{name, access, status, passed, failed, seconds}], info, bench};
#                         info and bench are what danaus-info and danaus-bench write, null where they failed
#   RESULTS/isa/          what the driver made of the kernels, where it gives code; kernels.json has the rest of it
#   RESULTS/tests.log     the tests' output            RESULTS/bench.log   the table of danaus-bench
#
# BUILD is build/ beside this script's folder unless given; libraries in BUILD/lib are found first. BENCH-ARGS go to
# danaus-bench in place of "--access both". DANAUS_RUNNER, when set, is a program that starts the others
# (tools/with-vulkan); DANAUS_TEST_SECONDS (300) bounds each test program.
# Exit status: 0 when all tests passed and danaus-info and danaus-bench succeeded.
set -u

if [ $# -lt 1 ]; then
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2
  exit 2
fi
root=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mkdir -p "$1" || exit 2
results=$(cd -P "$1" && pwd)
build=${2:-$root/build}
shift; [ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- --access both
build=$(cd -P "$build" && pwd) || exit 2
runner=${DANAUS_RUNNER:-}
seconds=${DANAUS_TEST_SECONDS:-300}
[ ! -d "$build/lib" ] || export LD_LIBRARY_PATH=$build/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

limit() {  # limit SECONDS COMMAND...
  if [ -x "$(command -v timeout)" ]; then timeout "$@"; else shift; "$@"; fi
}

shopt -s nullglob
programs=("$build"/bin/test_*)
if [ ${#programs[@]} -eq 0 ]; then
  echo "on_gpu: no test programs in $build/bin" >&2
  exit 2
fi
chmod +x "$build"/bin/* 2>/dev/null || true  # copies lose it
cd "$root" || exit 2

tests= passed=0 failed=0 broken=()
: >"$results/tests.log"
for program in "${programs[@]}"; do
  for access in address descriptor; do
    name=$(basename "$program")
    start=$SECONDS
    echo "== $name $access" >>"$results/tests.log"
    output=$(limit "$seconds" $runner "$program" --access=$access --no-validation --gtest_color=no 2>&1)
    status=$?
    printf '%s\n' "$output" >>"$results/tests.log"
    good=$(sed -n -E 's/^\[  PASSED  \] ([0-9]+) tests?\.$/\1/p' <<<"$output" | tail -n 1)
    bad=$(sed -n -E 's/^\[  FAILED  \] ([0-9]+) tests?, listed below:$/\1/p' <<<"$output" | tail -n 1)
    passed=$((passed + ${good:-0}))
    failed=$((failed + ${bad:-0}))
    line="$name $access: ${good:-0} passed, ${bad:-0} failed, exit status $status, $((SECONDS - start)) s"
    # A program that died printed no summary; one that tested nothing is no success either.
    if [ $status -ne 0 ] || [ -z "$good" ]; then
      broken+=("$line")
    fi
    echo "$line"
    tests+="${tests:+,}
    {\"name\": \"$name\", \"access\": \"$access\", \"status\": $status, \"passed\": ${good:-0}, \"failed\": ${bad:-0}, \"seconds\": $((SECONDS - start))}"
  done
done

info=$($runner "$build/bin/danaus-info" --json 2>>"$results/tests.log")
if [ $? -ne 0 ] || [ -z "$info" ]; then
  broken+=("danaus-info --json failed")
  info=null
fi

# Not every driver tells anything; that fails nothing.
$runner "$build/bin/danaus-bench" --kernels --access both --json "$results/kernels.json" --isa "$results/isa" \
  >"$results/kernels.log" 2>&1 || echo "danaus-bench --kernels failed, see kernels.log"

rm -f "$results/bench.json"
$runner "$build/bin/danaus-bench" --json "$results/bench.json" "$@" 2>&1 | tee "$results/bench.log"
if [ "${PIPESTATUS[0]}" -ne 0 ] || [ ! -s "$results/bench.json" ]; then
  broken+=("danaus-bench failed")
  bench=null
else
  bench=$(<"$results/bench.json")
fi
rm -f "$results/bench.json"
printf '{\n  "schema": 1,\n  "date": "%s",\n  "tests": [%s\n  ],\n  "info": %s,\n  "bench": %s\n}\n' \
  "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$tests" "$info" "$bench" >"$results/on_gpu.json"

echo
echo "tests: $passed passed, $failed failed in ${#programs[@]} programs, each run twice"
for line in "${broken[@]}"; do echo "not good: $line"; done
echo "results: $results/on_gpu.json"
[ ${#broken[@]} -eq 0 ]
