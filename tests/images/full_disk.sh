#!/bin/sh
# Runs the worker on the small file system that its caller mounted at $ROOT, and counts what is left in layers, blobs and tmp.
"$WORKER"
echo "left: $(find "$ROOT/images/layers" "$ROOT/images/blobs/sha256" "$ROOT/images/tmp" "$ROOT/images/trash" -mindepth 1 | wc -l)"
