# How the programs are built, which version they are, and the sentences that a developer says: `make help` lists them.
# Override on the command line or in the environment: CC, CFLAGS, LDFLAGS, CPPFLAGS, BUILD (where to), NGINX_SOURCE,
# WERROR=-Werror (as CI does), SANITIZE=address,undefined or thread; and where `make install` puts it: DESTDIR, PREFIX,
# SYSCONFDIR, UNITDIR, MODULEDIR.

# Written down in one place, which all that is built has beside it.
version  := $(shell sed -n 's/^. version: //p' services)

# [a-z] has no i in Turkish. Make's own shell takes it from here from 4.4 on only.
export LC_ALL := C

BUILD    ?= build
CFLAGS   ?= -O2 -g
CPPFLAGS ?=
LDFLAGS  ?=
WERROR   ?=
SANITIZE ?=
OBJCOPY  ?= objcopy
NGINX_SOURCE ?= /usr/share/nginx/src
DESTDIR    ?=
PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR    ?= $(PREFIX)/lib/systemd/system
MODULEDIR  ?= $(PREFIX)/lib/nginx/modules

# What the file `services` lists; scripts/lib/services.sh has what stands against a line.
services := $(shell LC_ALL=C sed -n 's/^\([a-z][a-z]*\)[[:blank:]].*/\1/p' services)

# A path with a space is two for make.
$(foreach path,CURDIR BUILD,$(if $(filter-out 1,$(words $($(path)))),\
    $(error $(path) is "$($(path))"; make wants a path without spaces, so move this checkout, or set BUILD)))

# The same name for the same file, however it was given: the dependency files hold it.
override BUILD := $(abspath $(BUILD))

warnings  := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
             -Wpointer-arith -Wwrite-strings -Wundef -Wformat=2
# Built hard, wherever it is built: these are make's, the images', the package's and nginx's modules' alike. Of those that
# belong to a processor or a compiler, what this one takes. tests/hardening.bats reads them in what was built.
accepted   = $(if $(shell $(CC) -Werror $(1) -S -o /dev/null -x c /dev/null 2>/dev/null && echo yes),$(1))
# -fno-plt: all is bound at the start, so a call into a library needs no stub; that wins back most of what the rest costs.
hardening := -fstack-protector-strong -fno-plt $(call accepted,-fstack-clash-protection) \
             $(or $(call accepted,-fcf-protection=full),$(call accepted,-mbranch-protection=standard))
hard_link := -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code
# Behind CPPFLAGS and CFLAGS: dpkg's have another level. It wants an optimizer, and sanitizers check the same by themselves.
optimized  = $(filter-out -O0,$(lastword $(filter -O%,$(CFLAGS))))
fortify    = $(if $(SANITIZE),,$(if $(optimized),-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3))
sanitize  := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer)
dialect   := -std=gnu11 -D_GNU_SOURCE -DCGI_VERSION=\"$(version)\" -Icgi-common/responder/include -Icgi-common/message
# Tests may look at what a service may not.
private   := -Icgi-common/responder $(services:%=-Icgi-%)
c_flags   := $(dialect) -pthread $(warnings) $(WERROR) -fPIE $(hardening) $(sanitize) $(CPPFLAGS) $(CFLAGS) $(fortify)
ld_flags  := -pthread -pie $(hard_link) $(sanitize) $(CFLAGS) $(LDFLAGS)
libs      := -ljansson -lutf8proc -lseccomp
# What services are made of: the responder, which knows no service, and messages.
responder := $(BUILD)/libresponder.a
message   := $(BUILD)/libmessage.a

object    = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
# cgi-NAME/*.c of each service are the program cgi-NAME.
of         = $(call object,$(wildcard cgi-$(1)/*.c))
handlers  := $(filter-out %/main.o,$(foreach name,$(services),$(call of,$(name))))
objects   := $(call object,$(wildcard cgi-common/responder/*.c cgi-common/message/*.c)) \
             $(foreach name,$(services),$(call of,$(name)))
programs  := $(services:%=$(BUILD)/cgi-%)
# of nginx: nginx/NAME/ngx_http_NAME_module.c
modules   := accept admission compose drain logpipe metrics
# nginx brings no gcov for them.
module_flags := $(filter-out --coverage,$(CFLAGS))

.PHONY: build nginx nginx-modules test-programs objects dialect run stop status test bench soak profile fuzz lint coverage format asan lab tsan \
        generate picture install uninstall deb clean help

build: $(programs) nginx-modules  ## compile all (the default)

nginx-modules: $(modules:%=$(BUILD)/ngx_http_%_module.so)

# for scripts/lint: how a tool has to read any C here
dialect:
	@echo $(dialect) $(private)

run:     ## install what is missing, build, start everything in the foreground
	./scripts/run

stop:    ## drain and stop what run started
	./scripts/stop

status:  ## what run started, and how it fares
	./scripts/status

test:    ## install what is missing, build, run every test
	./scripts/test

bench:   ## measure it beside others that do the same job, under many clients, and with workers killed
	./scripts/bench

soak:    ## ten minutes of load, in which no process may grow
	./scripts/soak

profile: ## what a request costs each service, in instructions and system calls
	./scripts/profile

fuzz:    ## a minute of each fuzzer (tests/fuzz)
	./scripts/fuzz

lint:    ## check the form of C, shell and YAML, and what static analysis finds
	./scripts/lint

coverage: ## the lines and branches of the services that their tests reach, by file
	./scripts/coverage

format:  ## put all C into its form
	clang-format -i $$(git ls-files '*.c' '*.h')

generate: ## write `services` and the settings into the files that other tools read whole
	./scripts/generate

picture: docs/request.svg ## draw docs/request.svg from docs/request.dot (wants graphviz)

docs/%.svg: docs/%.dot
	dot -Tsvg -o $@ $<

asan:    ## the tests against a build with AddressSanitizer and UndefinedBehaviorSanitizer
	SANITIZE=address,undefined ./scripts/test

lab:     ## build nginx itself with these sanitizers; make asan does so, too
	./scripts/lab

tsan:    ## the tests against a build with ThreadSanitizer
	SANITIZE=thread ./scripts/test

# host/files has the list of what goes where.
where := BUILD='$(BUILD)' DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' SYSCONFDIR='$(SYSCONFDIR)' UNITDIR='$(UNITDIR)' \
         MODULEDIR='$(MODULEDIR)'

install: build ## put it all under PREFIX (/usr/local) and SYSCONFDIR (/etc) of this host, or of DESTDIR
	$(where) ./host/install install

uninstall: ## take it away again, with what it wrote
	$(where) ./host/install uninstall

deb:     ## build the Debian package, into BUILD/deb
	./scripts/deb '$(BUILD)/deb'

clean:   ## delete all builds
	rm -rf -- $(BUILD)

help:    ## this list
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

# libfcgi's protocol, without its system interface, which exchange.c is, and with arena.c for malloc.
libfcgi := $(BUILD)/obj/libfcgi.o
$(libfcgi): $(BUILD)/flags
	@mkdir -p $(@D)
	$(AR) p $$($(CC) -print-file-name=libfcgi.a) libfcgi_la-fcgiapp.o >$@.from
	$(OBJCOPY) --redefine-sym malloc=arena_malloc --redefine-sym realloc=arena_realloc \
	    --redefine-sym free=arena_free $@.from $@

$(responder): $(call object,$(wildcard cgi-common/responder/*.c)) $(libfcgi)
$(message): $(call object,$(wildcard cgi-common/message/*.c))

$(responder) $(message):
	rm -f $@
	$(AR) rcs $@ $^

$(foreach name,$(services),$(eval $(BUILD)/cgi-$(name): $(call of,$(name))))
# What a service embeds lies in a folder in its own (cgi-app/page.c).
$(foreach name,$(services),$(eval $(call of,$(name)): $(wildcard cgi-$(name)/*/*)))
$(services:%=$(BUILD)/cgi-%): $(message) $(responder)

-include tests/tests.mk # the images are built without tests/

test-programs: $(programs)

objects: $(objects)

$(programs):
	@mkdir -p $(@D)
	$(CC) $(ld_flags) -o $@ $^ $(libs)

# nginx's modules are built by nginx's own means, for the nginx that is installed: from what nginx-dev brings, or what
# NGINX_SOURCE names. A file of its own takes the old one's place: an nginx that runs may have that mapped.
$(BUILD)/ngx_http_%_module.so: $(BUILD)/nginx/objs/Makefile $(foreach name,$(modules),$(wildcard nginx/$(name)/*.[ch]))
	$(MAKE) -s -C $(BUILD)/nginx -f objs/Makefile objs/$(@F)
	cp $(BUILD)/nginx/objs/$(@F) $@.new
	mv $@.new $@

# nginx itself, where NGINX_SOURCE is the whole source, as scripts/lab has it. Each allocation is a malloc, of which the
# sanitizers know the bounds. By clang, whose sanitizers read all their options at the start, before nginx clears its
# environment; tests/lab/nginx sets them.
nginx: $(BUILD)/nginx/objs/nginx

$(BUILD)/nginx/objs/nginx: $(BUILD)/nginx/objs/Makefile
	$(MAKE) -s -C $(BUILD)/nginx -f objs/Makefile binary

lab_flags := $(if $(wildcard $(NGINX_SOURCE)/src/core/nginx.c),$(filter-out -fno-sanitize-recover=%,$(sanitize)))
# A module has an ngx_modules of its own, of the same name as nginx's: by that indicator they are told apart. Without
# optimization all is compiled in a fifth of the time.
lab_more  := $(if $(lab_flags),-O0 -fsanitize-address-use-odr-indicator -DNGX_DEBUG_PALLOC=1)
lab_compiler := $(if $(lab_flags),--with-cc=clang)

$(BUILD)/nginx/objs/Makefile: $(NGINX_SOURCE)/conf_flags $(modules:%=nginx/%/config) $(BUILD)/flags
	rm -rf -- $(BUILD)/nginx
	mkdir -p $(BUILD)
	cp -r $(NGINX_SOURCE) $(BUILD)/nginx
	cd $(BUILD)/nginx && env -u CFLAGS bash -c '. ./conf_flags && ./configure "$${NGX_CONF_FLAGS[@]}" $(lab_compiler) \
	    --with-cc-opt="$(WERROR) $(hardening) $(CPPFLAGS) $(module_flags) $(fortify) $(lab_flags) $(lab_more)" \
	    --with-ld-opt="$(hard_link) $(lab_flags)" \
	    $(modules:%=--add-dynamic-module=$(CURDIR)/nginx/%)' >configure.log 2>&1 || \
	    { tail configure.log; false; }

flags := $(CC) $(c_flags) $(ld_flags) $(NGINX_SOURCE) $(lab_more)

# Written anew when the flags change, so that objects of two kinds do not get mixed.
ifneq ($(flags),$(file <$(BUILD)/flags))
$(shell mkdir -p $(BUILD))
$(file >$(BUILD)/flags,$(flags))
endif

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(c_flags) -MMD -MP -c -o $@ $<

-include $(objects:.o=.d)
