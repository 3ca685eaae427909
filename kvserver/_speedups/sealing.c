/* The strings and the numbers of a stream's node, made small. */

#include "leaves.h"

#define STRIDE 16
#define MOST_MEAN_BYTES 1024

/* The bytes of strings with one between each two. -1 with an exception, or without one if they are long, or none. */
static Py_ssize_t joined_bytes(PyObject *strings)
{
    Py_ssize_t count = PyList_GET_SIZE(strings), bytes = 0, i;
    for (i = 0; i < count; i++) {
        PyObject *string = PyList_GET_ITEM(strings, i);
        if (!PyBytes_Check(string)) {
            PyErr_SetString(PyExc_TypeError, "a string is bytes");
            return -1;
        }
        if (PyBytes_GET_SIZE(string) > PY_SSIZE_T_MAX / 2 - bytes)
            return -1;
        bytes += PyBytes_GET_SIZE(string);
    }
    return !count || bytes > count * MOST_MEAN_BYTES ? -1 : bytes + count - 1;
}

/* join_strings(strings) */
LEAF(join_strings)
{
    PyObject *joined, *places, *found = NULL;
    Py_ssize_t count, bytes, i, place = 0;
    char *to;
    uint64_t begin = 0;
    int is_plain = 1;
    (void)module;
    if (nargs != 1 || !PyList_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "join_strings takes a list");
        return NULL;
    }
    count = PyList_GET_SIZE(args[0]);
    bytes = joined_bytes(args[0]);
    if (bytes < 0 && PyErr_Occurred())
        return NULL;
    if (bytes < 0)
        Py_RETURN_NONE;
    joined = PyBytes_FromStringAndSize(NULL, bytes);
    places = PyBytes_FromStringAndSize(NULL, ((count + STRIDE - 1) / STRIDE + 1) * (Py_ssize_t)sizeof begin);
    if (joined && places) {
        to = PyBytes_AS_STRING(joined);
        for (i = 0; i < count; i++) {
            PyObject *string = PyList_GET_ITEM(args[0], i);
            size_t length = (size_t)PyBytes_GET_SIZE(string);
            if (i % STRIDE == 0)
                memcpy(PyBytes_AS_STRING(places) + place++ * (Py_ssize_t)sizeof begin, &begin, sizeof begin);
            is_plain = is_plain && !memchr(PyBytes_AS_STRING(string), 0, length);
            memcpy(to, PyBytes_AS_STRING(string), length);
            to += length;
            if (i + 1 < count)
                *to++ = 0;
            begin += length + 1;
        }
        memcpy(PyBytes_AS_STRING(places) + place * (Py_ssize_t)sizeof begin, &begin, sizeof begin);
        found = is_plain ? PyTuple_Pack(2, joined, places) : Py_NewRef(Py_None);
    }
    Py_XDECREF(joined);
    Py_XDECREF(places);
    return found;
}

/* narrow_numbers(numbers) */
LEAF(narrow_numbers)
{
    PyObject *made;
    const char *from;
    char *to;
    uint64_t all = 0, number;
    Py_ssize_t count, i;
    (void)module;
    if (nargs != 1 || !PyBytes_Check(args[0]) || PyBytes_GET_SIZE(args[0]) % (Py_ssize_t)sizeof number) {
        PyErr_SetString(PyExc_TypeError, "narrow_numbers takes the bytes of numbers of eight bytes");
        return NULL;
    }
    from = PyBytes_AS_STRING(args[0]);
    count = PyBytes_GET_SIZE(args[0]) / (Py_ssize_t)sizeof number;
    for (i = 0; i < count; i++) {
        memcpy(&number, from + i * (Py_ssize_t)sizeof number, sizeof number);
        all |= number;
    }
    made = PyBytes_FromStringAndSize(NULL, count * (all >> 32 ? 8 : all >> 16 ? 4 : all >> 8 ? 2 : 1));
    if (!made)
        return NULL;
    to = PyBytes_AS_STRING(made);
    for (i = 0; i < count; i++) {
        memcpy(&number, from + i * (Py_ssize_t)sizeof number, sizeof number);
        if (all >> 32) {
            memcpy(to + 8 * i, &number, 8);
        } else if (all >> 16) {
            uint32_t part = (uint32_t)number;
            memcpy(to + 4 * i, &part, 4);
        } else if (all >> 8) {
            uint16_t part = (uint16_t)number;
            memcpy(to + 2 * i, &part, 2);
        } else {
            to[i] = (char)number;
        }
    }
    return made;
}
