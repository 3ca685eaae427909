/* pack_short: requests to the bytes that a client sends for them. */

#include "leaves.h"

/* The bytes of a number in digits. */
static inline Py_ssize_t digits_of(Py_ssize_t number)
{
    Py_ssize_t count = 1;
    while (number /= 10)
        count++;
    return count;
}

/* The bytes of a request as RESP; -1 with an exception, or without one if its words have more than so many. */
static Py_ssize_t packed_bytes(PyObject *request, Py_ssize_t most)
{
    Py_ssize_t total, words = 0, i;
    if (!PyList_Check(request)) {
        PyErr_SetString(PyExc_TypeError, "a request is a list");
        return -1;
    }
    total = digits_of(PyList_GET_SIZE(request)) + 3;
    for (i = 0; i < PyList_GET_SIZE(request); i++) {
        PyObject *word = argument_of(request, i);
        Py_ssize_t length;
        if (!word)
            return -1;
        length = PyBytes_GET_SIZE(word);
        /* This is the subtraction, so that no sum is too large. */
        if (length > most - words)
            return -1;
        words += length;
        total += digits_of(length) + 5 + length;
    }
    return total;
}

/* pack_short(requests, most_bytes): no Python code runs between the two loops. */
LEAF(pack_short)
{
    PyObject *packed;
    Py_ssize_t total = 0, most, i, j;
    char *to;
    if (nargs != 2 || !PyList_Check(args[0]) || !PyLong_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "pack_short takes a list and an integer");
        return NULL;
    }
    most = PyLong_AsSsize_t(args[1]);
    if (most == -1 && PyErr_Occurred())
        return NULL;
    for (i = 0; i < PyList_GET_SIZE(args[0]); i++) {
        Py_ssize_t bytes = packed_bytes(PyList_GET_ITEM(args[0], i), most);
        if (bytes < 0) {
            if (PyErr_Occurred())
                return NULL;
            Py_RETURN_NONE;
        }
        if (bytes > PY_SSIZE_T_MAX - total)
            return PyErr_NoMemory();
        total += bytes;
    }
    packed = PyBytes_FromStringAndSize(NULL, total);
    if (!packed)
        return NULL;
    to = PyBytes_AS_STRING(packed);
    for (i = 0; i < PyList_GET_SIZE(args[0]); i++) {
        PyObject *request = PyList_GET_ITEM(args[0], i);
        to = put_line(to, '*', PyList_GET_SIZE(request));
        for (j = 0; j < PyList_GET_SIZE(request); j++) {
            PyObject *word = PyList_GET_ITEM(request, j);
            size_t length = (size_t)PyBytes_GET_SIZE(word);
            to = put_line(to, '$', length);
            memcpy(to, PyBytes_AS_STRING(word), length);
            to += length;
            *to++ = '\r';
            *to++ = '\n';
        }
    }
    return packed;
}
