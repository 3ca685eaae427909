/* Lengths and strings of RDB files, many at a time. */

#include "rdb_parts.h"

static int is_shape(PyObject *shape)
{
    Py_ssize_t i;
    if (!PyBytes_Check(shape) || !PyBytes_GET_SIZE(shape))
        return 0;
    for (i = 0; i < PyBytes_GET_SIZE(shape); i++)
        if (!strchr("sn123456789", PyBytes_AS_STRING(shape)[i]))
            return 0;
    return 1;
}

/* The item of a shape that stands here, and the place behind it. NULL if there is none, perhaps with an exception. */
static PyObject *item_at(Bytes *at, Bytes end, char character, uint64_t most_bytes)
{
    PyObject *item = NULL;
    Py_ssize_t taken;
    Head head;
    uint64_t number;
    if (character == 's') {
        taken = head_at(*at, end, &head);
        item = taken > 0 ? read_string(&head, most_bytes) : NULL;
    } else if (character == 'n') {
        taken = number_at(*at, end, &number);
        item = taken > 0 ? PyLong_FromUnsignedLongLong(number) : NULL;
    } else {
        taken = character - '0';
        item = end - *at >= taken ? PyBytes_FromStringAndSize((const char *)*at, taken) : NULL;
    }
    if (item)
        *at += taken;
    return item;
}

/* items_at(data, position, shape, rounds, most_bytes) */
LEAF(items_at)
{
    Py_buffer data;
    Bytes at, end;
    PyObject *items, *item;
    uint64_t rounds, most_bytes;
    Py_ssize_t i, position;
    (void)module;
    if (nargs != 5 || !is_shape(args[2])) {
        PyErr_SetString(PyExc_TypeError, "items_at takes data, a position, a shape and two numbers");
        return NULL;
    }
    rounds = PyLong_AsUnsignedLongLong(args[3]);
    most_bytes = PyErr_Occurred() ? 0 : PyLong_AsUnsignedLongLong(args[4]);
    if (PyErr_Occurred() || !(at = place_of(args, &data)))
        return NULL;
    end = (Bytes)data.buf + data.len;
    items = PyList_New(0);
    while (items && rounds--)
        for (i = 0; items && i < PyBytes_GET_SIZE(args[2]); i++) {
            item = item_at(&at, end, PyBytes_AS_STRING(args[2])[i], most_bytes);
            if (!item && !PyErr_Occurred())
                PyErr_SetString(PyExc_ValueError, "the data ends early, or makes no sense");
            if (!item || PyList_Append(items, item) < 0)
                Py_CLEAR(items);
            Py_XDECREF(item);
        }
    position = at - (Bytes)data.buf;
    PyBuffer_Release(&data);
    return items ? Py_BuildValue("(Nn)", items, position) : NULL;
}

/* pass_rounds(data, position, shape, rounds, most_bytes) */
LEAF(pass_rounds)
{
    Py_buffer data;
    Bytes at, end;
    uint64_t rounds, most_bytes, number;
    Py_ssize_t position;
    (void)module;
    if (nargs != 5 || !is_shape(args[2])) {
        PyErr_SetString(PyExc_TypeError, "pass_rounds takes data, a position, a shape and two numbers");
        return NULL;
    }
    rounds = PyLong_AsUnsignedLongLong(args[3]);
    most_bytes = PyErr_Occurred() ? 0 : PyLong_AsUnsignedLongLong(args[4]);
    if (PyErr_Occurred() || !(at = place_of(args, &data)))
        return NULL;
    end = (Bytes)data.buf + data.len;
    for (; rounds; rounds--) {
        Bytes p = at;
        const char *character = PyBytes_AS_STRING(args[2]);
        for (; *character; character++) {
            Head head;
            Py_ssize_t taken = *character - '0';
            if (*character == 's')
                taken = head_at(p, end, &head);
            else if (*character == 'n')
                taken = number_at(p, end, &number);
            if (taken <= 0 || end - p < taken || (*character == 's' && is_too_long(&head, most_bytes)))
                goto ended;
            p += taken;
        }
        at = p;
    }
ended:
    position = at - (Bytes)data.buf;
    PyBuffer_Release(&data);
    return Py_BuildValue("(Kn)", (unsigned long long)rounds, position);
}
