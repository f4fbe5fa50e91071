-- For wrk in the benchmark: POSTs the file that BODY names, and ends with one JSON line; times in microseconds. It
-- does not look at the answers, which would cost wrk time; "requests" are those answered with 2xx or 3xx.
local file = assert(io.open(os.getenv("BODY"), "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "application/json"

done = function(summary, latency)
    local e = summary.errors
    io.write(string.format('{"requests": %d, "seconds": %.6f, "errors": %d, "p50": %d, "p99": %d, "max": %d}\n',
        summary.requests - e.status, summary.duration / 1e6, e.connect + e.read + e.write + e.status + e.timeout,
        latency:percentile(50), latency:percentile(99), latency.max))
end
