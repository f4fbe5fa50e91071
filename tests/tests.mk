# The tests' programs, beside the Makefile and with its flags.

test_programs := $(patsubst %,$(BUILD)/tests/%,grapheme hardening record message threaded handlers cookbook sandboxed refusing)
programs += $(test_programs)
tests    := $(call object,$(wildcard tests/unit/*.c tests/fuzz/*.c tests/bench/*.c))
own      := $(call object,tests/handlers/service.c) $(BUILD)/obj/cookbook.o
objects  += $(tests) $(own)

test-programs: $(BUILD)/tests/failing_malloc.so

$(BUILD)/tests/grapheme: $(call object,tests/unit/grapheme.c tests/unit/uax29.c cgi-transform/reverse.c)
$(BUILD)/tests/hardening: $(call object,tests/unit/hardening.c)
$(BUILD)/tests/record: $(call object,tests/unit/record.c) $(responder)
$(BUILD)/tests/message: $(call object,tests/unit/message.c tests/fuzz/message.c) $(message) $(responder)
# The test makes allocations fail.
$(BUILD)/tests/message: ld_flags += -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
$(BUILD)/tests/sandboxed: $(call object,tests/unit/sandboxed.c) $(responder)
$(BUILD)/tests/refusing: $(call object,tests/unit/refusing.c)
# The same handlers under plain libfcgi, a thread for each connection: what the dispatcher is compared with.
$(BUILD)/tests/threaded: $(call object,tests/bench/threaded.c) $(handlers) $(message)
$(BUILD)/tests/threaded: libs := -l:libfcgi.a $(responder) $(libs)
$(BUILD)/tests/threaded: | $(responder)

# Services as anybody may write one. The samples of docs/handlers.md are one program.
$(BUILD)/tests/handlers: $(call object,tests/handlers/service.c) $(responder)
$(BUILD)/tests/cookbook: $(BUILD)/obj/cookbook.o $(responder)
$(BUILD)/cookbook.c: docs/handlers.md tests/lib/cookbook.py
	python3 tests/lib/cookbook.py source $< >$@.new
	mv $@.new $@

# A library for LD_PRELOAD, which takes malloc's place: no sanitizer in it, they have their own malloc.
$(BUILD)/tests/failing_malloc.so: tests/unit/failing_malloc.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(filter-out $(sanitize),$(c_flags)) -fPIC -shared $(LDFLAGS) -o $@ $<

$(BUILD)/obj/cookbook.o: $(BUILD)/cookbook.c $(BUILD)/flags
	$(CC) $(c_flags) -MMD -MP -c -o $@ $<

# These services look at no more than any may.
$(own): c_flags := $(filter-out -Icgi-common/message,$(c_flags))
$(tests): c_flags += $(private)

include tests/fuzz/fuzz.mk
