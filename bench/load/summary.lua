-- One line of JSON after the run: exact figures, where wrk's own text rounds them.
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\nSUMMARY {"requests":%d,"bytes":%d,"microseconds":%d,"p50":%d,"p99":%d,"status":%d,"socket":%d,"timeout":%d}\n',
    summary.requests, summary.bytes, summary.duration, latency:percentile(50), latency:percentile(99),
    e.status, e.connect + e.read + e.write, e.timeout))
end
