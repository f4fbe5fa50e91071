-- For wrk: a large message, and a check that every answer is whole.
local text = string.rep("abcdefghij", 30000)
wrk.method = "POST"
wrk.body = '{"message": "' .. text .. '"}'
local expected = '{"message":"' .. text:reverse() .. '","rand":0.'

function response(status, headers, body)
    if status == 200 and (body:sub(1, #expected) ~= expected or body:sub(-1) ~= "}") then
        print("wrong answer of " .. #body .. " bytes")
    end
end
