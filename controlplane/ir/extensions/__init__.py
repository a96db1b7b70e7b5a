"""Filters of the users' own, in WebAssembly and in Lua."""
