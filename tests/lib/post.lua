-- For wrk: the call that a client makes, with 32 bytes of body, and a check that every answer is as the first but for rand.
wrk.method = "POST"
wrk.body = '{"message": "hello, my friends"}'
wrk.headers["Content-Type"] = "application/json"
local right

function response(status, headers, body)
    if status == 200 then
        right = right or body:match('^({"message":.+,"rand":0%.)%d+}$')
        if not right or body:sub(1, #right) ~= right or not body:find("^%d+}$", #right + 1) then
            print("wrong answer: " .. body)
        end
    end
end
