-- For wrk: a large message, and a check that every answer is whole: as the first but for rand.
local text = string.rep("abcdefghij", 30000)
wrk.method = "POST"
wrk.body = '{"message": "' .. text .. '"}'
local right

function response(status, headers, body)
    if status == 200 then
        right = right or body:match('^({"message":.+,"rand":0%.)%d+}$')
        if not right or body:sub(1, #right) ~= right or not body:find("^%d+}$", #right + 1) then
            print("wrong answer of " .. #body .. " bytes")
        end
    end
end
