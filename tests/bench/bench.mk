# What scripts/bench compiles, beside the Makefile and with its flags: make -f Makefile -f tests/bench/bench.mk TARGET

$(BUILD)/bench/hop/hop: $(call object,tests/bench/peers/hop/hop.c) $(responder)
$(BUILD)/bench/echo/echo: $(call object,tests/bench/peers/echo/echo.c) $(responder)
$(BUILD)/bench/openloop: $(call object,tests/bench/openloop.c)

$(BUILD)/bench/hop/hop $(BUILD)/bench/echo/echo $(BUILD)/bench/openloop:
	@mkdir -p $(@D)
	$(CC) $(ld_flags) -o $@ $^ $(libs)
