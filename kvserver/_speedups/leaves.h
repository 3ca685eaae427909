/* What the files in C of this folder share. Each function here is a leaf, and the Python function of the same name, in the
   .py file of the same name as the .c file, says what it does.

   A leaf checks the types of all that it is given, and raises TypeError where the twin would fail, too. It runs no Python code
   but for the digest of a key where a test has put another one in its place; so nothing that it looks at changes meanwhile. */

#ifndef KVSERVER_LEAVES_H
#define KVSERVER_LEAVES_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#ifdef Py_GIL_DISABLED
#error "the leaves rely on the interpreter's lock"
#endif
#if PY_VERSION_HEX < 0x030B0000 || defined(PYPY_VERSION)
#error "the leaves are for CPython from 3.11 on"
#endif

#define LEAF(name) PyObject *name(PyObject *module, PyObject *const *args, Py_ssize_t nargs)

/* Where a dict keeps what is known of these versions. */
#if PY_VERSION_HEX < 0x030E0000 && defined(__has_include)
#if __has_include(<internal/pycore_dict.h>)
#define HAS_FETCH_AHEAD 1
LEAF(fetch_ahead);
#endif
#endif

LEAF(decode);

#endif
