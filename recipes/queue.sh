#!/usr/bin/env bash
# The experiments in the order of their worth, for a machine with two cores: what is finished is never run again, and
# what was interrupted goes on. docs/results.md says what has been run.
#
#   DATA=folder-of-data-sets KNOWLEDGE2015=store KNOWLEDGE2017=store bash recipes/queue.sh [options of `mner experiment run`]
#
# KNOWLEDGE2015 and KNOWLEDGE2017 are stores with captions and a language model's reasoning for the two Twitter sets.
# CHAINS, where it is given, is a folder with the chains of CrossNER's domains, crossner/politics.sqlite and so on, each made by
#   mner knowledge make DATA/crossner/politics --provider chain --model RUN --domain politics --store CHAINS/crossner/politics.sqlite
# --jobs 1 leaves a core to others; --seed 1 runs one seed of everything first; --dry-run says what is left and how long it takes.
set -uo pipefail
cd "$(dirname "$0")/.."
: "${DATA:?a folder with the data sets}" "${KNOWLEDGE2015:?a knowledge store}" "${KNOWLEDGE2017:?a knowledge store}"
OUTPUT="${OUTPUT:-runs/experiments}"
stores=(--knowledge "twitter2015=$KNOWLEDGE2015" --knowledge "twitter2017=$KNOWLEDGE2017")
chains=(${CHAINS:+--knowledge "$CHAINS"})

run() {
    local table="$1"
    shift
    echo "== $table"
    mner experiment run "recipes/$table.toml" --output "$OUTPUT" --data "$DATA" "$@" || echo "== $table: not all of it ran"
}

# What knowledge is worth, and how it should meet the text.
run mmavk/knowledge-sources "${stores[@]}" "$@"
run mmavk/fusion "${stores[@]}" "$@"
run comparison/captions "${stores[@]}" "$@"
# Does each part of the systems that see pictures do anything, where pictures decide?
mner probe-set make runs/probe/data 2>/dev/null
mner probe-set backbones runs/probe/backbones 2>/dev/null
mner experiment run recipes/probe/ablation.toml --output "$OUTPUT" "$@"
# All text rows, MMAVK and CDNER on both sets; from the same runs, each set's models on the other set.
run comparison/main-results "${stores[@]}" "$@"
run comparison/generalisation "${stores[@]}" "$@"
# Other domains; without chains CDNER's rows there are those without captions and chain.
run cdner/crossner "${chains[@]}" "$@"
run cdner/few-shot "${chains[@]}" "$@"
# Few posts.
run comparison/low-resource "${stores[@]}" "$@"
run cdner/ablation-twitter "${stores[@]}" "$@"
# Real pictures, from scratch.
mner backbone make runs/cp-mner/encoder --data "$DATA/cp_mner" 2>/dev/null
run cp-mner/ablation "$@"
# Filters.
run mmavk/quantiles "${stores[@]}" "$@"
run mmavk/thresholds "${stores[@]}" "$@"
