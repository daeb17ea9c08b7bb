# The targets of the overlay; `./configure-overlay.sh --help` lists them.
# Each is done by Tools/overlay, with the settings of the last configure.

-include build/config.mk
PYTHON ?= python3

TARGETS = all demo test bench docs install clean \
          import export check-series check-each review rebase \
          test-asyncio stubs

.PHONY: $(TARGETS)
all:
$(TARGETS):
	@"$(PYTHON)" -B Tools/overlay $@
