# The targets of the overlay; `./configure-overlay.sh --help` lists them.
# Each is done by Tools/overlay, with the settings of the last configure.

-include build/config.mk
PYTHON ?= python3
# Whatever the environment and site-packages say to Python is for others.
FLAGS = -E -S -B -X utf8

TARGETS = all demo test bench docs install clean \
          import export check-series check-each review rebase \
          test-asyncio stubs chaos

.PHONY: $(TARGETS)
# Targets share their build folders; configure's --jobs is for what they run.
.NOTPARALLEL:
all:
$(TARGETS):
# exec, as a shell that is told to end would not tell what it runs.
	@exec "$(PYTHON)" $(FLAGS) Tools/overlay $@
