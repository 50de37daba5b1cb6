# SPDX-License-Identifier: GPL-2.0-only
# Everything one does here is one of these; "make help" lists them.

V	= 2.0.40
VERSIONS = $(shell seq -f 2.0.%g 27 40)
PREFIX	= /usr/local
PACKETS	= 55000000
LAB	= PYTHONPATH=tests PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3

help: ## this list
	@echo 'make ...  (V=2.0.x chooses the kernel, $(V) if you do not say)'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1	\2/p' Makefile | expand -t 18

demo: ## boot the example network, forward a web request, and show what happens
	@scripts/need source kernel guest lab
	@$(LAB) tests/demo.py $(V)

run: ## boot the example network and give you the gateway's shell
	@scripts/need source kernel guest lab
	@$(LAB) tests/run.py $(V)

check: ## the tests (T='-k name' chooses, KERNELS=all spares no kernel)
	@scripts/need source kernel guest lab tests
	@$(LAB) -m pytest tests $(T)

check-kernels: ## build, boot and try all fourteen kernels, and print a table
	@scripts/need source kernel guest lab tests
	@KERNELS=all $(LAB) -m pytest tests/test_kernels.py $(T)

soak: ## half an hour of traffic while rules come and go (PACKETS=55000000)
	@scripts/need source kernel guest lab
	@$(LAB) tests/soak.py $(PACKETS)

bench: ## count instructions, print the figures, write Documentation/performance.*
	@scripts/need source kernel guest lab bench
	@$(LAB) bench/bench.py

kernel: ## compile a patched kernel for QEMU (LINUX=DIR: from your own tree)
	@scripts/need source kernel
	@dir=`scripts/build-kernel $(if $(LINUX),,$(V)) on` && echo $$dir/bzImage

patch: ## write ipportfw-2.0.x.patch.gz, for a pristine tree
	@scripts/need source
	@scripts/make-patch $(V) ipportfw-$(V).patch.gz
	@echo ipportfw-$(V).patch.gz

patches: ## write the patches for all fourteen kernels, and SHA256SUMS
	@scripts/need source
	@for v in $(VERSIONS); do scripts/make-patch $$v ipportfw-$$v.patch.gz || exit 1; done
	@sha256sum ipportfw-2.0.*.patch.gz >SHA256SUMS
	@cat SHA256SUMS

tool: tools/ipportfw ## compile the tool, ipportfw

tools/ipportfw: tools/ipportfw.c src/include/linux/ip_portfw.h
	$(CC) -O2 -Wall $(CFLAGS) $(LDFLAGS) $< -o $@

install: tools/ipportfw ## install the tool and its manual page (DESTDIR, PREFIX)
	install -D -m 755 tools/ipportfw $(DESTDIR)$(PREFIX)/sbin/ipportfw
	install -D -m 644 tools/ipportfw.8 $(DESTDIR)$(PREFIX)/share/man/man8/ipportfw.8

clean: ## remove everything that was built
	rm -rf build tools/ipportfw ipportfw-*.patch.gz SHA256SUMS

.PHONY: help demo run check check-kernels soak bench kernel patch patches tool install clean
