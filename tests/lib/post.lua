-- For wrk: the call that a client makes, with 32 bytes of body, and a check of every answer.
wrk.method = "POST"
wrk.body = '{"message": "hello, my friends"}'
wrk.headers["Content-Type"] = "application/json"

function response(status, headers, body)
    if status == 200 and not body:find('{"message":"sdneirf ym ,olleh","rand":', 1, true) then
        print("wrong answer: " .. body)
    end
end
