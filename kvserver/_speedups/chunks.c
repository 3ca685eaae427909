/* The chunks of a large collection, filled at once. */

#include "leaves.h"

#define PLACE 32
#define MOST_CHUNKS ((Py_ssize_t)1 << 31)

/* Put a member with its value into its chunk. Return -1 with an exception. */
static int put_member(PyObject *chunks, uint64_t high, PyObject *member, PyObject *value, PyObject *digest)
{
    uint64_t hash, index;
    if (digest == builtin_hash) {
        hash = (uint64_t)PyObject_Hash(member);
    } else {
        PyObject *number = PyObject_CallOneArg(digest, member);
        if (!number)
            return -1;
        hash = PyLong_AsUnsignedLongLongMask(number);
        Py_DECREF(number);
    }
    if (hash == ~(uint64_t)0 && PyErr_Occurred())
        return -1;
    index = hash >> PLACE & high;
    if (index >= (uint64_t)PyList_GET_SIZE(chunks))
        index &= high >> 1;
    if (index < (uint64_t)PyList_GET_SIZE(chunks) && PyDict_CheckExact(PyList_GET_ITEM(chunks, (Py_ssize_t)index)))
        return PyDict_SetItem(PyList_GET_ITEM(chunks, (Py_ssize_t)index), member, value);
    PyErr_SetString(PyExc_TypeError, "a chunk is a dict");
    return -1;
}

/* fill_chunks(chunks, members, digest) */
LEAF(fill_chunks)
{
    PyObject *member, *value;
    Py_ssize_t place = 0;
    uint64_t high = 1;
    (void)module;
    if (nargs != 3 || !PyList_Check(args[0]) || !PyDict_CheckExact(args[1]) || PyList_GET_SIZE(args[0]) < 2 ||
        PyList_GET_SIZE(args[0]) > MOST_CHUNKS) {
        PyErr_SetString(PyExc_TypeError, "fill_chunks takes a list of two dicts or more, a dict and a function");
        return NULL;
    }
    while (high < (uint64_t)PyList_GET_SIZE(args[0]) - 1)
        high = high * 2 + 1;
    while (PyDict_Next(args[1], &place, &member, &value)) {
        int failed;
        if (!PyBytes_CheckExact(member)) {
            PyErr_SetString(PyExc_TypeError, "a member is bytes");
            return NULL;
        }
        Py_INCREF(member);
        Py_INCREF(value);
        failed = put_member(args[0], high, member, value, args[2]) < 0;
        Py_DECREF(member);
        Py_DECREF(value);
        if (failed)
            return NULL;
    }
    Py_RETURN_NONE;
}
