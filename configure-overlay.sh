#!/usr/bin/env bash
# Finds a Python that can run the tools, and hands everything to them.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
for python in python3 /usr/bin/python3 python3.{14..11}; do
    if "$python" -E -S -c 'import sys, lzma; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        # A version manager's stand-in may be another Python in another folder.
        python=$("$python" -E -S -c 'import sys; print(sys.executable)')
        exec "$python" -E -S -B -X utf8 "$here/Tools/overlay" configure "$@"
    fi
done
echo "configure-overlay.sh: error: Python 3.11 or newer (with its lzma module) is needed: apt-get install python3" >&2
exit 1
