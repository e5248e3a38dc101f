-- The scripts run inside Redis: Lua 5.1 without what could reach the outside, plus Redis' own modules.
std = "lua51"
not_globals = {
  "collectgarbage", "debug", "dofile", "io", "load", "loadfile", "loadstring", "module", "newproxy", "os", "package",
  "print", "require", "setfenv", "getfenv",
}
read_globals = { "ARGV", "KEYS", "bit", "cjson", "cmsgpack", "redis", "struct" }
max_line_length = 120
