#!/usr/bin/env bash
# Runs the test suite, or the given test files, in one environment per row of the matrix; ends with a summary line for
# each. Usage: `make matrix`, or experiments/matrix.sh tests/isic_tf/models tests/isic_tf/training
set -uo pipefail
cd "$(dirname "$0")/.."
results=()
failed=0

# Arguments: name, Python, then the arguments of pip after the package. If that Python is not installed, uses python3
# and prints a notice.
run() {
  local name=$1 python=$2 environment=.matrix/$1
  shift 2
  "$python" -c '' 2> /dev/null || { echo "$name: $python is not installed, using python3"; python=python3; }
  if [ ! setup.py -ot "$environment/.installed" ]; then
    "$python" -m venv "$environment" && "$environment/bin/python" -m pip install --quiet --editable '.[test]' "$@" \
      && touch "$environment/.installed" || { failed=1; results+=("$name: installation failed"); return; }
  fi
  local last
  # Includes the installation tests that download packages.
  ISIC_TEST_INDEX=1 "$environment/bin/python" -m pytest --numprocesses=2 --dist=worksteal "${tests[@]}" \
    | tee "$environment/log.txt" || failed=1
  last=$(tail -n 1 "$environment/log.txt")
  results+=("$name: $("$environment/bin/python" --version), $("$environment/bin/python" -m pip list 2> /dev/null \
    | awk 'tolower($1) ~ /^(tensorflow|tf.keras|keras|numpy|pandas|scikit-learn|protobuf)$/ {printf "%s %s, ", $1, $2}')$last")
}

tests=("$@")
run tf218 python3.10 'tensorflow==2.18.*' 'tf-keras==2.18.*'
run tf220 python3.12 'tensorflow==2.20.*' 'tf-keras==2.20.*'
run tf221 python3.11 'tensorflow==2.21.*' 'tf-keras==2.21.*'
run colab python3.13 --constraint experiments/requirements/colab_constraints.txt
printf '%s\n' "${results[@]}"
exit $failed
