# SPDX-License-Identifier: GPL-2.0-only
# Everything one does here is one of these; "make help" lists them.

V	= 2.0.40
PREFIX	= /usr/local
LAB	= PYTHONPATH=tests PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3

help: ## this list
	@echo 'make ...  (V=2.0.x chooses the kernel, $(V) if you do not say)'
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1	\2/p' Makefile | expand -t 12

demo: ## boot the example network, forward a web request, and show what happens
	@scripts/need source kernel guest lab
	@$(LAB) tests/demo.py $(V)

run: ## boot the example network and give you the gateway's shell
	@scripts/need source kernel guest lab
	@$(LAB) tests/run.py $(V)

check: ## all tests (T='-k name' chooses)
	@scripts/need source kernel guest lab tests
	@$(LAB) -m pytest tests $(T)

kernel: ## compile a patched kernel for QEMU (LINUX=DIR: from your own tree)
	@scripts/need source kernel
	@dir=`scripts/build-kernel $(V) on` && echo $$dir/bzImage

patch: ## write ipportfw-2.0.x.patch.gz, for a pristine tree
	@scripts/need source
	@scripts/make-patch $(V) ipportfw-$(V).patch.gz
	@echo ipportfw-$(V).patch.gz

tool: tools/ipportfw ## compile the tool, ipportfw

tools/ipportfw: tools/ipportfw.c src/include/linux/ip_portfw.h
	$(CC) -O2 -Wall $(CFLAGS) $(LDFLAGS) $< -o $@

install: tools/ipportfw ## install the tool and its manual page (DESTDIR, PREFIX)
	install -D -m 755 tools/ipportfw $(DESTDIR)$(PREFIX)/sbin/ipportfw
	install -D -m 644 tools/ipportfw.8 $(DESTDIR)$(PREFIX)/share/man/man8/ipportfw.8

clean: ## remove everything that was built
	rm -rf build tools/ipportfw ipportfw-*.patch.gz

.PHONY: help demo run check kernel patch tool install clean
