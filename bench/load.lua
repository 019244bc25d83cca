-- One fixed POST for wrk, from the environment; at the end one line of JSON.
wrk.method = "POST"
local file = assert(io.open(os.getenv("BENCH_BODY"), "rb"))
wrk.body = file:read("*a")
file:close()
wrk.headers["Content-Type"] = os.getenv("BENCH_TYPE") or "application/json"
for name, value in (os.getenv("BENCH_HEADERS") or ""):gmatch("([^:\n]+): ([^\n]+)") do
	wrk.headers[name] = value
end
local token = os.getenv("BENCH_TOKEN")
if token and token ~= "" then
	wrk.headers["Authorization"] = "Bearer " .. token
end

-- To one of these at random, each time.
local requests = {}
function init()
	for path in (os.getenv("BENCH_PATHS") or ""):gmatch("[^\n]+") do
		requests[#requests + 1] = wrk.format(nil, path)
	end
	-- One of these bodies at random, each time: each with its length on a line before it.
	local bodies = os.getenv("BENCH_BODIES") and assert(io.open(os.getenv("BENCH_BODIES"), "rb"))
	local length = bodies and bodies:read("*l")
	while length do
		requests[#requests + 1] = wrk.format(nil, nil, nil, bodies:read(tonumber(length)))
		length = bodies:read("*l")
	end
	math.randomseed(1)
	if #requests > 0 then
		request = function() return requests[math.random(#requests)] end
	end
end

-- Where refusals are expected: how many were told to come back (429 or 503, with Retry-After).
local threads = {}
function setup(thread)
	threads[#threads + 1] = thread
end
refused = 0
if os.getenv("BENCH_MAY_REFUSE") then
	response = function(status, headers)
		if (status == 429 or status == 503) and headers["Retry-After"] then
			refused = refused + 1
		end
	end
end

function done(summary, latency, requests)
	local errors, refused = summary.errors, 0
	for _, thread in ipairs(threads) do
		refused = refused + thread:get("refused")
	end
	io.write(string.format(
		'{"requests": %d, "seconds": %.6f, "p50_us": %d, "p99_us": %d, "failed": %d, "refused": %d}\n',
		summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
		errors.connect + errors.read + errors.write + errors.status + errors.timeout, refused))
end
