"""Lua scripts: the interpreter, what scripts see in it, and the commands about scripts.

interpreter   Lua 5.1 by way of lupa, made when the first script comes
*.lua         the sandbox, in the order in which the interpreter loads it: kit guard frozen globals redis replies run
libraries     cjson, cmsgpack, struct, bit: *.lua of these names, over failures.lua and bytes.lua
bytecode      tail calls of compiled scripts become calls
values        replies to Lua values
randomness    the random numbers of scripts
scripts       scripts by their bodies and by their SHA1
commands      EVAL and its kin, SCRIPT

The calls that a script makes are the business of `engine.scripts`.
"""
