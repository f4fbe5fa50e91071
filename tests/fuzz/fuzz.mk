# The fuzzers: one for each tests/fuzz/*.c, and each in two builds. A new one needs no line here.
# - BUILD/fuzz/NAME: clang's libFuzzer with AddressSanitizer and UndefinedBehaviorSanitizer, in the services' sources, too;
#   scripts/fuzz runs these;
# - BUILD/tests/fuzz/NAME: the flags and archives of the other tests, and a main() that runs each file once; for
#   tests/fuzz.bats, which needs no clang.

CLANG ?= clang

fuzzers    := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*.c))
fuzz_once  := $(fuzzers:%=$(BUILD)/tests/fuzz/%)
fuzz_lib   := $(filter-out tests/fuzz/lib/once.c,$(wildcard tests/fuzz/lib/*.c))
fuzz_object = $(patsubst %.c,$(BUILD)/fuzz/obj/%.o,$(1))
fuzzed     := $(call fuzz_object,$(wildcard cgi-common/*/*.c) $(filter-out %/main.c,$(wildcard $(services:%=cgi-%/*.c))))
fuzz_tests := $(call object,$(wildcard tests/fuzz/*.c tests/fuzz/lib/*.c))
fuzz_flags := $(dialect) $(private) -pthread $(warnings) -O1 -g -fno-omit-frame-pointer \
              -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all $(CPPFLAGS)

.PHONY: fuzz-programs

fuzz-programs: $(fuzzers:%=$(BUILD)/fuzz/%)

test-programs: $(fuzz_once)

# All that the services are made of; each fuzzer takes what it uses. q, not r: both services have a handler.o.
$(BUILD)/fuzz/services.a: $(fuzzed) $(libfcgi)
	rm -f $@
	$(AR) qcs $@ $^

$(fuzzers:%=$(BUILD)/fuzz/%): $(BUILD)/fuzz/%: $(call fuzz_object,tests/fuzz/%.c $(fuzz_lib)) $(BUILD)/fuzz/services.a
	$(CLANG) -pthread -fsanitize=fuzzer,address,undefined -o $@ $^ $(libs)

$(BUILD)/fuzz/obj/%.o: %.c $(BUILD)/fuzz/flags
	@mkdir -p $(@D)
	$(CLANG) $(fuzz_flags) -MMD -MP -c -o $@ $<

ifneq ($(CLANG) $(fuzz_flags),$(file <$(BUILD)/fuzz/flags))
$(shell mkdir -p $(BUILD)/fuzz)
$(file >$(BUILD)/fuzz/flags,$(CLANG) $(fuzz_flags))
endif

$(fuzz_once): $(BUILD)/tests/fuzz/%: $(call object,tests/fuzz/%.c tests/fuzz/lib/once.c $(fuzz_lib)) $(handlers) \
              $(message) $(responder)
	@mkdir -p $(@D)
	$(CC) $(ld_flags) -o $@ $^ $(libs)

$(fuzz_tests): c_flags += $(private)

-include $(fuzz_tests:.o=.d) $(fuzzed:.o=.d) $(patsubst %.c,$(BUILD)/fuzz/obj/%.d,$(wildcard tests/fuzz/*.c) $(fuzz_lib))
